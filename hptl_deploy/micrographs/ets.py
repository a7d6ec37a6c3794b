"""An ETS file: the tiles of one picture of an Olympus VSI, found by a directory that is checked.

    SIS head (64 bytes) | ETS head | tile | tile | ... | directory
         |__________________^_____________________________^

An entry of the directory is a tile's place (column and row of tiles, further numbers, level of the
pyramid), where its bytes begin and how many they are. Everything is little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import limits
from hptl_deploy.micrographs.sniff import file_size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SIS = struct.Struct("<4sIIIQIIQI")
_ETS = struct.Struct("<4s9I")
_ORDER_AT, _ORIGIN_AT, _ETS_LEAST = 148, 172, 180
_BITS = {2: 8, 4: 16}
RAW, JPEG, JPEG_2000 = 0, 2, 3
RATIO = {RAW: 1.0, JPEG: 4096.0, JPEG_2000: 2.0**20}
"""The compressions that are read: how many bytes one byte can become."""
_OTHERS = {5: "lossless JPEG", 8: "PNG", 9: "BMP"}
_GREY, _COLOURS = (0, 1), (3, 4)
"""Colour spaces: none stated, grey; red to blue, blue to red."""
_BLUE_FIRST = 4
_MOST_NUMBERS = 16
_LARGEST_TILE = 2**15
HINT = "Export it as TIFF from cellSens"


@dataclass(frozen=True)
class Ets:
    """What the file says of its tiles."""

    tile_width: int
    tile_height: int
    bits: int
    """8 or 16 of a sample, as stored."""
    colours: int
    """1 (grey) or 3."""
    blue_first: bool
    """Of uncompressed tiles: blue, green, red."""
    compression: int
    origin: tuple[int, int]
    """Of the first tile, (x, y) in pixels of the picture."""
    places: NDArray[np.int32]
    """[tiles, numbers]: of each tile of full resolution, column, row and further numbers."""
    positions: NDArray[np.uint64]
    """[tiles]: where its bytes begin."""
    sizes: NDArray[np.uint32]
    """[tiles]: how many they are."""

    @property
    def tile_bytes(self) -> int:
        """Of a tile's pixels."""
        return self.tile_width * self.tile_height * self.colours * self.bits // 8


def read_ets(handle: BinaryIO) -> Ets:
    """The head and the directory.

    Raises MicrographError where the file contradicts itself or is of a kind that is not read.
    """
    size = file_size(handle)
    head = _part(handle, 0, _SIS.size, size)
    magic, _, _, numbers, extra, extra_bytes, _, directory, tiles = _SIS.unpack(head)
    if magic != b"SIS\0" or not 3 <= numbers <= _MOST_NUMBERS:
        raise _damaged("does not begin as its kind does")
    if extra_bytes < _ETS_LEAST:
        raise _damaged(f"has a head of {extra_bytes} bytes")
    second = _part(handle, extra, _ETS_LEAST, size)
    magic, _, kind, colours, space, compression, _, width, height, deep = _ETS.unpack_from(second)
    if magic != b"ETS\0":
        raise _damaged("does not begin as its kind does")
    _check_kind(kind, colours, space, compression)
    if not (0 < width <= _LARGEST_TILE and 0 < height <= _LARGEST_TILE and deep == 1):
        raise _damaged(f"has tiles of {width} x {height} x {deep} pixels")
    (order,) = struct.unpack_from("<I", second, _ORDER_AT)
    entries = _directory(handle, directory, tiles, numbers, size)
    return Ets(
        tile_width=width,
        tile_height=height,
        bits=_BITS[kind],
        colours=colours,
        blue_first=space == _BLUE_FIRST or order == 1,
        compression=compression,
        origin=struct.unpack_from("<ii", second, _ORIGIN_AT),
        places=entries["place"][:, :-1],
        positions=entries["position"],
        sizes=entries["size"],
    )


def _check_kind(kind: int, colours: int, space: int, compression: int) -> None:
    if kind not in _BITS:
        raise MicrographError(
            f"holds samples of kind {kind}; expected 8 or 16 bit unsigned integers", hint=HINT
        )
    if not ((colours == 1 and space in _GREY) or (colours == 3 and space in (0, *_COLOURS))):
        raise MicrographError(
            f"holds pixels of {colours} samples in the colour space {space}; expected grey, or "
            "red, green and blue",
            hint=HINT,
        )
    if compression not in RATIO or (compression == JPEG and _BITS[kind] != 8):
        name = _OTHERS.get(compression, f"VSI compression {compression}")
        raise MicrographError(f"is compressed in a way that is not known here ({name})", hint=HINT)


def _directory(
    handle: BinaryIO, position: int, tiles: int, numbers: int, size: int
) -> NDArray[np.void]:
    """The entries of full resolution."""
    import numpy as np

    entry = np.dtype(
        [
            ("unused", "<u4"),
            ("place", "<i4", (numbers,)),
            ("position", "<u8"),
            ("size", "<u4"),
            ("unused_too", "<u4"),
        ]
    )
    content = _part(handle, position, tiles * entry.itemsize, size)
    entries = np.frombuffer(content, entry)
    ends = entries["position"] + entries["size"]
    if tiles and (int(ends.max()) > size or bool((ends < entries["position"]).any())):
        raise MicrographError(
            f"is cut short: a tile ends at byte {int(ends.max())}, its file of pixels has {size}; "
            "copy it again"
        )
    stored = int(entries["size"].sum(dtype=np.uint64))
    if stored > size:
        raise _damaged(f"has {tiles} tiles of {stored} bytes together, and itself {size}")
    found: NDArray[np.void] = entries[entries["place"][:, -1] == 0]
    if not len(found):
        raise _damaged("has no tile of full resolution")
    if int(found["place"].min()) < 0:
        raise _damaged("has a tile at a negative place")
    return found


def check_tile_size(ets: Ets, stored: int) -> None:
    """Raise MicrographError for a tile of so few bytes that its pixels cannot be in them."""
    limits.check_declared(
        ets.tile_width, ets.tile_height, ets.tile_bytes, stored, RATIO[ets.compression]
    )


def _part(handle: BinaryIO, position: int, length: int, size: int) -> bytes:
    if position + length > size:
        raise MicrographError(
            f"is cut short: a part of its file of pixels ends at byte {position + length}, the "
            f"file has {size}; copy it again"
        )
    handle.seek(position)
    return handle.read(length)


def _damaged(what: str) -> MicrographError:
    return MicrographError(f"is damaged: its file of pixels {what}; copy it again")
