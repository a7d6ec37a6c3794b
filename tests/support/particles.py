"""Maps of one figure or many, and their particles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hptl_deploy.measurement.particles import Particles, measure_particles


def measured(classes: NDArray[np.uint8], confidence: NDArray[np.uint8] | None = None) -> Particles:
    """The particles of a class map [H, W]."""
    sure = np.full_like(classes, 255) if confidence is None else confidence
    found = measure_particles(classes, sure)
    assert found is not None
    assert found.known == (classes != 255).sum()
    return found.particles


def disk(radius: float, x: float = 0.0, y: float = 0.0) -> NDArray[np.uint8]:
    """A disk, its centre (x, y) px off the map's."""
    across, down = _grid(radius + 3)
    return ((across - x) ** 2 + (down - y) ** 2 <= radius**2).astype(np.uint8)


def ellipse(
    a: float, b: float, degrees: float, x: float = 0.0, y: float = 0.0
) -> NDArray[np.uint8]:
    """Half axes a and b, the former `degrees` anticlockwise from the rows."""
    along, across = _turned(a + 3, degrees, x, y)
    return ((along / a) ** 2 + (across / b) ** 2 <= 1).astype(np.uint8)


def needle(
    length: float, breadth: float, degrees: float, x: float = 0.0, y: float = 0.0
) -> NDArray[np.uint8]:
    """A rectangle whose `length` lies `degrees` anticlockwise from the rows."""
    along, across = _turned(np.hypot(length, breadth) / 2 + 3, degrees, x, y)
    return ((abs(along) <= length / 2) & (abs(across) <= breadth / 2)).astype(np.uint8)


def _grid(half: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x and y of the pixel centres of a square map about its middle; y counts downwards."""
    side = 2 * int(np.ceil(half))
    down, across = np.mgrid[:side, :side] + 0.5 - side / 2
    return across, down


def _turned(
    half: float, degrees: float, x: float, y: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    across, down = _grid(half)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    across, up = across - x, -(down - y)
    return across * cos + up * sin, up * cos - across * sin
