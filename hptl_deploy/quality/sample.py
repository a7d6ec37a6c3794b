"""The part of a micrograph that its focus and texture are judged by: blocks spread over it."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 256
"""Side of a block, px; up to twice that where all of a micrograph is looked at."""
MOST = 24
"""Blocks at most: 1.6 megapixels, which tell as much as a larger frame's five or twenty."""

_SHARES = np.array([0.25, 0.5, 0.25], np.float32)

Block = tuple[slice, slice]
"""Rows and columns."""


def blocks_of(height: int, width: int) -> list[Block]:
    """Blocks that cover a small micrograph, or up to MOST, evenly spread, of a larger one."""
    down, across = max(1.0, height / BLOCK), max(1.0, width / BLOCK)
    # Fewer rows and columns of blocks where that is more than MOST, in the same proportion.
    shrink = min(1.0, math.sqrt(MOST / (down * across)))
    rows = _strips(height, down * shrink, whole=shrink == 1)
    columns = _strips(width, across * shrink, whole=shrink == 1)
    return [(row, column) for row in rows for column in columns]


def _strips(length: int, wanted: float, *, whole: bool) -> list[slice]:
    """In each of about `wanted` equal parts of `length` its middle, or all of it."""
    count = max(1, min(MOST, int(wanted)))
    edges = [length * place // count for place in range(count + 1)]
    strips = []
    for start, end in itertools.pairwise(edges):
        side = end - start if whole else min(BLOCK, end - start)
        first = start + (end - start - side) // 2
        strips.append(slice(first, first + side))
    return strips


def grey(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(R + 2 G + B) / 4 of uint8 [..., 3], float32 [...]."""
    found: NDArray[np.float32] = np.matmul(pixels, _SHARES, dtype=np.float32)
    return found
