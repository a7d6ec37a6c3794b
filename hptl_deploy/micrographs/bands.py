"""A page from top to bottom, by bands of full-width rows: every piece of the file decoded once.

    band 1   |=============|
    band 2              |=============|         consecutive bands overlap
    blocks   |----|----|----|----|----|----     whole rows of strips or tiles
                        kept behind band 1: what lies in its last `overlap` rows

A page of a format that cannot be decoded by parts is one block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hptl_deploy.closing import Closes
from hptl_deploy.tiling import Region

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RGB_BYTES = 3
_LEAST_ROWS = 64
"""Of a block: strips are often of one row."""


class DecodesRows(Protocol):
    """A page, as far as bands need to know it."""

    height: int
    width: int

    @property
    def piece_rows(self) -> int:
        """Rows that cannot be decoded but together: of a strip or tile, or of the page."""

    def decoding_bytes(self, rows: int) -> int:
        """Memory at most while `rows` full-width rows are decoded, the result included."""

    def decode_rows(self, y0: int, y1: int) -> NDArray[np.uint8]:
        """Rows y0 to y1, uint8 [y1 - y0, W, 3], from the file; raises MicrographError."""


def block_rows(page: DecodesRows) -> int:
    """Rows of a block: whole pieces, not fewer rows than are worth a call."""
    pieces = -(-_LEAST_ROWS // page.piece_rows)
    return min(page.height, pieces * page.piece_rows)


def band_bytes(page: DecodesRows, rows: int, overlap: int) -> int:
    """Memory at most while bands of up to `rows` rows are read, the band itself included."""
    block = block_rows(page)
    kept = min(-(-page.height // block), -(-overlap // block) + 1) - 1
    band = min(rows, page.height) * page.width * RGB_BYTES
    return band + kept * block * page.width * RGB_BYTES + page.decoding_bytes(block)


class BandReader(Closes):
    """Reads one page band after band; not shared between threads.

    Bands in order, of which each overlaps the one before by `overlap` rows at most, cost
    one decoding of the page. Any other order is read all the same, and costs more.
    """

    def __init__(self, page: DecodesRows, overlap: int) -> None:
        """Raises ValueError for a negative overlap."""
        if overlap < 0:
            raise ValueError(f"an overlap of {overlap} rows; expected 0 or more")
        self._page = page
        self._overlap = overlap
        self._block_rows = block_rows(page)
        self._kept: dict[int, NDArray[np.uint8]] = {}

    def read(self, y0: int, y1: int) -> NDArray[np.uint8]:
        """Rows y0 to y1: uint8 [y1 - y0, W, 3], RGB, as `Page.read`; the caller's own.

        Raises MicrographError when they cannot be decoded, and ValueError for rows that
        leave the page.
        """
        import numpy as np

        page = self._page
        if not 0 <= y0 <= y1 <= page.height:
            raise ValueError(f"rows {y0} to {y1} leave the page of {page.height} rows")
        band = np.empty((y1 - y0, page.width, RGB_BYTES), np.uint8)
        first = y0 // self._block_rows
        self._kept = {number: block for number, block in self._kept.items() if number >= first}
        for number in range(first, -(-y1 // self._block_rows)):
            top = number * self._block_rows
            shared = Region(max(y0, top), min(y1, top + self._block_rows), 0, page.width)
            block = self._block(number)
            band[shared.y0 - y0 : shared.y1 - y0] = block[shared.y0 - top : shared.y1 - top]
            if top + self._block_rows <= y1 - self._overlap:
                del block  # or it would still be there while the next one is decoded
                self._kept.pop(number)
        return band

    def close(self) -> None:
        """Let go of the rows that are kept; the file stays open."""
        self._kept.clear()

    def _block(self, number: int) -> NDArray[np.uint8]:
        if number not in self._kept:
            # After a step back, what lies further down would only add up.
            self._kept = {kept: block for kept, block in self._kept.items() if kept < number}
            top = number * self._block_rows
            bottom = min(top + self._block_rows, self._page.height)
            self._kept[number] = self._page.decode_rows(top, bottom)
        return self._kept[number]
