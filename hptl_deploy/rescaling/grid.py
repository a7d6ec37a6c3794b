"""Two pixel grids on one micrograph: its own, and the coarser or finer one that the network sees.

    own    |   |   |   |   |   |   |   |   |      `down` of its pixels are as long as
    seen   |     |     |     |     |     |        `up` of the network's; here 3 and 2

There: Pillow's bicubic filter, widened where pixels get larger, so that nothing finer than the
new pixels is left to make patterns. Back: each pixel of the micrograph takes the class in which
its centre lies. That favours no phase, large or small, as a vote of the pixels would: a
particle of less than half a pixel always loses a vote.

Both are exact by parts. The filter looks at a bounded neighbourhood, and a part begins on a whole
row of both grids, so that weights are those of the whole page.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.tiling import Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REACH = 2
"""Of the bicubic filter, in pixels of the coarser grid."""


@dataclass(frozen=True)
class Grid:
    """A micrograph's own pixels, and the ratio of seen pixels to its own along a row or column."""

    height: int
    width: int
    ratio: Fraction

    @property
    def up(self) -> int:
        """Seen pixels that are as long as `down` of the micrograph's."""
        return self.ratio.numerator

    @property
    def down(self) -> int:
        """The micrograph's pixels that are as long as `up` seen ones."""
        return self.ratio.denominator

    @property
    def seen(self) -> tuple[int, int]:
        """(rows, columns) that the network sees: all of the micrograph, its last ones filled up."""
        return self._ceil(self.height), self._ceil(self.width)

    def seen_rows(self, top: int, bottom: int) -> tuple[int, int]:
        """The seen rows, end excluded, in which the centres of own rows `top` to `bottom` lie."""
        return int(self._of_centres(top)), int(self._of_centres(bottom - 1)) + 1

    def own_rows(self, top: int, bottom: int) -> tuple[int, int]:
        """The own rows, end excluded, that `resample` needs for seen rows `top` to `bottom`."""
        first, end = self._read(top, bottom)
        return first, min(end, self.height)

    def resample(
        self, pixels: NDArray[np.uint8], top: int = 0, bottom: int | None = None
    ) -> NDArray[np.uint8]:
        """Seen rows `top` to `bottom`, all by default, of the micrograph's `own_rows` for them.

        uint8 [own rows, W, 3] -> uint8 [bottom - top, seen W, 3]. The same rows come out whatever
        `top` and `bottom` are. Raises ValueError for another shape than that.
        """
        from PIL import Image

        rows, columns = self.seen
        bottom = rows if bottom is None else bottom
        first, end = self.own_rows(top, bottom)
        if pixels.shape != (end - first, self.width, 3):
            raise ValueError(
                f"rows of shape {pixels.shape}; expected {(end - first, self.width, 3)}"
            )
        missing = self._read(top, bottom)[1] - end, -self.width % self.down
        if any(missing):
            pixels = np.pad(pixels, (*((0, length) for length in missing), (0, 0)), mode="edge")
        begin, stop = self._block(top, bottom)
        width = pixels.shape[1] // self.down * self.up
        bicubic = Image.Resampling.BICUBIC
        # Along rows, then along columns: in one call Pillow goes by the picture's shape, and what
        # it rounds in between would differ from part to part.
        picture = Image.fromarray(pixels).resize((width, len(pixels)), bicubic)
        box = (0, self._own(begin) - first, width, self._own(stop) - first)
        picture = picture.resize((width, stop - begin), bicubic, box=box)
        return np.ascontiguousarray(np.asarray(picture)[top - begin : bottom - begin, :columns])

    def bring_back(self, seen: NDArray[np.uint8], top: int, area: Region) -> NDArray[np.uint8]:
        """A map on the micrograph's own grid, uint8 of `area`'s shape.

        `seen` is a map of seen rows from `top` on, uint8 [rows, seen W], with all `seen_rows` of
        `area`.
        """
        rows = self._of_centres(np.arange(area.y0, area.y1)) - top
        columns = self._of_centres(np.arange(area.x0, area.x1))
        return np.take(np.take(seen, rows, axis=0), columns, axis=1)

    def _of_centres(self, own: NDArray[np.int64] | int) -> NDArray[np.int64]:
        """The seen row or column in which the centre of each own one lies."""
        return (2 * np.asarray(own, np.int64) + 1) * self.up // (2 * self.down)

    def _ceil(self, own: int) -> int:
        return -(-own * self.up // self.down)

    def _own(self, seen: int) -> int:
        """Of a multiple of `up`."""
        return seen // self.up * self.down

    def _block(self, top: int, bottom: int) -> tuple[int, int]:
        """The seen rows round these that begin and end on whole rows of both grids."""
        return top // self.up * self.up, -(-bottom // self.up) * self.up

    def _read(self, top: int, bottom: int) -> tuple[int, int]:
        """Own rows for these seen ones; the last may be those that fill the micrograph up."""
        begin, end = self._block(top, bottom)
        # One more, because a filter's ends lie anywhere in a pixel.
        margin = -(-_REACH * max(self.down, self.up) // self.up) + 1
        filled = -(-self.height // self.down) * self.down
        return max(0, self._own(begin) - margin), min(filled, self._own(end) + margin)
