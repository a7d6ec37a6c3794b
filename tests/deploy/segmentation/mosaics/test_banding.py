"""Bands of a mosaic: every pixel once, halos complete, and no more memory than was planned."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hptl_deploy.engines.base import Capacity
from hptl_deploy.segmentation.mosaics import banding
from hptl_deploy.segmentation.mosaics.banding import (
    BAND_BYTES,
    band_pixels,
    largest_core,
    plan_bands,
)
from hptl_deploy.tiling import FramePlan

GIB = 1 << 30


def planned(
    height: int,
    width: int,
    capacity: Capacity,
    tile: int | None = None,
    engine_bytes: float = 64 * GIB,
    band_bytes: float = GIB,
) -> FramePlan | None:
    return plan_bands(
        height, width, capacity, tile=tile, engine_bytes=engine_bytes, band_bytes=band_bytes
    )


def surely(plan: FramePlan | None) -> FramePlan:
    assert plan is not None
    return plan


@st.composite
def plans(draw: st.DrawFn) -> FramePlan:
    stride = draw(st.sampled_from([8, 16, 24, 32]))
    halo = stride * draw(st.integers(0, 12))
    tile = draw(st.none() | st.integers(1, 40).map(lambda strides: strides * stride))
    capacity = Capacity(stride, halo, 1.0)
    height, width = draw(st.integers(1, 2000)), draw(st.integers(1, 500))
    most = draw(st.integers((stride + 2 * halo) ** 2, 2_000_000))
    grid = math.lcm(256, stride)
    room = (grid + 2 * halo) * width * BAND_BYTES * draw(st.integers(1, 6))
    return surely(planned(height, width, capacity, tile, most, room))


@settings(max_examples=60)
@given(plans())
def test_areas_and_their_tiles_cover_every_pixel_once(plan: FramePlan) -> None:
    times = np.zeros((plan.height, plan.width), np.uint8)
    bottom = 0
    for area in plan.areas:
        assert (area.y0, area.x0, area.x1) == (bottom, 0, plan.width)
        assert area.y0 % math.lcm(256, plan.stride) == 0
        bottom = area.y1
        for tile in plan.tiles(area):
            write = tile.write
            assert area.y0 <= write.y0 < write.y1 <= area.y1
            assert 0 <= write.x0 < write.x1 <= plan.width
            times[write.slices] += 1
    assert bottom == plan.height
    assert (times == 1).all()


@settings(max_examples=60)
@given(plans())
def test_halos_are_complete_and_lie_in_what_is_read_of_the_page(plan: FramePlan) -> None:
    padded, halo = plan.padded, plan.halo
    for area in plan.areas:
        rows = plan.rows_for(area)
        assert (rows.x0, rows.x1) == (0, plan.width)
        for tile in plan.tiles(area):
            read, write = tile.read, tile.write
            assert read.y0 % plan.stride == read.x0 % plan.stride == 0
            assert read.height % plan.stride == read.width % plan.stride == 0
            assert read.y0 == max(0, write.y0 - halo)
            assert read.x0 == max(0, write.x0 - halo)
            assert read.y1 >= min(padded.y1, write.y1 + halo)
            assert read.x1 >= min(padded.x1, write.x1 + halo)
            # What lies beyond the page is filled up; everything else has been read.
            assert rows.y0 <= read.y0 < min(read.y1, plan.height) <= rows.y1


@settings(max_examples=60)
@given(plans())
def test_reads_are_the_tiles_reads(plan: FramePlan) -> None:
    shapes = {tile.read.shape for area in plan.areas for tile in plan.tiles(area)}
    down, across = plan.reads
    assert {(rows, columns) for rows in down for columns in across} == shapes
    total = sum(math.prod(t.read.shape) for area in plan.areas for t in plan.tiles(area))
    assert sum(down) * sum(across) == total
    assert plan.largest_read == tuple(map(max, zip(*shapes, strict=True)))


@settings(max_examples=80)
@given(
    height=st.integers(1, 20_000), width=st.integers(1, 20_000),
    stride=st.sampled_from([8, 16, 24, 32]), halos=st.integers(0, 12),
    bytes_per_pixel=st.floats(1, 3000), engine=st.floats(1e5, 1e10), band=st.floats(1e6, 1e9),
)  # fmt: skip
def test_bands_and_tiles_keep_to_their_budgets(
    height: int, width: int, stride: int, halos: int, bytes_per_pixel: float, engine: float,
    band: float,
) -> None:  # fmt: skip
    capacity = Capacity(stride, halos * stride, bytes_per_pixel)
    plan = planned(height, width, capacity, None, engine, band)
    padded = [-(-side // stride) * stride for side in (height, width)]
    least = [min(side, stride + 2 * capacity.halo) for side in padded]
    rows = min(height, math.lcm(256, stride) + 2 * capacity.halo)
    if plan is None:
        # Not even the smallest tile, or not even the lowest band.
        assert math.prod(least) * bytes_per_pixel > engine - bytes_per_pixel or (
            rows * width * BAND_BYTES > band
        )
        return
    largest = max(math.prod(plan.rows_for(area).shape) for area in plan.areas)
    assert largest <= band_pixels(plan)
    if len(plan.areas) == 1 or any(
        area.height == plan.band and plan.halo <= area.y0 and area.y1 + plan.halo <= height
        for area in plan.areas
    ):
        assert largest == band_pixels(plan)  # of a page that is one band, or a band with both halos
    assert band_pixels(plan) * BAND_BYTES <= band
    for area in plan.areas[:3] + plan.areas[-3:]:
        for tile in plan.tiles(area):
            assert math.prod(tile.read.shape) * bytes_per_pixel <= engine
            pixels = math.prod(tile.read.shape)
            assert pixels <= banding._TILE_PIXELS or pixels * bytes_per_pixel <= banding._TILE_BYTES


def test_tiles_grow_where_a_pixel_takes_little() -> None:
    """A narrow model's: 100 bytes a pixel, so 16 megapixels, and a fifth as much for halos."""
    narrow, wide = (
        planned(30_000, 4096, Capacity(32, 288, bytes_), None, 10**10, 10**9)
        for bytes_ in (100.0, 600.0)
    )
    assert narrow is not None
    assert wide is not None
    assert math.prod(wide.largest_read) <= 3_500_000
    assert 8_000_000 < math.prod(narrow.largest_read) <= 16_000_000


def test_an_engine_that_was_built_for_tiles_of_a_kilopixel() -> None:
    """As export builds them: cores of 1024 px and halos of 288, nothing larger."""

    def takes(rows: int, columns: int) -> bool:
        return max(rows, columns) <= 1600

    capacity = Capacity(32, 288, 0.0, takes)
    plan = surely(planned(30_000, 40_000, capacity))
    assert plan.band == 1024
    assert plan.core == (1024, 1024)  # 40 pieces of 1024 and less
    assert plan.largest_read == (1600, 1600)


def test_an_engine_for_tiles_lower_than_a_band() -> None:
    asked: set[tuple[int, int]] = set()

    def takes(rows: int, columns: int) -> bool:
        asked.add((rows, columns))
        return rows <= 136 and columns <= 200

    plan = surely(planned(1000, 800, Capacity(8, 24, 0.0, takes)))
    shapes = {tile.read.shape for area in plan.areas for tile in plan.tiles(area)}
    assert max(rows for rows, _ in shapes) <= 136
    assert max(columns for _, columns in shapes) <= 200
    assert shapes <= asked


def test_bands_in_the_middle_are_looked_at_where_halos_reach_beyond_a_neighbour() -> None:
    # Halo 288, bands of 256: the first reads 544 rows, the second 800, those between 832.
    def takes(rows: int, columns: int) -> bool:
        return rows != 832

    capacity = Capacity(32, 288, 0.0, takes)
    plan = surely(planned(256 * 8, 900, capacity, band_bytes=(256 + 576) * 900 * BAND_BYTES))
    assert plan.band == 256
    assert 832 not in {t.read.height for area in plan.areas for t in plan.tiles(area)}


def test_memory_for_the_smallest_tile_is_enough() -> None:
    # A core of 32 px with halos of 288 is (32 + 576)^2 px; the lowest band is 832 rows with them.
    capacity = Capacity(32, 288, 1000.0)
    plan = surely(planned(20_000, 20_000, capacity, engine_bytes=608**2 * 1000))
    assert plan.core == (32, 32)
    assert planned(20_000, 20_000, capacity, engine_bytes=608**2 * 1000 - 1000) is None


def test_a_forced_tile_is_the_core() -> None:
    plan = surely(planned(5000, 4000, Capacity(32, 288, 100.0), 512))
    assert plan.core == (512, 512)
    assert plan.band is not None
    assert plan.band % 512 == 0  # or cores would be cut short at its end
    taller = planned(5000, 300, Capacity(32, 0, 1.0), 1024, band_bytes=256 * 300 * BAND_BYTES)
    assert (surely(taller).band, surely(taller).core) == (256, (256, 1024))

    def takes(rows: int, columns: int) -> bool:
        return max(rows, columns) <= 600

    assert planned(5000, 4000, Capacity(32, 288, 0.0, takes), 512) is None


def test_the_longest_read_where_a_core_is_cut_short_by_its_band() -> None:
    # Cores begin at 0, 160, 256, 416, 512. The one at 256 has both halos, 64 to 608; without bands
    # none would, at 0, 160, 320, 480.
    plan = FramePlan(640, 640, 32, 192, (160, 640), 256)
    tiles = [tile for area in plan.areas for tile in plan.tiles(area)]
    assert plan.largest_read[0] == max(tile.read.height for tile in tiles) == 544


def test_the_cheapest_bands_are_chosen() -> None:
    """By brute force over what is asked of the engine in all."""
    capacity = Capacity(32, 288, 100.0)
    plan = surely(planned(12_000, 9000, capacity))

    def price(one: FramePlan) -> int:
        return sum(math.prod(t.read.shape) for area in one.areas for t in one.tiles(area))

    others = []
    for rows in range(256, 4097, 256):
        bands = FramePlan(12_000, 9000, 32, 288, None, rows)
        core = largest_core(bands, 16_000_000, capacity)  # of 100 bytes each: 1.6 GB
        if core is not None and band_pixels(bands) * BAND_BYTES <= GIB:
            others.append(price(FramePlan(12_000, 9000, 32, 288, core, rows)))
    assert len(others) > 3
    assert price(plan) == min(others)


@pytest.mark.parametrize("most", [608**2, 700_000, 1_500_000])
def test_a_smaller_core_for_a_device_without_room(most: int) -> None:
    capacity = Capacity(32, 288, 0.0)
    plan = surely(planned(12_000, 9000, capacity))
    core = largest_core(plan, most, capacity)
    assert core is not None
    read = [math.prod(t.read.shape) for area in plan.areas[:3] for t in plan.tiles(area, core)]
    assert max(read) <= most
    assert largest_core(plan, 608**2 - 1, capacity) is None
