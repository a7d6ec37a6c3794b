"""How far figures are from the truth on drawn disks, ellipses and needles at all angles.

The tolerances are what docs/measuring.md states. Every figure is drawn many times, at places and
angles that are no whole numbers; the mean of its error is its bias.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from hptl_deploy.measurement.particles import Particles
from support.particles import disk, ellipse, measured, needle

DRAWN = 60


def drawn(draw: Callable[[float, float, float], NDArray[np.uint8]]) -> Particles:
    """DRAWN figures `draw(degrees, x, y)` one by one; angles spread over the half turn."""
    rng = np.random.default_rng(7)
    found = []
    for number in range(DRAWN):
        degrees = 180 * (number + rng.uniform()) / DRAWN
        one = measured(draw(degrees, *rng.uniform(-0.5, 0.5, 2)))
        assert len(one) == 1
        found.append(one)
    return Particles.together(found)


@pytest.mark.parametrize("radius", [6, 8, 12, 20, 40])
def test_disks(radius: float) -> None:
    found = drawn(lambda _, x, y: disk(radius, x, y))
    assert found.equivalent_diameter.mean() == pytest.approx(2 * radius, rel=0.005)
    assert found.perimeter.mean() == pytest.approx(2 * math.pi * radius, rel=0.01)
    assert 0.3 < (found.max_feret - 2 * radius).mean() < 1
    assert -0.55 < (found.min_feret - 2 * radius).mean() < -0.2
    assert found.aspect_ratio.mean() < 1.04
    assert found.solidity.min() == 1
    assert 0.98 < found.circularity.mean() <= 1


@pytest.mark.parametrize("radius", [2, 3, 4])
def test_perimeters_of_small_disks(radius: float) -> None:
    found = drawn(lambda _, x, y: disk(radius, x, y))
    assert found.perimeter.mean() == pytest.approx(2 * math.pi * radius, rel=0.02)


@pytest.mark.parametrize(
    ("length", "breadth"), [(12, 9), (30, 4), (30, 10), (60, 3), (100, 6), (200, 4)]
)
def test_needles(length: float, breadth: float) -> None:
    found = drawn(lambda degrees, x, y: needle(length, breadth, degrees, x, y))
    shape = found.at(np.flatnonzero(found.area >= 100))
    assert len(shape) > DRAWN / 2
    assert (shape.min_feret - breadth).mean() == pytest.approx(0, abs=0.1)
    assert (shape.max_feret - math.hypot(length, breadth)).mean() == pytest.approx(0, abs=0.6)
    assert shape.aspect_ratio.mean() == pytest.approx(length / breadth, rel=0.06)
    assert shape.solidity.min() == 1
    # The outline in four directions is up to 7 % too short in rows and 3 % too long between.
    perimeter = 2 * (length + breadth)
    assert found.perimeter.mean() == pytest.approx(perimeter, rel=0.035)
    assert (abs(found.perimeter / perimeter - 1) < 0.1).all()


@pytest.mark.parametrize(("a", "b"), [(8, 5), (12, 6), (20, 4), (30, 3), (40, 20)])
def test_ellipses(a: float, b: float) -> None:
    found = drawn(lambda degrees, x, y: ellipse(a, b, degrees, x, y))
    assert (found.min_feret - 2 * b).mean() == pytest.approx(0, abs=0.15)
    assert (found.max_feret - 2 * a).mean() == pytest.approx(0, abs=0.7)
    assert found.aspect_ratio.mean() == pytest.approx(a / b, rel=0.015)
    assert found.solidity.min() == 1


@pytest.mark.parametrize("degrees", [0, 10, 30, 45, 77, 90, 120, 135, 179])
def test_orientation_is_anticlockwise_from_the_rows(degrees: float) -> None:
    found = measured(needle(100, 5.2, degrees))
    off = (found.orientation[0] - degrees + 90) % 180 - 90
    assert abs(off) < 0.8
