"""What a JPEG XR stream says of itself, checked before its decoder believes it.

The decoder follows positions that lie outside the stream, and makes room for the size it reads
there: both end the process. So the container's fields and the picture's size are looked at first.
"""

from __future__ import annotations

import struct

from hptl_deploy.errors import MicrographError

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_PIXEL_FORMAT, _WIDTH, _HEIGHT, _OFFSET, _LENGTH = 0xBC01, 0xBC80, 0xBC81, 0xBCC0, 0xBCC1
_FORMAT_BYTES = 16
_SIGNATURE = b"WMPHOTO\0"
_MOST_FIELDS = 64
_DEPTH = {8: 1, 16: 2}
_COLOURS = {1: (0,), 3: (7,)}
"""Samples per pixel: the picture's colour formats, grey and RGB."""
_INTERNAL = {1: (0,), 3: (0, 1, 2, 3)}
"""Likewise as they are coded: grey, or luminance with colour at a quarter, a half, or in full."""
_TILED, _SHORT, _WINDOWED = 0x80, 0x80, 0x20


def check_jpeg_xr(data: bytes, width: int, height: int, colours: int, bits: int) -> None:
    """Raise MicrographError unless `data` is a stream of width x height such pixels.

    A damage further inside goes unseen.
    """
    try:
        found = _sizes(data, colours, bits)
    except (struct.error, LookupError, ValueError) as exc:
        raise MicrographError(
            "is damaged: a tile does not begin as JPEG XR does, or points beyond itself; "
            "copy it again"
        ) from exc
    for own_width, own_height in found:
        if (own_width, own_height) != (width, height):
            raise MicrographError(
                f"is damaged: a tile of {width} x {height} pixels says of itself that it has "
                f"{own_width} x {own_height}; copy it again"
            )


def _sizes(data: bytes, colours: int, bits: int) -> list[tuple[int, int]]:
    """(Width, height) as the container and as the picture in it state them."""
    fields = _fields(data)
    offset = fields[_OFFSET]
    if offset + fields.get(_LENGTH, 0) > len(data):
        raise ValueError("beyond the stream")
    if data[offset : offset + len(_SIGNATURE)] != _SIGNATURE:
        raise ValueError("no signature")
    short = data[offset + 10] & _SHORT
    kind = data[offset + 11]
    if kind >> 4 not in _COLOURS[colours] or kind & 15 != _DEPTH[bits]:
        raise ValueError("other samples")
    if not (data[offset + 9] & _TILED or data[offset + 10] & _WINDOWED):
        coded = data[offset + (16 if short else 20)] >> 5
        if coded not in _INTERNAL[colours]:
            raise ValueError("other coding")
    right, bottom = struct.unpack_from(">HH" if short else ">II", data, offset + 12)
    return [(fields[_WIDTH], fields[_HEIGHT]), (right + 1, bottom + 1)]


def _fields(data: bytes) -> dict[int, int]:
    """The fields of the container, each a number or a position that lies in `data`."""
    (start,) = struct.unpack_from("<4xI", data)
    (count,) = struct.unpack_from("<H", data, start)
    if data[:3] != b"II\xbc" or not 0 < count <= _MOST_FIELDS:
        raise ValueError("no container")
    fields: dict[int, int] = {}
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, number, value = struct.unpack_from("<HHII", data, at)
        size = _TYPE_BYTES[kind] * number
        if (size > 4 and value + size > len(data)) or (tag in fields):
            raise ValueError("beyond the stream, or twice")
        if tag == _PIXEL_FORMAT and size != _FORMAT_BYTES:
            raise ValueError("no pixel format")
        fields[tag] = value & 0xFFFF if kind == 3 else value
    return fields
