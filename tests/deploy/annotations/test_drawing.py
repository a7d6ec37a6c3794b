from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.draw import polygon2mask

from hptl_deploy.annotations.base import Mask, Shape
from hptl_deploy.annotations.drawing import draw, ellipse, fill, rectangle


def test_polygons_equal_those_of_skimage() -> None:
    generator = np.random.default_rng(4)
    for _ in range(50):
        # Even-odd in both, corners where no centre lies on an outline; some lie outside.
        corners = generator.uniform(-10, 60, (generator.integers(3, 9), 2))
        expected = polygon2mask((40, 50), corners[:, ::-1] - 0.5)
        assert np.array_equal(fill([corners.tolist()], 40, 50), expected)
        full = np.zeros((40, 50), bool)
        row, column, part = draw(Shape("", ("a",), (corners.tolist(),)), 40, 50)
        full[row : row + part.shape[0], column : column + part.shape[1]] = part
        assert np.array_equal(full, expected)


def test_neighbours_share_no_pixel_and_leave_none_out() -> None:
    lower = fill([[(0, 0), (20, 20), (0, 20)]], 20, 20)
    upper = fill([[(0, 0), (20, 0), (20, 20)]], 20, 20)
    assert (lower ^ upper).all()


def test_holes_are_left_out() -> None:
    filled = fill([rectangle(2, 3, 10, 8), rectangle(4, 5, 3, 2)], 20, 20)
    assert filled.sum() == 10 * 8 - 3 * 2
    assert not filled[5:7, 4:7].any()


@pytest.mark.parametrize("degrees", [0, 30, 90])
def test_areas_are_those_of_geometry(degrees: float) -> None:
    round_one = fill([ellipse(100, 100, 80, 40, degrees)], 200, 200).sum()
    assert round_one == pytest.approx(math.pi * 80 * 40, rel=2e-3)
    turned = fill([rectangle(100, 20, 90, 50, degrees)], 200, 200).sum()
    assert turned == pytest.approx(90 * 50, rel=1e-2)


@pytest.mark.parametrize("at", [(-3, -4), (8, 9), (50, 60), (-50, 0)])
def test_a_mask_is_cut_at_the_edge(at: tuple[int, int]) -> None:
    mask = np.zeros((9, 9), bool)
    mask[:5, :6] = True
    mask[0, 0] = False
    expected = np.zeros((10, 12), bool)
    for row in range(9):
        for column in range(9):
            if mask[row, column] and 0 <= row + at[0] < 10 and 0 <= column + at[1] < 12:
                expected[row + at[0], column + at[1]] = True
    found = np.zeros((10, 12), bool)
    row, column, part = draw(Shape("", ("a",), mask=Mask.of(mask, *at)), 10, 12)
    found[row : row + part.shape[0], column : column + part.shape[1]] |= part
    assert np.array_equal(found, expected)
