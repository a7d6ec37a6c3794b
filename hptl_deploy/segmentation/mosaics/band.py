"""One band of a mosaic's map as bytes that check themselves, to outlast a kill.

    HPTLBAND | header length | its checksum | header | tiles | level 1 | level 2 | ...

The full level is there as the compressed tiles of the final TIFF, which are copied and not
decoded again; of level k there is every 2^k-th row and column, compressed as one piece. The
header (JSON) says which band of which map this is, and length and checksum of each part, so
that a part is read and checked without the others. The same rows give the same bytes.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from hptl_deploy.errors import ResultsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TILE = 256
"""Side of the TIFF's tiles, px."""
LEVEL = 6
"""Of deflate, as in `classmap`."""
DEFLATE = 8
"""TIFF's number for it."""

_MOST_LEVELS = 8  # 2^8 = TILE: every band then begins on every level's grid
_SMALL_ENOUGH = 1024
_MAGIC = b"HPTLBAND"
_PREFIX = struct.Struct("<8sII")
_LONGEST_HEADER = 2**26

BandSource = Path | Callable[[], bytes]
"""Where an encoded band is: a file, or what gives its bytes when it is called."""


@dataclass(frozen=True)
class BandedMap:
    """A map of `height` x `width` px, uint8, that is made in bands of `band_rows` rows."""

    height: int
    width: int
    band_rows: int
    """Rows of every band but the last, which may be shorter; a multiple of TILE."""

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1 or self.band_rows < 1 or self.band_rows % TILE:
            raise ValueError(
                f"a map of {self.width} x {self.height} px in bands of {self.band_rows} rows; "
                f"expected positive sides and a multiple of {TILE} rows"
            )

    @property
    def bands(self) -> int:
        """How many there are."""
        return -(-self.height // self.band_rows)

    @property
    def levels(self) -> int:
        """Reduced levels: each half of the one before, until both sides are 1024 px at most."""
        side = max(self.height, self.width)
        return min(_MOST_LEVELS, max(0, (-(-side // _SMALL_ENOUGH) - 1).bit_length()))

    def rows(self, number: int) -> tuple[int, int]:
        """First row of band `number` (from 0), and the row behind its last."""
        top = number * self.band_rows
        return top, min(top + self.band_rows, self.height)

    def shape(self, level: int, number: int | None = None) -> tuple[int, int]:
        """(rows, columns) of a level (0 is the full one), or of band `number` in it."""
        top, bottom = (0, self.height) if number is None else self.rows(number)
        return -(-(bottom - top) // 2**level), -(-self.width // 2**level)


BandedRows = tuple[BandedMap, Callable[[int], Iterable["NDArray[np.uint8]"]]]
"""A map, and what gives the rows of one of its levels (0 is the full one), from top to bottom in
pieces uint8 [rows, columns] of any height."""


def encode_band(banded: BandedMap, number: int, rows: NDArray[np.uint8]) -> bytes:
    """Band `number` (from 0) with its `rows`, uint8 [band's rows, W], as bytes.

    Raises ValueError for rows of another shape or type.
    """
    shape = banded.shape(0, number)
    if rows.shape != shape or rows.dtype != "uint8":
        raise ValueError(
            f"band {number} is {rows.dtype} {list(rows.shape)}; expected uint8 {list(shape)}"
        )
    tiles = list(encode_tiles(rows))
    reduced = [rows[:: 2**level, :: 2**level] for level in range(1, banded.levels + 1)]
    parts = [b"".join(tiles), *(_compress(level) for level in reduced)]
    header = {
        "map": asdict(banded),
        "number": number,
        "tiles": [len(tile) for tile in tiles],
        "parts": [[len(part), zlib.crc32(part)] for part in parts],
    }
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    return b"".join([_PREFIX.pack(_MAGIC, len(text), zlib.crc32(text)), text, *parts])


def encode_tiles(rows: NDArray[np.uint8]) -> Iterator[bytes]:
    """The compressed tiles of `rows`, uint8 [H, W], row by row; border tiles are filled with 0."""
    import numpy as np

    height, width = rows.shape
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            tile = rows[top : top + TILE, left : left + TILE]
            if tile.shape != (TILE, TILE):
                tile = np.pad(tile, [(0, TILE - side) for side in tile.shape])
            yield _compress(tile)


def check_band(banded: BandedMap, number: int, source: BandSource) -> None:
    """Raise ResultsError unless `source` holds band `number` of this map, undamaged."""
    with _Opened(banded, number, source) as opened:
        for index in range(banded.levels + 1):
            opened.part(index)


def read_tiles(banded: BandedMap, number: int, source: BandSource) -> list[bytes]:
    """The full level's tiles of band `number`, as they go into the TIFF.

    Raises ResultsError for a band that is damaged or another's, OSError as the system does.
    """
    with _Opened(banded, number, source) as opened:
        part, at, tiles = opened.part(0), 0, []
        for length in opened.tiles:
            tiles.append(part[at : at + length])
            at += length
        return tiles


def read_rows(banded: BandedMap, number: int, source: BandSource, level: int) -> NDArray[np.uint8]:
    """Rows of band `number` in `level`, uint8 [rows, columns]; 0 is the full level.

    Raises ResultsError for a band that is damaged or another's, OSError as the system does.
    """
    import numpy as np

    shape = banded.shape(level, number)
    if level:
        with _Opened(banded, number, source) as opened:
            return _decompress(opened.part(level), shape)
    rows = np.empty(shape, np.uint8)
    across = -(-banded.width // TILE)
    for index, tile in enumerate(read_tiles(banded, number, source)):
        top, left = index // across * TILE, index % across * TILE
        target = rows[top : top + TILE, left : left + TILE]
        pixels = _decompress(tile, (TILE, TILE))
        target[...] = pixels[: target.shape[0], : target.shape[1]]
    return rows


class _Opened:
    """An encoded band with its header read and checked."""

    def __init__(self, banded: BandedMap, number: int, source: BandSource) -> None:
        self._name = f"band {number + 1} of {banded.bands}"
        if isinstance(source, Path):
            self._name += f" ({source})"
        self._file: BinaryIO = (
            source.open("rb") if isinstance(source, Path) else io.BytesIO(source())
        )
        try:
            self._start, header = self._header()
            if header["map"] != asdict(banded) or header["number"] != number:
                raise ResultsError(
                    f"{self._name}: is of another map or place (band {header['number'] + 1} of "
                    f"{header['map']}); delete it and run again"
                )
        except BaseException:
            self._file.close()
            raise
        self.tiles: Sequence[int] = header["tiles"]
        self._parts: Sequence[tuple[int, int]] = header["parts"]

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def part(self, index: int) -> bytes:
        """Part `index`, checked: 0 the tiles, k the level k."""
        length, checksum = self._parts[index]
        self._file.seek(self._start + sum(size for size, _ in self._parts[:index]))
        return self._checked(length, checksum)

    def _header(self) -> tuple[int, dict[str, Any]]:
        prefix = self._file.read(_PREFIX.size)
        if len(prefix) < _PREFIX.size:
            raise self._damaged()
        magic, length, checksum = _PREFIX.unpack(prefix)
        if magic != _MAGIC or length > _LONGEST_HEADER:
            raise self._damaged()
        header: dict[str, Any] = json.loads(self._checked(length, checksum))
        return _PREFIX.size + length, header

    def _checked(self, length: int, checksum: int) -> bytes:
        content = self._file.read(length)
        if len(content) != length or zlib.crc32(content) != checksum:
            raise self._damaged()
        return content

    def _damaged(self) -> ResultsError:
        return ResultsError(
            f"{self._name}: is not what was written (cut short or altered); delete it and run again"
        )


def _compress(rows: NDArray[np.uint8]) -> bytes:
    """As tifffile compresses a tile."""
    import numpy as np
    from tifffile import TIFF

    return bytes(TIFF.COMPRESSORS[DEFLATE](np.ascontiguousarray(rows), level=LEVEL))


def _decompress(data: bytes, shape: tuple[int, int]) -> NDArray[np.uint8]:
    import numpy as np
    from tifffile import TIFF

    content = TIFF.DECOMPRESSORS[DEFLATE](data, out=shape[0] * shape[1])
    return np.frombuffer(content, np.uint8).reshape(shape).copy()
