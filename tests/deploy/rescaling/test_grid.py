"""There and back: what is resampled, and what is brought back, against drawings and brute force."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hptl_deploy.rescaling.grid import Grid
from hptl_deploy.rescaling.ratio import nearest_ratio
from hptl_deploy.tiling import Region

RATIOS = [Fraction(1, 8), Fraction(37, 64), Fraction(3, 4), Fraction(21, 20), Fraction(17, 8), 4]


def discs(height: int, width: int, scale: float, seed: int) -> NDArray[np.uint8]:
    """Class 1 in discs of radius 12 to 40 of unit pixels, at `scale` pixels per unit; else 0.

    `height` and `width` are in pixels; a pixel is in a disc where its centre is.
    """
    rng = np.random.default_rng(seed)
    y, x = (np.arange(height)[:, None] + 0.5) / scale, (np.arange(width)[None] + 0.5) / scale
    drawn = np.zeros((height, width), np.uint8)
    for _ in range(25):
        cy, cx, radius = rng.uniform(0, 500), rng.uniform(0, 500), rng.uniform(12, 40)
        drawn |= ((y - cy) ** 2 + (x - cx) ** 2 < radius**2).astype(np.uint8)
    return drawn


@settings(max_examples=150, deadline=None)
@given(
    factor=st.floats(1 / 8, 4), height=st.integers(1, 400), width=st.integers(1, 40),
    cuts=st.lists(st.floats(0, 1), min_size=2, max_size=2), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_part_is_resampled_as_the_whole_is(
    factor: float, height: int, width: int, cuts: list[float], seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    grid = Grid(height, width, nearest_ratio(factor))
    whole = grid.resample(pixels)
    assert whole.shape == (*grid.seen, 3)
    top, bottom = sorted(int(cut * grid.seen[0]) for cut in cuts)
    bottom = min(grid.seen[0], bottom + 1)
    first, end = grid.own_rows(top, bottom)
    part = grid.resample(pixels[first:end], top, bottom)
    np.testing.assert_array_equal(part, whole[top:bottom])


def test_rows_of_another_number_are_refused() -> None:
    grid = Grid(100, 10, Fraction(1, 2))
    with pytest.raises(ValueError, match=r"rows of shape \(50, 10, 3\); expected \(100, 10, 3\)"):
        grid.resample(np.zeros((50, 10, 3), np.uint8))


@pytest.mark.parametrize("ratio", RATIOS)
def test_a_ramp_stays_where_it_was(ratio: Fraction) -> None:
    grid = Grid(640, 64, Fraction(ratio))
    ramp = np.repeat((np.arange(640)[:, None, None] + 0.5) / 640 * 200 + 20, 64, 1)
    seen = grid.resample(np.repeat(ramp, 3, 2).round().astype(np.uint8))
    places = (np.arange(grid.seen[0]) + 0.5) / float(ratio)  # of centres, in own pixels
    inside = (places > 20) & (places < 620)
    expected = places / 640 * 200 + 20
    assert np.abs(seen[inside, 5, 1] - expected[inside]).max() <= 1.01


@pytest.mark.parametrize("ratio", RATIOS)
def test_nothing_finer_than_the_new_pixels_makes_patterns(ratio: Fraction) -> None:
    fine = np.zeros((400, 40, 3), np.uint8)
    fine[::2] = 255  # stripes of one pixel
    seen = Grid(400, 40, Fraction(ratio)).resample(fine)[8:-8]
    if ratio <= Fraction(3, 4):
        spread = {Fraction(1, 8): 2, Fraction(37, 64): 8, Fraction(3, 4): 60}[Fraction(ratio)]
        assert np.abs(seen.astype(int) - 127).max() <= spread
    assert abs(seen.mean() - 127.5) < 2


@pytest.mark.parametrize("ratio", RATIOS)
def test_each_pixel_takes_the_class_in_which_its_centre_lies(ratio: Fraction) -> None:
    grid = Grid(53, 47, Fraction(ratio))
    seen = np.random.default_rng(3).integers(0, 200, grid.seen, dtype=np.uint8)
    area = Region(16, 53, 0, 47)
    top, bottom = grid.seen_rows(16, 53)
    back = grid.bring_back(seen[top:bottom], top, area)
    for y in range(16, 53):
        for x in range(47):
            row, column = (int(Fraction(2 * place + 1, 2) * ratio) for place in (y, x))
            assert back[y - 16, x] == seen[row, column]
    assert bottom == grid.seen[0] or back.size


@pytest.mark.parametrize("ratio", RATIOS)
def test_area_fractions_are_not_moved(ratio: Fraction) -> None:
    """Of discs drawn on the grid that is seen, and on the micrograph's own."""
    bias, scale = [], 1 / float(ratio)
    for seed in range(20):
        grid = Grid(round(500 * max(1, scale)), round(500 * max(1, scale)), Fraction(ratio))
        unit = max(1, scale)
        seen = discs(*grid.seen, unit * float(ratio), seed)
        own = discs(grid.height, grid.width, unit, seed)
        back = grid.bring_back(seen, 0, Region(0, grid.height, 0, grid.width))
        bias.append(back.mean() / own.mean() - 1)
    assert abs(np.mean(bias)) < 1e-3
    assert np.abs(bias).max() < 1e-2
