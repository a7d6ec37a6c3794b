"""Mosaics: how a page that is too large to be held is cut into bands.

    +----------------------------+
    | band 1   tile | tile | ... |   A band is a range of full-width rows. It is read with the
    +----------------------------+   halos above and below it, segmented tile by tile, stored, and
    | band 2   tile | tile | ... |   forgotten; so memory grows with the width alone.
    +----------------------------+

Bands begin on the grid of the class map's own TIFF tiles, so that each is compressed once.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from hptl_deploy.engines.base import Capacity
from hptl_deploy.tiling import FramePlan, even_core

GRID = 256
"""Side of the TIFF tiles of a mosaic's class map, in pixels."""

LARGE = 50_000_000
"""A page of more pixels is a mosaic, whatever memory there is, so that its results look the same on
every machine: ten frames of a microscope's camera, and more than an overlay can show at once."""

BAND_BYTES = 12
"""Per pixel of a band with its halos, at most: the source as it is decoded (6), its pixels (3),
their filled-up copies for the engine, class map, confidence and their compressed form (3)."""

_TILE_PIXELS, _TILE_BYTES = 3_500_000, 1_600_000_000
"""Of a tile with its halos, at most whichever is larger; the bytes are the engine's. Larger tiles
would spend less on halos. A wide model's takes a third less memory than a whole frame of 2560 x
1920; a narrow model, which has wide halos for what it computes, gets large tiles."""
_MOST_ROWS = 16 * GRID

Plan = TypeVar("Plan", bound=FramePlan)


def plan_bands(
    height: int,
    width: int,
    capacity: Capacity,
    *,
    tile: int | None,
    engine_bytes: float,
    band_bytes: float,
) -> FramePlan | None:
    """The bands and tiles that spend least on halos; None where nothing fits.

    An engine may take `engine_bytes` for a tile, a band `band_bytes`. `tile` forces the side of the
    cores, in pixels.
    """
    grid = math.lcm(GRID, capacity.stride)

    def bands() -> Iterator[FramePlan]:
        for rows in band_rows(height, grid):
            plan = FramePlan(height, width, capacity.stride, capacity.halo, None, rows)
            if band_pixels(plan) * BAND_BYTES > band_bytes:
                return
            yield plan

    return cheapest_bands(bands(), capacity, tile=tile, engine_bytes=engine_bytes)


def band_rows(height: int, grid: int = GRID) -> Iterator[int]:
    """Rows that the bands of a page of `height` rows may have, on `grid`, from the fewest up."""
    for rows in range(grid, max(grid, _MOST_ROWS) + 1, grid):
        yield rows
        if rows >= height:
            return


def cheapest_bands(
    bands: Iterable[Plan], capacity: Capacity, *, tile: int | None, engine_bytes: float
) -> Plan | None:
    """Of these, with the largest cores that fit, what spends least on halos; None: nothing fits."""
    most = _most_pixels(capacity.bytes_per_pixel, engine_bytes)
    best: tuple[int, Plan] | None = None
    for one in bands:
        core = _forced(one, tile, capacity) if tile else largest_core(one, most, capacity)
        if core is not None:
            plan = replace(one, core=core)
            down, across = plan.reads
            price = sum(down) * sum(across)  # pixels that the engine is given
            if best is None or price < best[0]:
                best = (price, plan)
    return None if best is None else best[1]


def _most_pixels(bytes_per_pixel: float, engine_bytes: float) -> int:
    """Of a tile with its halos."""
    if not bytes_per_pixel:
        return _TILE_PIXELS
    wanted = max(_TILE_PIXELS * bytes_per_pixel, _TILE_BYTES)
    return int(min(wanted, engine_bytes) / bytes_per_pixel)


def band_pixels(plan: FramePlan) -> int:
    """Of the largest band with its halos."""
    rows = min(plan.height, (plan.band or plan.height) + 2 * plan.halo)
    return rows * plan.width


def largest_core(bands: FramePlan, most: int, capacity: Capacity) -> tuple[int, int] | None:
    """(rows, columns) of the largest core whose tiles, with halos, are of at most `most` pixels.

    Cores are evened out over a band; its own core does not count. None where the engine has no
    room even for the smallest, or was not built for it.
    """
    stride, (height, width) = bands.stride, bands.padded.shape
    rows = min(bands.band or height, height)
    # No tile is wider that is as high as a band.
    down = max(replace(bands, core=(rows, width)).reads[0])
    widest = min(width, most // down // stride * stride)
    tried = None
    for largest in range(max(rows, widest), 0, -stride):
        core = (even_core(rows, largest, stride), even_core(width, largest, stride))
        if core != tried and _fits(replace(bands, core=core), most, capacity):
            return core
        tried = core
    return None


def _forced(bands: FramePlan, tile: int, capacity: Capacity) -> tuple[int, int] | None:
    """Cores of `tile` px a side; None where the engine was not built for them."""
    core = (min(tile, bands.band or tile), tile)
    # What is too large for the memory is told with what it needs, by who asked.
    return core if _fits(replace(bands, core=core), sys.maxsize, capacity) else None


def _fits(plan: FramePlan, most: int, capacity: Capacity) -> bool:
    """Whether every tile is of at most `most` pixels, and of a shape the engine was built for."""
    down, across = map(set, plan.reads)
    return max(down) * max(across) <= most and all(
        capacity.takes(rows, columns) for rows in down for columns in across
    )
