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


def discs(shape: tuple[int, int], scale: float, seed: int) -> NDArray[np.uint8]:
    """Class 1 in 36 discs in and round 100 x 100 units, at `scale` pixels per unit; else 0.

    A pixel is in a disc where its centre is.
    """
    rng = np.random.default_rng(seed)
    y, x = ((np.arange(length, dtype=np.float32) + 0.5) / np.float32(scale) for length in shape)
    drawn = np.zeros(shape, np.uint8)
    for cy, cx, radius in rng.uniform((-10, -10, 3), (110, 110, 8), (36, 3)):
        rows, columns = np.abs(y - cy) < radius, np.abs(x - cx) < radius
        inside = (y[rows, None] - cy) ** 2 + (x[None, columns] - cx) ** 2 < radius**2
        drawn[np.ix_(rows, columns)] |= inside.astype(np.uint8)
    return drawn


@settings(max_examples=150)
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
    last = grid.seen[0] - 1
    top, bottom = sorted(round(cut * last) for cut in cuts)
    bottom += 1
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


@pytest.mark.parametrize("ratio", RATIOS)
def test_area_fractions_are_not_moved(ratio: Fraction) -> None:
    """Of discs drawn on the grid that is seen, brought back, against discs on a fine grid."""
    own_scale = max(1.0, 1 / float(ratio))
    side = round(100 * own_scale)
    grid = Grid(side, side, Fraction(ratio))
    areas = []
    for seed in range(40):
        seen = discs(grid.seen, own_scale * float(ratio), seed)
        back = grid.bring_back(seen, 0, Region(0, side, 0, side))
        areas.append((back.mean(), discs((500, 500), 5, seed).mean()))
    back_area, true_area = np.mean(areas, axis=0)
    assert abs(back_area / true_area - 1) < 5e-3
    assert all(abs(found / true - 1) < 0.05 for found, true in areas)


def test_particles_smaller_than_a_pixel_keep_their_area_on_the_way_back() -> None:
    """Squares of 9/16 of a micrograph's pixel that lie in all 16 ways equally often."""
    grid = Grid(195, 195, Fraction(4))
    seen = np.zeros(grid.seen, np.uint8)
    for y in range(0, 60 * 13, 13):
        for x in range(0, 60 * 13, 13):
            seen[y : y + 3, x : x + 3] = 1
    back = grid.bring_back(seen, 0, Region(0, 195, 0, 195))
    assert back.mean() == seen.mean()
    votes = seen.reshape(195, 4, 195, 4).mean((1, 3)) > 0.5  # what is not done, and why
    assert votes.mean() == pytest.approx(4 / 9 * seen.mean())
