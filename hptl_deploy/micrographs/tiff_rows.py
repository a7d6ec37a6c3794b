"""Rows of an uncompressed strip, found by arithmetic: a strip of any height is read by parts.

    byte of row r  =  where the strip begins  +  (r - the strip's first row) x bytes per row

Programs write a whole mosaic as one uncompressed strip of gigabytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy.micrographs.tiff_samples import segment_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tifffile import TiffPage

_READ_BYTES = 2 * 2**20
"""Of a strip at once, about: a read of the system's costs little from there on."""
_UNCOMPRESSED, _NO_PREDICTOR, _SEPARATE = 1, 1, 2


def row_bytes(page: TiffPage) -> int | None:
    """Bytes of one row of a strip; None where rows cannot be found by arithmetic.

    Those are tiles, compressed strips, and samples of other than 8 or 16 bits.
    """
    plain = (
        not page.is_tiled
        and int(page.compression) == _UNCOMPRESSED
        and int(page.predictor) == _NO_PREDICTOR
        and page.bitspersample in {8, 16}
    )
    return int(page.imagewidth) * _samples(page) * int(page.bitspersample) // 8 if plain else None


def piece_shape(page: TiffPage) -> tuple[int, int]:
    """(rows, columns) that are decoded together: a strip or tile, or some rows of a strip."""
    rows, columns = segment_shape(page)
    if page.is_tiled:
        return rows, columns  # a tile is stored whole, even where it reaches beyond the page
    bytes_here = row_bytes(page)
    most = int(page.imagelength) if bytes_here is None else rows_at_once(bytes_here)
    return min(rows, most), columns


def rows_at_once(bytes_per_row: int) -> int:
    """How many rows are read and decoded together."""
    return max(1, _READ_BYTES // bytes_per_row)


def rows_of(page: TiffPage, data: bytes) -> NDArray[Any]:
    """The samples [rows, columns, samples] of whole rows as they lie in the file."""
    if int(page.fillorder) == 2:
        import imagecodecs

        data = bytes(imagecodecs.bitorder_decode(data))
    kind = np.dtype(f"{page.parent.byteorder}u{int(page.bitspersample) // 8}")
    stored = np.frombuffer(data, kind).reshape(-1, int(page.imagewidth), _samples(page))
    return stored.astype(kind.newbyteorder("="), copy=False)


def _samples(page: TiffPage) -> int:
    """Samples that lie side by side."""
    return 1 if int(page.planarconfig) == _SEPARATE else int(page.samplesperpixel)
