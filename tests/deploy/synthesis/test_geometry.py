"""Outlines and paths against closed forms and against a rasteriser of another library."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.draw import polygon2mask

from hptl_deploy.synthesis.geometry import (
    area,
    bent,
    cut_corners,
    plate,
    polygon,
    rotated,
    walk,
)

SQUARE = np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 3.0], [0.0, 3.0]])


def lengths(path: NDArray[np.float64]) -> NDArray[np.float64]:
    steps: NDArray[np.float64] = np.hypot(*np.diff(path, axis=0).T)
    return steps


def rasterised(outline: NDArray[np.float64], scale: float) -> float:
    """Area by counting places of a grid of `scale` per unit."""
    corner = outline.min(axis=0) - 1
    shape = np.ceil((np.ptp(outline, axis=0) + 2) * scale).astype(int)
    inside = polygon2mask(tuple(shape), (outline - corner) * scale)
    return float(inside.sum()) / scale**2


def test_area_in_closed_form() -> None:
    assert area(np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]])) == pytest.approx(6)
    turns = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    ellipse = np.stack([7 * np.cos(turns) + 100, 3 * np.sin(turns) - 50], axis=1)
    assert area(ellipse) == pytest.approx(np.pi * 21, rel=1e-5)
    assert area(ellipse[::-1]) == pytest.approx(area(ellipse))
    notched = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [2.0, 1.0], [0.0, 4.0]])
    assert area(notched) == pytest.approx(16 - 6)


def test_rotated_turns_from_x_to_y() -> None:
    points = np.array([[1.0, 0.0], [0.0, 2.0]])
    np.testing.assert_allclose(rotated(points, np.pi / 2), [[0, 1], [-2, 0]], atol=1e-12)
    assert area(rotated(SQUARE, 0.7)) == pytest.approx(9)


@pytest.mark.parametrize("aspect", [1.0, 2.5])
@pytest.mark.parametrize("corners", [5, 8, 11])
def test_polygon_has_the_area_of_its_sectors(corners: int, aspect: float) -> None:
    """n sectors of r^2/2 sin(angle); the angle's jitter is a difference of two uniform draws."""
    rng = np.random.default_rng(1)
    regular = 2 * np.pi / corners
    jitter = np.sinc(0.32 * regular / np.pi) ** 2  # mean of the jitter's cosine
    expected = corners / 2 * 10.0**2 * np.sin(regular) * jitter
    drawn = [area(polygon(rng, 10.0, corners, aspect, 0.0)) for _ in range(2000)]
    assert np.mean(drawn) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("aspect", [1.0, 3.0])
def test_polygon_of_many_corners_is_an_ellipse(aspect: float) -> None:
    outline = polygon(np.random.default_rng(2), 20.0, 900, aspect, 0.0)
    assert area(outline) == pytest.approx(np.pi * 20**2, rel=0.01)
    narrow, wide = np.sqrt(np.linalg.eigvalsh(np.cov(outline.T)))
    assert wide / narrow == pytest.approx(aspect, rel=0.02)
    np.testing.assert_allclose(outline.mean(axis=0), 0, atol=0.3)


@pytest.mark.parametrize("roughness", [0.1, 0.5])
def test_polygon_keeps_to_its_radii(roughness: float) -> None:
    rng = np.random.default_rng(3)
    radii = np.concatenate([np.hypot(*polygon(rng, 10, 9, 1.0, roughness).T) for _ in range(300)])
    assert radii.min() >= 10 * (1 - roughness)
    assert radii.max() <= 10 * (1 + roughness)
    # Uniform, so its deviation is that over the root of 3.
    assert radii.std() == pytest.approx(10 * roughness / np.sqrt(3), rel=0.05)


def test_area_is_what_a_rasteriser_fills() -> None:
    rng = np.random.default_rng(4)
    for outline in (
        polygon(rng, 9.0, 7, 1.7, 0.3),
        cut_corners(polygon(rng, 9.0, 5, 1.2, 0.1), 0.2),
        plate(rng, 40.0, 6.0, 0.02, 1.0),
    ):
        assert area(outline) == pytest.approx(rasterised(outline, 12), rel=0.02)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_cut_corners_takes_a_triangle_off_each(share: float) -> None:
    cut = cut_corners(SQUARE, share)
    assert len(cut) == 2 * len(SQUARE)
    assert area(cut) == pytest.approx(9 * (1 - 2 * share**2))


@pytest.mark.parametrize(("length", "step"), [(100.0, 4.0), (101.9, 4.0), (31.0, 7.0), (0.5, 3.0)])
def test_walk_is_as_long_as_asked(length: float, step: float) -> None:
    path = walk(np.random.default_rng(7), np.array([5.0, 6.0]), 0.3, length, step, 0.2)
    np.testing.assert_array_equal(path[0], [5, 6])
    np.testing.assert_allclose(lengths(path), step)
    assert lengths(path).sum() == pytest.approx(max(length, 2 * step), abs=step / 2 + 1e-9)


def test_walk_keeps_its_heading_or_wanders() -> None:
    straight = walk(np.random.default_rng(8), np.zeros(2), 0.3, 300.0, 3.0, 0.0)
    np.testing.assert_allclose(straight[-1], [300 * np.cos(0.3), 300 * np.sin(0.3)])
    rng = np.random.default_rng(9)
    ends = [walk(rng, np.zeros(2), 0.3, 300.0, 3.0, 0.03)[-1] for _ in range(200)]
    reached = np.hypot(*np.array(ends).T)
    assert reached.max() < 300
    assert reached.mean() < 270  # it bends
    # ... to either side alike.
    aside = rotated(np.array(ends), -0.3)[:, 1]
    assert abs(aside.mean()) < 4 * aside.std() / np.sqrt(200)


@pytest.mark.parametrize("sideways", [0.05, -0.2, 0.6])
def test_bent_is_a_parabola(sideways: float) -> None:
    start, end = np.array([2.0, 3.0]), np.array([62.0, 83.0])  # 100 apart
    path = bent(start, end, sideways, 1501)
    np.testing.assert_allclose(path[[0, -1]], [start, end])
    across = np.array([-0.8, 0.6])
    np.testing.assert_allclose(path[750], (start + end) / 2 + 100 * sideways * across)
    slope = 4 * abs(sideways)
    expected = 50 * np.sqrt(1 + slope**2) + 50 / slope * np.arcsinh(slope)
    assert lengths(path).sum() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("bend", [0.0, 0.04])
def test_plate_is_as_long_and_about_as_wide_as_asked(bend: float) -> None:
    rng = np.random.default_rng(10)
    for _ in range(200):
        outline = plate(rng, 80.0, 8.0, bend, 1.0)
        assert np.ptp(outline[:, 0]) == pytest.approx(80)
        middle = outline[np.abs(outline[:, 0]) < 1e-9, 1]
        assert np.ptp(middle) == pytest.approx(8)
        straight = outline[:, 1] - bend * 80 * (outline[:, 0] / 40) ** 2
        assert np.abs(straight).max() <= 0.55 * 8 + 1e-9
        assert 0.5 * 80 * 8 < area(outline) < 1.1 * 80 * 8
