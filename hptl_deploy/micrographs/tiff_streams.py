"""What a strip or tile of a TIFF is packed with, and what its stream says of itself.

Some schemes hold a whole picture file in every piece, with a header of its own. Their decoders
believe that header and not the directory: a tile of 16 x 16 pixels whose JPEG says 65 000 x 65 000
would take gigabytes and minutes. So that header is read first, and has to be of the piece's size.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from hptl_deploy.errors import MicrographError

JPEG_SCHEMES = (6, 7, 34892, 33007)
_JPEG_2000 = (33003, 33004, 33005, 34712)
_PNG = 34933
_WEBP = (34927, 50001)

COMPRESSION_RATIO: dict[int, float] = {
    1: 1.0,
    **dict.fromkeys((2, 3, 4), 4096.0),  # fax: a white line is a few bits
    5: 4096.0,  # LZW: a 12-bit code stands for 4096 bytes at most
    **dict.fromkeys(JPEG_SCHEMES, 4096.0),
    **dict.fromkeys((8, 32946, _PNG), 1032.0),  # deflate
    32773: 64.0,  # PackBits
    34925: 2.0**14,  # LZMA: 273 bytes take 14 binary decisions of a fiftieth of a bit
    **dict.fromkeys((34926, 50000), 2.0**15),  # Zstandard: 128 KiB take 4 bytes
    # A blank picture of any size takes some hundred bytes; tiles are no larger than 8192 x 8192.
    **dict.fromkeys((*_JPEG_2000, *_WEBP), 2.0**20),
}
"""The schemes that are read: how many bytes one byte can become.

Left out is what is rare in TIFF and whose decoder takes damaged data ill: JPEG XR prints to the
screen, LERC and JPEG XL take memory as their own headers say, EER and Jetraw are for others.
"""

_SLACK = 64
"""Pixels by which a stream may be larger than its piece, a side: JPEG comes in blocks, and some
programs write the last strip as tall as the others."""
_SMALLEST_TILE = 256
"""Pixels of a tile within a JPEG 2000 stream: each takes kilobytes of bookkeeping."""
_MOST_SAMPLES = 5


@dataclass(frozen=True)
class _Header:
    width: int
    height: int
    samples: int = 1
    tile: int = _SMALLEST_TILE
    """Pixels of one of its own tiles."""


def check_scheme(scheme: int) -> None:
    """Raise MicrographError for a compression that is not read."""
    import tifffile

    hint = "Export it uncompressed or with LZW"
    if scheme not in COMPRESSION_RATIO:
        known = scheme in [int(one) for one in tifffile.COMPRESSION]
        name = f", {tifffile.COMPRESSION(scheme).name}" if known else ""
        raise MicrographError(
            f"is compressed in a way that is not known here (TIFF compression {scheme}{name})",
            hint=hint,
        )
    if scheme != 1 and scheme not in tifffile.TIFF.DECOMPRESSORS:
        raise MicrographError(
            f"is compressed in a way that is not installed here (TIFF compression {scheme})",
            hint=hint,
        )


def check_stream(scheme: int, data: bytes, rows: int, columns: int) -> None:
    """Raise MicrographError unless the stream says that it is of the piece's size, in pixels.

    Schemes whose streams have no header pass.
    """
    if scheme in JPEG_SCHEMES:
        found = _jpeg(data)
    elif scheme in _JPEG_2000:
        found = _jpeg_2000(data)
    elif scheme == _PNG:
        found = _png(data)
    elif scheme in _WEBP:
        found = _webp(data)
    else:
        return
    if found is None:
        raise MicrographError(
            "is damaged: a piece of its pixels does not begin as its compression does; "
            "copy it again"
        )
    if (
        not 0 < found.width <= columns + _SLACK
        or not 0 < found.height <= rows + _SLACK
        or not 0 < found.samples <= _MOST_SAMPLES
        or found.tile < min(_SMALLEST_TILE, found.width * found.height)
    ):
        raise MicrographError(
            f"is damaged: a piece of {columns} x {rows} pixels says of itself that it has "
            f"{found.width} x {found.height}; copy it again"
        )


def _jpeg(data: bytes) -> _Header | None:
    """By the first frame header, found as the JPEG library finds it: what is no marker is skipped.

    Also that of JPEG-LS (F7), which the decoder tries where JPEG fails.
    """
    at = 0
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 9 > len(data):
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in (0, 1) or 0xD0 <= marker <= 0xD9:  # they stand alone
            at += 2
        elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height, width, samples = struct.unpack_from(">HHB", data, at + 5)
            return _Header(width, height, samples)
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _jpeg_2000(data: bytes) -> _Header | None:
    """By SIZ, which begins a bare stream, or the box `jp2c` of a file."""
    at = 0
    while data[at : at + 4] != b"\xff\x4f\xff\x51":
        if at + 16 > len(data):
            return None
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"jp2c":
            at += 16 if length == 1 else 8
            if data[at : at + 4] != b"\xff\x4f\xff\x51":
                return None
            continue
        at += struct.unpack_from(">Q", data, at + 8)[0] if length == 1 else max(length, 8)
    if at + 42 > len(data):
        return None
    right, bottom, left, top, across, down, _, _, samples = struct.unpack_from(">8IH", data, at + 8)
    return _Header(right - left, bottom - top, samples, across * down)


def _png(data: bytes) -> _Header | None:
    if len(data) < 24 or data[12:16] != b"IHDR":
        return None
    return _Header(*struct.unpack_from(">II", data, 16))


def _webp(data: bytes) -> _Header | None:
    """By the first chunk: the canvas (VP8X), a lossless (VP8L) or a lossy picture (VP8)."""
    if len(data) < 30 or data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return None
    if data[12:16] == b"VP8X":
        sides = (int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        return _Header(*(side + 1 for side in sides))
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return _Header((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if data[12:16] == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return _Header(width & 0x3FFF, height & 0x3FFF)
    return None
