"""What the convex hull of a particle says: Feret diameters, aspect ratio, orientation, solidity.

Hulls are of pixel centres, whole numbers, so they are exact. The room that pixels take round their
centres is added where a figure needs it, as what leaves the least bias (docs/measuring.md has the
figures):

    max Feret   the largest distance between middles of pixel sides
    breadth     between parallel lines along a side of the hull: the distance of the outermost
                lines of pixel centres, and once the distance of two neighbouring such lines. The
                pixels of a straight strip lie on breadth / distance lines, on average.
    solidity    pixels over pixels whose centre lies in the hull, which Pick's theorem counts
                (Pick 1899): a convex figure, drawn on pixels, has exactly 1

With pixel corners, or middles of pixel sides, a slanting needle comes out 1.2 or 0.8 px too broad.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

# Pairs of a vertex and a side looked at once.
_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class HullFigures:
    """Of N particles, [N] each, in px and degrees."""

    max_feret: Floats
    min_feret: Floats
    """The smallest breadth."""
    aspect_ratio: Floats
    """Long over short side of the rectangle of smallest area; from 1."""
    orientation: Floats
    """Of its long side against the rows, anticlockwise as seen: from 0 to below 180."""
    solidity: Floats
    """From 0 to 1."""


def hull_figures(
    row: NDArray[np.int32],
    start: NDArray[np.int32],
    end: NDArray[np.int32],
    number: Ints,
    area: Ints,
) -> HullFigures:
    """Figures of N particles from their R runs (row, first column, column behind the last).

    `number` [R] counts the particles from 0 and ascends; `area` [N] is in pixels, two at least.
    """
    vertices, of = _hulls(row, start, end, number)
    sides = np.bincount(of, minlength=len(area))
    found = np.empty((4, len(area)))
    for some, places in _pieces(sides):
        found[:, some] = _extents(vertices[places], sides[some])
    feret, breadth, aspect, angle = found
    return HullFigures(feret, breadth, aspect, angle, area / _pixels_inside(vertices, sides))


def _hulls(
    row: NDArray[np.int32], start: NDArray[np.int32], end: NDArray[np.int32], number: Ints
) -> tuple[Ints, Ints]:
    """Vertices (x, y) [V, 2] of all hulls in turn, and whose they are [V].

    Of pixels in one line, the two ends.
    """
    import shapely

    if not len(row):
        return np.empty((0, 2), np.int64), np.empty(0, np.int64)
    ends = np.stack([start, row, end - 1, row], axis=1).reshape(-1, 2).astype(np.float64)
    lines = shapely.linestrings(ends, indices=np.repeat(number, 2))
    points, of = shapely.get_coordinates(shapely.convex_hull(lines), return_index=True)
    first = np.concatenate([[0], np.flatnonzero(np.diff(of)) + 1])
    last = np.append(first[1:], len(of)) - 1
    closing = (points[first] == points[last]).all(axis=1)  # a polygon ends where it begins
    kept = np.ones(len(of), np.bool_)
    kept[last[closing]] = False
    return np.rint(points[kept]).astype(np.int64), of[kept].astype(np.int64)


def _pieces(sides: Ints) -> Iterator[tuple[slice, slice]]:
    """Some particles at a time and the places of their vertices."""
    pairs, behind = np.cumsum(sides**2), np.cumsum(sides)
    first = 0
    while first < len(sides):
        done = pairs[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(pairs, done + _AT_ONCE, side="right")))
        yield slice(first, last), slice(int(behind[first] - sides[first]), int(behind[last - 1]))
        first = last


def _next(sides: Ints) -> Ints:
    """The place of the vertex that follows each, round every hull."""
    behind = np.cumsum(sides)
    following = np.arange(1, len(np.repeat(sides, sides)) + 1)
    following[behind - 1] = behind - sides
    return following


def _extents(vertices: Ints, sides: Ints) -> Floats:
    """Max Feret, min Feret, aspect ratio and orientation [4, N]."""
    following = _next(sides)
    each = np.repeat(sides, sides)  # [V], vertices of the hull that a side belongs to
    begin = np.cumsum(each) - each  # [V], first pair of a side
    side = np.repeat(np.arange(len(vertices)), each)  # [pairs]
    hull_begin = np.repeat(np.cumsum(sides) - sides, sides)
    vertex = np.repeat(hull_begin, each) + np.arange(len(side)) - np.repeat(begin, each)
    along = vertices[following] - vertices
    apart = vertices[vertex] - vertices[side]
    across = np.maximum.reduceat(np.abs(_cross(along[side], apart)), begin)
    forth = (along[side] * apart).sum(axis=1)
    extent = np.maximum.reduceat(forth, begin) - np.minimum.reduceat(forth, begin)
    length = np.hypot(along[:, 0], along[:, 1])
    step = np.gcd(along[:, 0], along[:, 1])
    breadth = (across + step) / length
    long_way = (extent + np.abs(along).max(axis=1)) / length
    hulls = np.cumsum(sides) - sides
    best = _smallest(breadth, long_way, along, np.repeat(np.arange(len(sides)), sides))[hulls]
    aspect, angle = _rectangle(breadth[best], long_way[best], along[best])
    reach = (apart**2).sum(axis=1) + 1 + 2 * np.abs(apart).max(axis=1)
    first_pair = begin[hulls]
    feret = np.sqrt(np.maximum.reduceat(reach, first_pair))
    return np.stack([feret, np.minimum.reduceat(breadth, hulls), aspect, angle])


def _smallest(breadth: Floats, length: Floats, along: Ints, of: Ints) -> Ints:
    """Sides sorted by hull, in each by the area of the rectangle on it.

    Of equal areas the one with the longest side is the first, and of these the flattest.
    """
    longest = np.maximum(breadth, length)
    _, angle = _rectangle(breadth, length, along)
    order: Ints = np.lexsort((angle, -longest, breadth * length, of))
    return order


def _rectangle(breadth: Floats, length: Floats, along: Ints) -> tuple[Floats, Floats]:
    """Aspect ratio, and orientation of the long side in degrees; `along` is where `length` is."""
    x, y = along[:, 0], -along[:, 1]  # rows count downwards
    upright = breadth > length
    x, y = np.where(upright, -y, x), np.where(upright, x, y)
    flip = (y < 0) | ((y == 0) & (x < 0))
    angle = np.degrees(np.arctan2(np.where(flip, -y, y), np.where(flip, -x, x)))
    return np.maximum(breadth, length) / np.minimum(breadth, length), angle


def _pixels_inside(vertices: Ints, sides: Ints) -> Floats:
    """Pixels whose centre lies in a hull or on its rim [N]: area + rim / 2 + 1 (Pick)."""
    if not len(sides):
        return np.empty(0)
    following, first = _next(sides), np.cumsum(sides) - sides
    along = vertices[following] - vertices
    origin = np.repeat(vertices[first], sides, axis=0)
    twice = np.abs(np.add.reduceat(_cross(vertices - origin, along), first))
    rim = np.add.reduceat(np.gcd(along[:, 0], along[:, 1]), first)
    inside: Floats = (twice + rim) / 2 + 1
    return inside


def _cross(one: Ints, other: Ints) -> Ints:
    product: Ints = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
    return product
