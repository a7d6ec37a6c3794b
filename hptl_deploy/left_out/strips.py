"""The rows of a page in which scale bars and info bands are looked for: all of them, or the outer.

+----------------------------+
| strip                      |   Microscope software prints near the border. Of a page that is
+----------------------------+   too large to be held, a strip at the top and one at the bottom
|                            |   are searched. What a strip's inner edge may cut is not judged:
+----------------------------+   it is not found, and what is found is what a search of the
| strip                      |   whole page finds.
+----------------------------+
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hptl_deploy.tiling import Region

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EVERY = 4
"""Every fourth row and column of a page is looked at where a colour's share is wanted."""
SEARCH_BYTES = 8
"""Per pixel of the strips, at most: their pixels (3), and what is compared of one of them."""
_DEEPEST = 4
"""A strip is a quarter of the page's height at most: bars that stand in the middle are none."""
_ROWS = 64 * EVERY
"""Rows of a page that are looked at together."""


@dataclass(frozen=True)
class Strip:
    """Full-width rows of a page."""

    pixels: NDArray[np.uint8]
    """[rows, W, 3], RGB."""
    top: int
    """The page's row that is the strip's first."""
    page_height: int
    """px."""

    @property
    def page(self) -> Region:
        """All of the page in the strip's coordinates, which those of what lies in it are."""
        return Region(-self.top, self.page_height - self.top, 0, self.pixels.shape[1])

    def on_page(self, region: Region) -> Region:
        """`region` in the page's coordinates."""
        return region.relative_to(Region(-self.top, 0, 0, 0))

    def holds(self, region: Region, rows: int) -> bool:
        """Whether the strip has `region` with so many `rows` above and below, or the page has not.

        Where it has not, the region may go on, or be another thing, beyond the inner edge.
        """
        page = self.page
        above, below = max(page.y0, region.y0 - rows), min(page.y1, region.y1 + rows)
        return above >= 0 and below <= len(self.pixels)


def strip_rows(height: int, width: int, most: int) -> int:
    """Rows of a page of `height` x `width` px that a strip has; all where they are `most` px.

    Else both strips together have `most` px, and each at most a quarter of the rows.
    """
    if height * width <= most:
        return height
    return max(1, min(height // _DEEPEST, most // 2 // width))


def search_bytes(height: int, width: int, most: int) -> int:
    """Memory that searching such a page takes at most."""
    return min(height, 2 * strip_rows(height, width, most)) * width * SEARCH_BYTES


def strips_of(
    read: Callable[[int, int], NDArray[np.uint8]], height: int, rows: int
) -> tuple[Strip, ...]:
    """The strips of `rows` rows, from top to bottom; `read(y0, y1)` gives rows of the page."""
    tops = (0, height - rows) if rows < height else (0,)
    return tuple(Strip(read(top, top + rows), top, height) for top in tops)


def looked_at(
    read: Callable[[int, int], NDArray[np.uint8]], height: int
) -> Iterator[NDArray[np.uint8]]:
    """Every fourth row and column of the page in pieces, uint8 [rows, columns, 3]."""
    for top in range(0, height, _ROWS):
        yield read(top, min(top + _ROWS, height))[::EVERY, ::EVERY]


def looked_at_in(strip: Strip, region: Region) -> NDArray[np.uint8]:
    """What `looked_at` gives of `region`, which is in the strip's coordinates."""
    top = region.y0 + -(strip.top + region.y0) % EVERY
    left = region.x0 + -region.x0 % EVERY
    return strip.pixels[top : region.y1 : EVERY, left : region.x1 : EVERY]
