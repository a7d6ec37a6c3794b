"""The map of a Nikon ND2 file: where its chunks lie, checked before a library believes them.

    signature | chunk | chunk | ... | map of the chunks | signature, position of the map

Every chunk begins with a magic number, the length of its name (4 bytes each) and of its data (8
bytes). The map lists every chunk's name (it ends in "!"), position and size. A picture's data are
its time stamp (8 bytes), then its rows.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs.sniff import file_size

_MAGIC = 0x0ABECEDA
_HEAD = struct.Struct("<IIQ")
_TAIL = struct.Struct("<32sQ")
_ENTRY = struct.Struct("<QQ")
_MAP_NAME = b"ND2 FILEMAP SIGNATURE NAME 0001!"
_MAP_SIGNATURE = b"ND2 CHUNK MAP SIGNATURE 0000001!"
_PICTURE = re.compile(rb"ImageDataSeq\|(\d{1,9})!")
_TIME_STAMP = 8
_LARGEST_NAME = 2**16
_LARGEST_TEXT = 4 * 2**20
"""Bytes of the metadata that are read: files have some ten thousand."""
_COMPRESSED = re.compile(rb"(?=L.{11}([\x08-\x78].))", re.DOTALL)
"""Where compressed metadata may begin: a letter, 11 bytes, the two of a zlib stream."""


@dataclass(frozen=True)
class Chunk:
    """Where the data of a chunk lie, in bytes."""

    position: int
    size: int


def read_map(handle: BinaryIO) -> dict[bytes, int]:
    """The position of every chunk by its name.

    Raises MicrographError where the file contradicts itself.
    """
    size = file_size(handle)
    handle.seek(max(0, size - _TAIL.size))
    tail = handle.read(_TAIL.size)
    if len(tail) < _TAIL.size or not tail.startswith(_MAP_SIGNATURE):
        raise MicrographError(
            "is cut short or unfinished: the list of its parts is not at its end; copy it again"
        )
    place = chunk_at(handle, _TAIL.unpack(tail)[1], _MAP_NAME)
    handle.seek(place.position)
    content = handle.read(place.size)
    positions: dict[bytes, int] = {}
    at = 0
    while not content.startswith(_MAP_SIGNATURE, at):
        end = content.find(b"!", at) + 1
        if end == 0 or end + _ENTRY.size > len(content):
            raise _damaged("the list of its parts does not end")
        positions[content[at:end]] = _ENTRY.unpack_from(content, end)[0]
        at = end + _ENTRY.size
    return positions


def chunk_at(handle: BinaryIO, position: int, name: bytes) -> Chunk:
    """The data of the chunk that begins there.

    Raises MicrographError unless it has that name and lies in the file.
    """
    size = file_size(handle)
    if position + _HEAD.size > size:
        raise MicrographError(
            f"is cut short: a part of it begins at byte {position}, the file has {size}; "
            "copy it again"
        )
    handle.seek(position)
    magic, name_length, length = _HEAD.unpack(handle.read(_HEAD.size))
    if magic != _MAGIC or not handle.read(min(name_length, _LARGEST_NAME)).startswith(name):
        raise _damaged(f"at byte {position} is no {name.decode('latin-1')[:40]!r}")
    start = position + _HEAD.size + name_length
    if start + length > size:
        raise MicrographError(
            f"is cut short: a part of it ends at byte {start + length}, the file has {size}; "
            "copy it again"
        )
    return Chunk(start, length)


def pictures(handle: BinaryIO, positions: dict[bytes, int]) -> list[Chunk]:
    """The pictures in their order, without the time stamps."""
    found: dict[int, Chunk] = {}
    for name, position in positions.items():
        match = _PICTURE.fullmatch(name)
        if match:
            chunk = chunk_at(handle, position, name)
            if chunk.size <= _TIME_STAMP:
                raise _damaged("a picture of it has no pixels")
            found[int(match[1])] = Chunk(chunk.position + _TIME_STAMP, chunk.size - _TIME_STAMP)
    return [found[number] for number in sorted(found)]


def check_text(handle: BinaryIO, position: int, name: bytes) -> None:
    """Raise MicrographError unless a chunk of metadata can be unpacked without harm."""
    chunk = chunk_at(handle, position, name)
    if chunk.size > _LARGEST_TEXT:
        raise _damaged(f"its metadata have {chunk.size} bytes")
    handle.seek(chunk.position)
    waiting, unpacked = [handle.read(chunk.size)], 0
    while waiting:
        content = waiting.pop()
        for text in ("<!DOCTYPE", "<!ENTITY"):  # entities can expand without end
            if text.encode() in content or text.encode("utf-16-le") in content:
                raise _damaged("its metadata define entities")
        for match in _COMPRESSED.finditer(content):
            if int.from_bytes(match[1], "big") % 31:
                continue
            inner = _inflated(content[match.start(1) :], _LARGEST_TEXT - unpacked + 1)
            unpacked += len(inner)
            if unpacked > _LARGEST_TEXT:
                raise _damaged(f"its metadata unpack to more than {_LARGEST_TEXT} bytes")
            if inner:
                waiting.append(inner)


def _inflated(content: bytes, most: int) -> bytes:
    """Up to so many bytes; none where it is no zlib stream after all."""
    try:
        return zlib.decompressobj().decompress(content, most)
    except zlib.error:
        return b""


def _damaged(what: str) -> MicrographError:
    return MicrographError(f"is damaged: {what}; copy it again")
