"""Info bands: full-width rows below or above the micrograph, flat but for the letters in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.left_out.strips import Strip
from hptl_deploy.tiling import Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FLAT, _EXACT = 12, 2
"""Levels from the band's colour: of a pixel that is of it, and of most of these."""
_PAPER, _MOSTLY, _MOST_EXACT = 0.35, 0.6, 0.6
"""Share of such pixels in every row, letters or not; over all rows; and of the exact among them."""
_NOT_EMPTY = 0.997
"""The same share over all rows at most: a band says something, an empty strip may be a phase."""
_INSIDE, _OUTSIDE = 0.85, 0.15
"""The same share on either side of the edge between band and micrograph."""
_LINE, _LEVEL = 4, 3
"""Rows of a frame or a rule at most, and of an edge that is level but blurred."""
_SMALLEST = 10
_LARGEST = 0.35
"""Rows, as a share of the page's."""


def info_bands(strips: Sequence[Strip]) -> list[Region]:
    """Bands across the bottom and the top of the page, of which `strips` are the outer rows."""
    first, last = strips[0], strips[-1]
    height, width = first.page.shape
    most = int(_LARGEST * height)
    bottom = _rows(last.pixels[::-1], most)
    top = _rows(first.pixels, most) if bottom < height else 0
    found = [Region(height - bottom, height, 0, width)] if bottom else []
    return [*found, Region(0, top, 0, width)] if top else found


def _rows(pixels: NDArray[np.uint8], most: int) -> int:
    """Of all bands that lie one upon another from the first row on, `most` at most."""
    total = 0
    while total < most and (rows := _band(pixels[total:most])):
        total += rows
    return total


def _band(pixels: NDArray[np.uint8]) -> int:
    """Rows of a band that begins in the first row and ends before the last; 0 for none."""
    if len(pixels) < _SMALLEST + 2 * _LINE:
        return 0
    colour = [
        int(np.bincount(pixels[_LINE:_SMALLEST, :, channel].ravel(), minlength=256).argmax())
        for channel in range(3)
    ]
    share = _share(pixels[:_SMALLEST], colour, _FLAT)
    if share[_LINE:].min() < _PAPER:  # most micrographs need no longer look
        return 0
    share = _share(pixels, colour, _FLAT)
    low = share < _PAPER
    ends = np.flatnonzero(
        np.logical_and.reduce([low[step : len(low) - _LINE + step] for step in range(_LINE + 1)])
    )
    ends = ends[ends >= _SMALLEST]
    if not len(ends):
        return 0
    rows = int(ends[0])
    inside, outside = share[rows - _LEVEL : rows].max(), share[rows + 1 : rows + _LINE].max()
    exact = _share(pixels[:rows], colour, _EXACT).mean()
    is_band = (
        inside >= _INSIDE
        and outside <= _OUTSIDE
        and _MOSTLY <= share[:rows].mean() <= _NOT_EMPTY
        and exact >= _MOST_EXACT * share[:rows].mean()
    )
    return rows if is_band else 0


def _share(pixels: NDArray[np.uint8], colour: list[int], levels: int) -> NDArray[np.floating]:
    """How much of each row is within `levels` of `colour`: [H, W, 3] -> [H]."""
    near = np.ones(pixels.shape[:2], bool)
    for channel, level in enumerate(colour):
        plane = pixels[..., channel]
        near &= (plane >= max(0, level - levels)) & (plane <= min(255, level + levels))
    share: NDArray[np.floating] = near.mean(1)
    return share
