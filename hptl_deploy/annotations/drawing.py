"""Outlines become pixels.

    centre of a pixel at +0.5        a pixel belongs to a region when its centre
      0   1   2   3                  lies inside the outline, by the even-odd rule;
    0 +---+---+---+                  a centre on an outline goes to the region on
      | . | . | . |                  its right or below.
    1 +---+---+---+

So two regions that share an outline share no pixel and leave none out. `skimage.draw.polygon`
gives both a centre that lies on the outline; the tests compare with it everywhere else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_deploy.annotations.base import Ring, Shape

FARTHEST = 1e7
"""Coordinates beyond this, px, are no place in a micrograph."""

_CORNERS = 720
"""Of a round outline: at a radius of 1000 px it leaves the circle by 0.01 px at most."""


def draw(shape: Shape, height: int, width: int) -> tuple[int, int, NDArray[np.bool_]]:
    """(first row, first column, mask) of the part of `shape` inside height x width pixels."""
    if shape.mask is not None:
        row, column = shape.mask.row, shape.mask.column
        top, left = max(0, -row), max(0, -column)
        kept = shape.mask.pixels()[top : max(top, height - row), left : max(left, width - column)]
        return max(0, row), max(0, column), kept
    corners = np.concatenate([np.asarray(ring, np.float64) for ring in shape.rings])
    left, top = (max(0, math.floor(v)) for v in corners.min(axis=0))
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)), (width, height)).astype(int).tolist()
    rows, columns = max(0, bottom - top), max(0, right - left)
    return top, left, fill(shape.rings, rows, columns, (left, top))


def fill(
    rings: Iterable[Ring], rows: int, columns: int, origin: tuple[int, int] = (0, 0)
) -> NDArray[np.bool_]:
    """Pixels whose centres lie inside an odd number of rings; bool [rows, columns].

    `origin` is the (x, y) of the first pixel's outer corner.
    """
    # Where an edge passes a row of centres, all pixels to its right change sides.
    changes = np.zeros((rows, columns + 1), np.uint8)
    for ring in rings:
        corners = np.asarray(ring, np.float64) - origin - 0.5
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            first, last = (math.ceil(y) for y in sorted((y0, y1)))
            row = np.arange(max(first, 0), min(last, rows))
            if not row.size:
                continue
            x = x0 + (row - y0) * ((x1 - x0) / (y1 - y0))
            changes[row, np.clip(np.ceil(x), 0, columns).astype(np.intp)] ^= 1
    inside = np.bitwise_xor.accumulate(changes, axis=1)[:, :columns]
    return inside.astype(bool)


def rectangle(x: float, y: float, width: float, height: float, degrees: float = 0.0) -> Ring:
    """A rectangle from its first corner, turned about that corner (clockwise on the screen)."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height))
    return [(x + dx * cosine - dy * sine, y + dx * sine + dy * cosine) for dx, dy in corners]


def ellipse(x: float, y: float, across: float, down: float, degrees: float = 0.0) -> Ring:
    """An ellipse from its centre and half axes, turned about its centre."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turns = [2 * math.pi * step / _CORNERS for step in range(_CORNERS)]
    offsets = [(across * math.cos(turn), down * math.sin(turn)) for turn in turns]
    return [(x + dx * cosine - dy * sine, y + dx * sine + dy * cosine) for dx, dy in offsets]
