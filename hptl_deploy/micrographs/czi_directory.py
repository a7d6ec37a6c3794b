"""The directory of a Zeiss CZI file: where its tiles lie, checked before a library believes them.

    file header | tile | tile | ... | metadata | directory
         |____________________________^__________^            positions in bytes
                   ^____^___________________________|         one entry a tile

Every segment begins with its name (16 bytes), the bytes it takes up and the bytes it uses (8
each). A tile repeats its entry of the directory; the two have to be the same.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import limits
from hptl_deploy.micrographs.jpeg_xr import check_jpeg_xr
from hptl_deploy.micrographs.sniff import file_size

_SEGMENT = 32
_ENTRIES = _SEGMENT + 128
_ENTRY, _DIMENSION = 32, 20
_MOST_DIMENSIONS = 32
_TILE_HEAD = 16
_TILE_LEAST = 256
"""Bytes of a tile's sizes and its entry: more where the entry is longer."""
_XML = _SEGMENT + 256
_FARTHEST = 2**30
"""Pixels from the origin; sums still fit into 32 bits."""
_JPEG_XR = 4
_RATIO = {0: 1.0, _JPEG_XR: 2.0**20, 5: 2.0**15, 6: 2.0**15}
"""Raw, JPEG XR, Zstandard with and without a header: bytes that one byte can become."""


@dataclass(frozen=True)
class PixelType:
    """The samples of a tile."""

    bits: int
    colours: int
    """1 (grey) or 3 (blue, green, red)."""
    name: str

    @property
    def pixel_bytes(self) -> int:
        """Bytes of one pixel."""
        return self.bits // 8 * self.colours


PIXEL_TYPES = {
    0: PixelType(8, 1, "Gray8"),
    1: PixelType(16, 1, "Gray16"),
    3: PixelType(8, 3, "Bgr24"),
    4: PixelType(16, 3, "Bgr48"),
}
_OTHER_TYPES = {2: "Gray32Float", 8: "Bgr96Float", 9: "Bgra32", 10: "Gray64ComplexFloat"}


@dataclass(frozen=True)
class Tile:
    """One picture as the camera took it, in the coordinates of the file."""

    x: int
    y: int
    width: int
    height: int
    plane: dict[str, int]
    """Of every other dimension (S, T, Z, C, ...): the index."""
    pixel_type: PixelType
    compression: int
    position: int
    """Of its segment, bytes."""
    entry: bytes

    @property
    def decoded_bytes(self) -> int:
        """Of its pixels."""
        return self.width * self.height * self.pixel_type.pixel_bytes


def read_directory(handle: BinaryIO) -> tuple[list[Tile], bytes]:
    """(Tiles of full resolution in the order of the file, metadata as XML).

    Raises MicrographError where the file contradicts itself or is of a kind that is not read.
    """
    handle.seek(0)
    head = handle.read(_SEGMENT + 68)
    if len(head) < _SEGMENT + 68:
        raise MicrographError("is cut short within its header; copy it again")
    part, directory, metadata = struct.unpack_from("<iqq", head, _SEGMENT + 48)
    if part != 0:
        raise MicrographError(
            "is one part of a CZI that is spread over several files",
            hint="Save it as one file in ZEN",
        )
    return _tiles(handle, directory), _metadata(handle, metadata)


def check_tile(handle: BinaryIO, tile: Tile) -> None:
    """Raise MicrographError unless the tile's own segment says what the directory says."""
    used = _segment(handle, tile.position, b"ZISRAWSUBBLOCK")
    head = handle.read(_TILE_HEAD + len(tile.entry))
    if len(head) < _TILE_HEAD + len(tile.entry) or head[_TILE_HEAD:] != tile.entry:
        raise _damaged("a tile and its entry of the directory contradict each other")
    metadata, attachment, data = struct.unpack_from("<iiq", head)
    if min(metadata, attachment, data) < 0:
        raise _damaged("a tile is of negative size")
    if max(_TILE_LEAST, len(head)) + metadata + data > used:
        raise _damaged("a tile is larger than the room it takes up")
    limits.check_declared(
        tile.width, tile.height, tile.decoded_bytes, data, _RATIO[tile.compression]
    )
    if tile.compression == _JPEG_XR:
        handle.seek(tile.position + _SEGMENT + max(_TILE_LEAST, len(head)) + metadata)
        kind = tile.pixel_type
        check_jpeg_xr(handle.read(data), tile.width, tile.height, kind.colours, kind.bits)


def _tiles(handle: BinaryIO, position: int) -> list[Tile]:
    used = _segment(handle, position, b"ZISRAWDIRECTORY")
    segment = handle.read(used)
    if len(segment) < _ENTRIES - _SEGMENT:
        raise _damaged("its directory is too short")
    count = int.from_bytes(segment[:4], "little", signed=True)
    at = _ENTRIES - _SEGMENT
    if not 0 < count <= (len(segment) - at) // _ENTRY:
        raise _damaged(f"its directory of {len(segment)} bytes lists {count} tiles")
    size, tiles = file_size(handle), []
    for _ in range(count):
        length = _entry_length(segment, at)
        tile = _tile(segment[at : at + length], size)
        at += length
        if tile is not None:
            tiles.append(tile)
    if not tiles:
        raise MicrographError("holds no picture of full resolution; export it again from ZEN")
    return tiles


def _entry_length(segment: bytes, at: int) -> int:
    if segment[at : at + 2] != b"DV" or len(segment) < at + _ENTRY:
        raise _damaged("an entry of its directory is of an unknown kind")
    dimensions = int.from_bytes(segment[at + 28 : at + 32], "little", signed=True)
    length = _ENTRY + dimensions * _DIMENSION
    if not 2 <= dimensions <= _MOST_DIMENSIONS or at + length > len(segment):
        raise _damaged(f"an entry of its directory has {dimensions} dimensions")
    return length


def _tile(entry: bytes, file_bytes: int) -> Tile | None:
    """None for a tile of the pyramid."""
    kind, position, part, compression = struct.unpack_from("<iqii", entry, 2)
    spans: dict[str, tuple[int, int, int]] = {}
    for name, start, size, _, stored in struct.iter_unpack("<4siifi", entry[_ENTRY:]):
        spans[name.rstrip(b"\0").decode("ascii", "replace")] = start, size, stored or size
    if len(spans) * _DIMENSION != len(entry) - _ENTRY or not spans.keys() >= {"X", "Y"}:
        raise _damaged("a tile has no place or two of them")
    (x, width, stored_width), (y, height, stored_height) = spans.pop("X"), spans.pop("Y")
    if (stored_width, stored_height) != (width, height):
        return None
    limits.check_size(width, height)
    if max(abs(x), abs(y), width, height) > _FARTHEST:
        raise _damaged(f"a tile of {width} x {height} pixels lies at ({x}, {y})")
    if kind not in PIXEL_TYPES:
        raise MicrographError(
            f"holds {_OTHER_TYPES.get(kind, f'samples of kind {kind}')}; expected 8 or 16 bit "
            "unsigned integers",
            hint="Convert it to 16 bit in ZEN",
        )
    if compression not in _RATIO:
        raise MicrographError(
            f"is compressed in a way that is not known here (CZI compression {compression})",
            hint="Save it uncompressed or with Zstandard in ZEN",
        )
    if part != 0:
        raise _damaged("a tile lies in another file")
    plane = {axis: start for axis, (start, _, _) in spans.items() if axis != "M"}
    tile = Tile(
        x, y, width, height, plane, PIXEL_TYPES[kind], compression, position, bytes(entry)
    )  # fmt: skip
    limits.check_declared(width, height, tile.decoded_bytes, file_bytes, _RATIO[compression])
    return tile


def _metadata(handle: BinaryIO, position: int) -> bytes:
    if position == 0:
        return b""
    used = _segment(handle, position, b"ZISRAWMETADATA")
    length = int.from_bytes(handle.read(4), "little", signed=True)
    if not 0 <= length <= used - (_XML - _SEGMENT):
        raise _damaged(f"its metadata of {used} bytes are said to have {length}")
    handle.seek(position + _XML)
    return handle.read(length)


def _segment(handle: BinaryIO, position: int, name: bytes) -> int:
    """Bytes in use behind the head of a segment, where the handle is left."""
    size = file_size(handle)
    if not _SEGMENT <= position <= size - _SEGMENT:
        raise MicrographError(
            f"is cut short or unfinished: a part of it begins at byte {position}, the file has "
            f"{size}; copy it again"
        )
    handle.seek(position)
    found, allocated, used = struct.unpack("<16sqq", handle.read(_SEGMENT))
    if found.rstrip(b"\0") != name:
        raise _damaged(f"at byte {position} is no {name.decode()}")
    used = used or allocated
    if not 0 <= used <= allocated:
        raise _damaged(f"a part of {allocated} bytes uses {used}")
    if position + _SEGMENT + used > size:
        raise MicrographError(
            f"is cut short: a part of it ends at byte {position + _SEGMENT + used}, the file has "
            f"{size}; copy it again"
        )
    return int(used)


def _damaged(what: str) -> MicrographError:
    return MicrographError(f"is damaged: {what}; copy it again")
