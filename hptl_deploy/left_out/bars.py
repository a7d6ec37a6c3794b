"""Bars of one colour: straight, level, sharply cut, thin, darker or paler or more vivid than all.

A micrograph's own features have noise, blur and rough outlines. A bar that was printed into it has
an edge that lies between the same two rows all along, above and below, and ends in the same
column in all of its rows; that much outlives JPEG and a change of size. Whether it is a scale
bar is decided by what stands beside it.

H and W are the height and width of a strip in px; shares are of the page's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from hptl_deploy.left_out.strips import Strip
from hptl_deploy.phases import Colour
from hptl_deploy.tiling import Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

DARK, PALE, VIVID = 64, 190, 80
"""A printed colour's channels are all below, all above, or differ by so much."""
_CONTRAST = 24
"""Levels from a bar to what lies above and below it, at least."""
_STEP = 2
"""Every second column is looked at: what is sought is longer by far."""
_BLOCK = 8
"""Pixels whose looked-at columns are compared together: four bytes."""
_BLOCKS = 3
"""A bar has so many in a row, at least."""
_MOST_EDGES = 500
"""The longest are looked at: noise has tens of thousands, a dense micrograph of steel had 323."""
_SHORTEST, _LONGEST = 32, 0.7
"""Pixels, and share of the page's width: what crosses all of it is no scale bar."""
_LEAST_ASPECT = 2.5
_THICKEST = 0.04
"""Of the page's height."""
BEYOND = 3
"""Rows or columns from a bar to where nothing of its blurred edge is left."""
_WAVES, _WAVES_EXACT, _WAVES_THIN = 0.3, 0.14, 0.06
"""Median deviation of an edge from straight, px: at most; and where no needle is as straight, or
none of 1 or 2 px."""
_ROUGH, _ROUGH_EXACT, _LEVELS_EXACT = 0.14, 0.04, 8
"""Likewise of the pixels along a bar from its colour, as shares of its contrast; or in levels."""
_CLEAR, _LEAST_CLEAR = 0.4, 0.4
"""Beyond the edge there is no more than this share of ink, along this share of it."""
_PURE = 24
"""Levels from none and from all of a channel."""
_SHORT_EXACT, _SHORT, _SHORT_PX, _LONG = 0.04, 0.06, 64, 0.1
"""Shares of the page's width, and px. Below the first, saturated particles of an enlarged
micrograph are as exact as a bar; below the next two are needles as straight as one; none was found
that is half as long as the last."""
_TICK = 0.5
"""How far a tick reaches beyond its bar, at most, as a share of the bar's length."""


@dataclass(frozen=True)
class Bar:
    """A printed bar, without ticks."""

    region: Region
    colour: Colour
    ground: Colour
    """Of what is above it."""
    exact: bool = False
    """As flat, straight and pure in colour as no needle is."""

    @property
    def contrast(self) -> int:
        """Levels between it and its ground, in the channel where they differ most."""
        return max(abs(one - other) for one, other in zip(self.colour, self.ground, strict=True))

    @property
    def vivid(self) -> bool:
        """Of a colour that no micrograph's own features have."""
        return max(self.colour) - min(self.colour) >= VIVID

    @property
    def tolerance(self) -> int:
        """Levels from its colour within which a pixel is more bar than background."""
        return max(12, min(48, int(0.4 * self.contrast)))


def find_bars(strip: Strip) -> Iterator[Bar]:
    """Every bar in `strip` that is thin, straight and level, in the strip's coordinates."""
    edges = sorted(_edges(strip.pixels), key=lambda edge: edge[1].start - edge[1].stop)
    for rows, columns in edges[:_MOST_EDGES]:
        bar = _bar(strip, rows, columns)
        if bar is not None and strip.holds(bar.region, BEYOND + 1):
            yield bar


def with_ticks(pixels: NDArray[np.uint8], bar: Bar) -> Region:
    """The bar with what stands up and hangs down at its ends."""
    region = bar.region
    reach = max(4, int(_TICK * region.width))
    y0, y1 = max(0, region.y0 - reach), min(pixels.shape[0], region.y1 + reach)
    wide = min(region.width // 4, max(4, 2 * region.height))
    top, bottom = region.y0, region.y1
    for x0 in (region.x0, region.x1 - wide):
        ink = distance(pixels[y0:y1, x0 : x0 + wide], bar.colour) <= bar.tolerance
        missing = np.flatnonzero(~ink.any(1))
        above, below = missing[missing < region.y0 - y0], missing[missing >= region.y1 - y0]
        top = min(top, y0 + (int(above[-1]) + 1 if len(above) else 0))
        bottom = max(bottom, y0 + (int(below[0]) if len(below) else y1 - y0))
    return Region(top, bottom, region.x0, region.x1)


def distance(pixels: NDArray[np.uint8], colour: Colour) -> NDArray[np.int16]:
    """Levels from `colour` in the channel where it is most: [..., 3] -> [...]."""
    apart = np.abs(pixels.astype(np.int16) - np.array(colour, np.int16))
    most: NDArray[np.int16] = apart.max(axis=-1)
    return most


def _edges(pixels: NDArray[np.uint8]) -> Iterator[tuple[slice, slice]]:
    """Where rows of a printed colour begin below something else: (rows, columns) of each place."""
    height, width = pixels.shape[:2]
    if height < 2 * BEYOND or width < _SHORTEST:
        return
    looked_at = pixels[:, : width // _BLOCK * _BLOCK : _STEP]
    red, green, blue = (np.ascontiguousarray(looked_at[..., channel]) for channel in range(3))
    most = np.maximum(np.maximum(red, green), blue)
    least = np.minimum(np.minimum(red, green), blue)
    edge = (most <= DARK) | (least >= PALE) | (most - least >= VIVID)
    edge[:2] = False
    # Any printed colour differs from a grey in green or in blue.
    edge[2:] &= _apart(green) | _apart(blue)
    full = edge.view(np.uint32) == np.uint32(0x01010101)
    there = full[:, 2:] & full[:, 1:-1] & full[:, :-2]
    numbered, _ = ndimage.label(there)
    for rows, columns in ndimage.find_objects(numbered):
        longest = rows.start + int(there[rows, columns].sum(1).argmax())
        first = columns.start * _BLOCK
        yield slice(longest, rows.stop), slice(first, (columns.stop + _BLOCKS - 1) * _BLOCK)


def _apart(plane: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a pixel differs from the one two rows above: [H, W] -> [H - 2, W]."""
    below, above = plane[2:], plane[:-2]
    apart: NDArray[np.bool_] = np.maximum(below, above) - np.minimum(below, above) >= _CONTRAST
    return apart


def _bar(strip: Strip, rows: slice, columns: slice) -> Bar | None:
    """The bar whose upper edge lies in `rows` and `columns`, if it is one."""
    pixels = strip.pixels
    row, ground = _purest_row(pixels, rows, columns)
    piece = Region(row, row + 1, columns.start, columns.stop)
    seed = Bar(piece, _median(pixels[row, columns]), ground)
    if seed.contrast < _CONTRAST:
        return None
    # A dark particle at its end goes on where a black bar stops, unless few levels are granted.
    for levels in (seed.tolerance, seed.tolerance // 3):
        bar = _extended(strip, seed, levels)
        judged = None if bar is None else _judged(pixels, bar)
        if judged is not None and (judged.exact or levels == seed.tolerance):
            return judged
    return None


def _judged(pixels: NDArray[np.uint8], bar: Bar) -> Bar | None:
    """`bar`, exact or not; None where it is too rough, crooked or, for what it is, short."""
    roughness = _roughness(pixels, bar)
    if roughness > _ROUGH:
        return None
    waves, waves_evened = _edge_waves(pixels, bar), _edge_waves(pixels, bar, evened=True)
    width, height = bar.region.width, bar.region.height
    share = width / pixels.shape[1]
    flat = roughness <= max(_ROUGH_EXACT, _LEVELS_EXACT / bar.contrast)
    straight = min(waves, waves_evened) <= (_WAVES_EXACT if height >= 3 else _WAVES_THIN)
    exact = (height >= 2 and share >= _LONG and waves <= _WAVES) or (flat and straight)
    exact = exact and all(level <= _PURE or level >= 255 - _PURE for level in bar.colour)
    if waves > _WAVES and not exact:
        return None
    if exact or bar.vivid:
        return replace(bar, exact=exact) if share >= _SHORT_EXACT else None
    return bar if share >= _SHORT and width >= _SHORT_PX else None


def _extended(strip: Strip, seed: Bar, levels: int) -> Bar | None:
    """All that is within `levels` of the colour of `seed`, a piece of one row.

    None where that is no thin rectangle.
    """
    pixels = strip.pixels
    row, start, stop, colour = seed.region.y0, seed.region.x0, seed.region.x1, seed.colour
    near = distance(pixels[row], colour) <= levels
    left, right = _run(near, (start + stop) // 2, 2)
    if not _SHORTEST <= right - left <= _LONGEST * pixels.shape[1]:
        return None
    most = max(6, min(int(_THICKEST * strip.page_height), int((right - left) / _LEAST_ASPECT)))
    first, last = max(0, row - most - 1), row + most + 2
    inside = distance(pixels[first:last, left:right], colour) <= levels
    top, bottom = _run(inside.mean(1) >= 0.8, row - first, 0)
    if not 0 < bottom - top <= most:
        return None
    return replace(seed, region=Region(first + top, first + bottom, left, right))


def _purest_row(pixels: NDArray[np.uint8], rows: slice, columns: slice) -> tuple[int, Colour]:
    """The row that differs most from what lies above the edge, and that background's colour."""
    above = max(0, rows.start - BEYOND)
    ground = _median(pixels[above, columns])
    candidates = range(rows.start, min(rows.stop + 1, pixels.shape[0]))
    apart = [int(distance(pixels[row, columns], ground).sum()) for row in candidates]
    return candidates[int(np.argmax(apart))], ground


def _median(pixels: NDArray[np.uint8]) -> Colour:
    """Of [N, 3]."""
    red, green, blue = np.median(pixels, axis=0).astype(int).tolist()
    return red, green, blue


def _run(there: NDArray[np.bool_], at: int, gap: int) -> tuple[int, int]:
    """First and behind the last of the true ones round `at`; up to `gap` missing do not end it."""
    ends = ~there
    for step in range(1, gap + 1):
        ends = ends[:-1] & ~there[step:]
    first = np.flatnonzero(ends)  # of gap + 1 that are missing
    before, behind = first[first + gap < at], first[first > at]
    start = int(before[-1]) + gap + 1 if len(before) else 0
    stop = int(behind[0]) if len(behind) else len(there)
    inside = np.flatnonzero(there[start:stop])
    return (start + int(inside[0]), start + int(inside[-1]) + 1) if len(inside) else (at, at)


def _roughness(pixels: NDArray[np.uint8], bar: Bar) -> float:
    """How far pixels along the middle of the bar are from its colour, as a share of its contrast.

    Nine in ten are nearer.
    """
    region = bar.region
    inside = distance(pixels[region.slices], bar.colour)
    row = inside[region.height // 2] if region.height > 2 else inside[inside.sum(1).argmin()]
    return float(np.quantile(row[2:-2], 0.9)) / bar.contrast


def _edge_waves(pixels: NDArray[np.uint8], bar: Bar, *, evened: bool = False) -> float:
    """How far its edges are from straight, px: the worse of the long ones, half of the ends'.

    With `evened` each column's own ground beyond the edge is taken off: what lies below a printed
    bar does not move its edges.
    """
    region = bar.region
    height, width = pixels.shape[:2]
    y0, y1 = max(0, region.y0 - BEYOND), min(height, region.y1 + BEYOND)
    x0, x1 = max(0, region.x0 - BEYOND), min(width, region.x1 + BEYOND)
    apart = distance(pixels[y0:y1, x0:x1], bar.colour)
    share = np.clip(1 - apart / bar.contrast, 0, 1)  # of ink, [y1 - y0, x1 - x0]
    left, right = region.x0 - x0, region.x1 - x0
    middle = (y0 + y1) // 2 - y0
    found = []
    for half, beyond in ((share[:middle], share[0]), (share[middle:], share[-1])):
        # Of a black bar that crosses dark particles, what lies between them tells.
        clear = np.flatnonzero(beyond[left:right] <= _CLEAR) + left
        if len(clear) < _LEAST_CLEAR * (right - left):
            return math.inf
        ink, ground = half[:, clear].sum(0), beyond[clear] if evened else np.zeros(len(clear))
        found.append(_waves((ink - len(half) * ground) / (1 - ground)))
    top, bottom = region.y0 - y0, region.y1 - y0
    if bottom - top >= 4:  # the others have no row that is not an edge
        top, bottom = top + 1, bottom - 1
    for end in (share[top:bottom, : left + BEYOND], share[top:bottom, right - BEYOND :]):
        found.append(_waves(end.sum(1)) / 2)
    return max(found)


def _waves(amounts: NDArray[np.floating]) -> float:
    """Median deviation from the median."""
    return float(np.median(np.abs(amounts - np.median(amounts))))
