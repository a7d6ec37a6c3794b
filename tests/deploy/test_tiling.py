from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hptl_deploy.errors import UsageError
from hptl_deploy.tiling import FramePlan, Region, plan_frame, read_padded

STRIDES = st.sampled_from([1, 8, 32])


@st.composite
def plans(draw: st.DrawFn) -> FramePlan:
    stride = draw(STRIDES)
    halo = stride * draw(st.integers(0, 4))
    tile = stride * draw(st.integers(1, 6))
    sides = st.integers(1, 12 * stride)
    return plan_frame(draw(sides), draw(sides), stride=stride, halo=halo, tile=tile)


@settings(max_examples=60)
@given(plans())
def test_write_rectangles_cover_the_frame_exactly_once(plan: FramePlan) -> None:
    times = np.zeros((plan.height, plan.width), int)
    for tile in plan.tiles():
        assert min(tile.write.shape) > 0
        times[tile.write.slices] += 1
    assert (times == 1).all()


@settings(max_examples=60)
@given(plans())
def test_a_tile_reads_its_core_and_the_halo_as_far_as_the_padded_frame_goes(
    plan: FramePlan,
) -> None:
    assert plan.core is not None
    padded = np.zeros((math.ceil(plan.height / plan.stride) * plan.stride,
                       math.ceil(plan.width / plan.stride) * plan.stride), bool)  # fmt: skip
    assert plan.padded.shape == padded.shape
    for tile in plan.tiles():
        read, write = tile.read, tile.write
        # Brute force: the padded pixels at most a halo away from the core.
        rows = [r for r in range(padded.shape[0])
                if write.y0 - plan.halo <= r < write.y0 + plan.core[0] + plan.halo]  # fmt: skip
        columns = [c for c in range(padded.shape[1])
                   if write.x0 - plan.halo <= c < write.x0 + plan.core[1] + plan.halo]  # fmt: skip
        assert (read.y0, read.y1, read.x0, read.x1) == (
            rows[0], rows[-1] + 1, columns[0], columns[-1] + 1,
        )  # fmt: skip
        assert read.y0 % plan.stride == read.x0 % plan.stride == 0
        assert read.height % plan.stride == read.width % plan.stride == 0
        assert read.height <= plan.largest_read[0]
        assert read.width <= plan.largest_read[1]
        keep = np.zeros(read.shape, int)[tile.keep.slices]
        assert keep.shape == write.shape


@pytest.mark.parametrize(
    ("tile", "advice"), [(100, 96), (1, 32), (0, 32), (-64, 32), (31, 32), (33, 32), (500, 512)]
)
def test_a_forced_tile_lies_on_the_stride(tile: int, advice: int) -> None:
    with pytest.raises(UsageError) as caught:
        plan_frame(1000, 1000, stride=32, halo=64, tile=tile)
    assert str(caught.value) == (
        f"--tile {tile}: expected a positive multiple of the model's stride, 32 px. "
        f"Try --tile {advice}"
    )


def test_a_frame_that_just_fits_goes_through_whole() -> None:
    # 90 x 100 is filled up to 96 x 128.
    fits = plan_frame(90, 100, stride=32, halo=32, bytes_per_pixel=10, budget_bytes=96 * 128 * 10)
    assert fits.whole
    (tile,) = fits.tiles()
    assert (tile.read, tile.write) == (Region(0, 96, 0, 128), Region(0, 90, 0, 100))
    tight = plan_frame(
        90, 100, stride=32, halo=32, bytes_per_pixel=10, budget_bytes=96 * 128 * 10 - 1
    )
    assert not tight.whole


def test_the_largest_core_that_fits_is_taken() -> None:
    # Halo 64 on both sides: a core of 192 is a tile of 320, one of 224 a tile of 352. The
    # frame is a multiple of 192, so nothing is evened out.
    for budget, core in ((320**2, 192), (352**2 - 1, 192), (352**2, 224)):
        plan = plan_frame(
            192 * 224, 192 * 224, stride=32, halo=64, bytes_per_pixel=1, budget_bytes=budget
        )
        assert plan.core == (core, core)


def test_cores_are_evened_out_over_the_frame() -> None:
    # At most 192, with a halo on both sides: 640 px are four pieces, and 160 shares them best.
    plan = plan_frame(640, 640, stride=32, halo=64, bytes_per_pixel=1, budget_bytes=320**2)
    assert plan.core == (160, 160)
    assert len(list(plan.tiles())) == 4 * 4


def test_a_thin_frame_is_cut_along_its_length_only() -> None:
    # Its 224 rows leave room for two pieces of 320 columns with one halo each: 224 x 384 px.
    plan = plan_frame(224, 640, stride=32, halo=64, bytes_per_pixel=1, budget_bytes=224 * 384)
    assert plan.core == (224, 320)
    with pytest.raises(UsageError, match="the smallest tile"):
        plan_frame(224, 640, stride=32, halo=64, bytes_per_pixel=1, budget_bytes=160 * 160 - 1)


@settings(max_examples=100)
@given(
    height=st.integers(1, 900), width=st.integers(1, 900), stride=st.sampled_from([16, 32]),
    halos=st.integers(0, 3), bytes_per_pixel=st.floats(0.1, 1e4), share=st.floats(0, 1.5),
)  # fmt: skip
def test_no_tile_exceeds_the_budget(
    height: int, width: int, stride: int, halos: int, bytes_per_pixel: float, share: float
) -> None:
    halo = halos * stride
    budget = share * height * width * bytes_per_pixel
    try:
        plan = plan_frame(
            height, width, stride=stride, halo=halo,
            bytes_per_pixel=bytes_per_pixel, budget_bytes=budget,
        )  # fmt: skip
    except UsageError:
        assert (stride + 2 * halo) ** 2 * bytes_per_pixel > budget
        return
    rows, columns = plan.largest_read
    assert rows * columns * bytes_per_pixel <= budget


def test_where_nothing_fits_the_sentence_says_how_much_is_missing() -> None:
    with pytest.raises(UsageError) as caught:
        plan_frame(5000, 5000, stride=32, halo=288, bytes_per_pixel=1024, budget_bytes=100 * 2**20)
    # (32 + 2 x 288)^2 px x 1 KiB = 361 MiB
    assert str(caught.value) == (
        "the smallest tile (32 px and a halo of 288 px) needs 361 MiB, but only 100 MiB are "
        "planned for inference. Close other programs or use a narrower model"
    )


@settings(max_examples=60)
@given(plan=plans(), seed=st.integers(0, 2**16))
def test_beyond_the_frame_edges_are_repeated(plan: FramePlan, seed: int) -> None:
    frame = np.random.default_rng(seed).integers(
        0, 256, (plan.height, plan.width, 3), dtype=np.uint8
    )
    padded = np.pad(
        frame, ((0, -plan.height % plan.stride), (0, -plan.width % plan.stride), (0, 0)), "edge"
    )

    def inside(region: Region) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        assert 0 <= region.y0 < region.y1 <= plan.height
        assert 0 <= region.x0 < region.x1 <= plan.width
        return frame[region.slices]

    for tile in plan.tiles():
        pixels = read_padded(inside, tile.read, plan.height, plan.width)
        assert pixels.flags.c_contiguous
        assert np.array_equal(pixels, padded[tile.read.slices])


@pytest.mark.parametrize("size", [(1, 1), (5, 31), (31, 5), (1, 40)])
def test_a_frame_smaller_than_the_stride_is_filled_up(size: tuple[int, int]) -> None:
    plan = plan_frame(*size, stride=32, halo=288)
    (tile,) = plan.tiles()
    frame = np.arange(size[0] * size[1] * 3, dtype=np.uint8).reshape(*size, 3)
    pixels = read_padded(lambda region: frame[region.slices], tile.read, *size)
    assert pixels.shape == (32, 32 if size[1] <= 32 else 64, 3)
    assert np.array_equal(pixels[: size[0], : size[1]], frame)
    assert (pixels[size[0] :, : size[1]] == frame[-1:]).all()
    assert (pixels[:, size[1] :] == pixels[:, size[1] - 1 : size[1]]).all()


@st.composite
def banded_plans(draw: st.DrawFn) -> FramePlan:
    stride = draw(st.sampled_from([1, 8, 24]))
    side = st.integers(1, 12 * stride)
    core = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    return FramePlan(
        draw(side), draw(side), stride, stride * draw(st.integers(0, 5)),
        (core[0] * stride, core[1] * stride), stride * draw(st.integers(1, 14)),
    )  # fmt: skip


@settings(max_examples=100)
@given(plan=banded_plans(), down=st.integers(1, 6), across=st.integers(1, 6))
def test_tiles_of_all_areas_cover_the_frame_exactly_once(
    plan: FramePlan, down: int, across: int
) -> None:
    """With the plan's cores, and with those that take their place."""
    for core in (None, (down * plan.stride, across * plan.stride)):
        times = np.zeros((plan.height, plan.width), int)
        for area in plan.areas:
            rows = plan.rows_for(area)
            for tile in plan.tiles(area, core):
                times[tile.write.slices] += 1
                assert area.y0 <= tile.write.y0 < tile.write.y1 <= area.y1
                assert rows.y0 <= tile.read.y0 < min(tile.read.y1, plan.height) <= rows.y1
                high, wide = core or plan.core or (0, 0)
                assert tile.write.height <= high
                assert tile.write.width <= wide
        assert (times == 1).all()


@settings(max_examples=100)
@given(st.one_of(banded_plans(), plans()))
def test_reads_are_those_of_the_tiles(plan: FramePlan) -> None:
    tiles = [tile for area in plan.areas for tile in plan.tiles(area)]
    down, across = plan.reads
    assert [(rows, columns) for rows in down for columns in across] == [
        tile.read.shape for tile in tiles
    ]
    assert plan.largest_read == (
        max(tile.read.height for tile in tiles),
        max(tile.read.width for tile in tiles),
    )


def test_a_frame_without_bands_is_one_area() -> None:
    plan = plan_frame(90, 100, stride=32, halo=32)
    assert plan.areas == [Region(0, 90, 0, 100)]
    assert plan.rows_for(plan.areas[0]) == plan.areas[0]
    assert list(plan.tiles(plan.areas[0])) == list(plan.tiles())


def test_bands_and_what_they_read() -> None:
    plan = FramePlan(600, 70, 8, 24, (256, 72), 256)
    assert plan.areas == [Region(0, 256, 0, 70), Region(256, 512, 0, 70), Region(512, 600, 0, 70)]
    assert [plan.rows_for(area) for area in plan.areas] == [
        Region(0, 280, 0, 70), Region(232, 536, 0, 70), Region(488, 600, 0, 70),
    ]  # fmt: skip


@given(st.lists(st.integers(0, 6), min_size=8, max_size=8))
def test_what_two_regions_share(sides: list[int]) -> None:
    one, other = (
        Region(min(y), max(y), min(x), max(x)) for y, x in
        ((sides[:2], sides[2:4]), (sides[4:6], sides[6:]))
    )  # fmt: skip
    drawn = np.zeros((2, 6, 6), bool)
    drawn[0][one.slices], drawn[1][other.slices] = True, True
    both, shared = drawn[0] & drawn[1], one.shared_with(other)
    assert (shared is None) == (not both.any())
    if shared is not None:
        assert both[shared.slices].all()
        assert shared.height * shared.width == both.sum()
        assert shared == other.shared_with(one)
