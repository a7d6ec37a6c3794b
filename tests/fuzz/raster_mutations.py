"""Changes to a PNG's chunks, a JPEG's markers and a BMP's header."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Sequence
from functools import cache

from fuzz.mutations import BLIND, Change, interesting, packed
from fuzz.seeds import chunk

_PNG_HEAD = 8
_PNG_NAMES = (
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"pHYs", b"sBIT", b"gAMA", b"cHRM", b"iCCP",
    b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"bKGD", b"sPLT", b"CgBI",
)  # fmt: skip


def _chunks(content: bytearray) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    at = _PNG_HEAD
    while at + 8 <= len(content) and len(found) < 60:
        length = int.from_bytes(content[at : at + 4], "big")
        found.append((bytes(content[at + 4 : at + 8]), bytes(content[at + 8 : at + 8 + length])))
        at += length + 12
    return found


def _joined(content: bytearray, chunks: Sequence[tuple[bytes, bytes]]) -> bytearray:
    return content[:_PNG_HEAD] + b"".join(chunk(name, body) for name, body in chunks)


def _png_content(content: bytearray, chance: random.Random) -> bytearray:
    """A chunk's content, its checksum right again."""
    chunks = _chunks(content)
    if not chunks:
        return content
    place = chance.randrange(len(chunks))
    name, body = chunks[place]
    changed = chance.choice(BLIND)(bytearray(body or b"\0"), chance)
    chunks[place] = name, bytes(changed)
    return _joined(content, chunks)


def _png_header(content: bytearray, chance: random.Random) -> bytearray:
    chunks = _chunks(content)
    if not chunks or len(chunks[0][1]) < 13:
        return content
    header = bytearray(chunks[0][1])
    for _ in range(chance.choice((1, 1, 2))):
        field = chance.randrange(7)
        if field < 2:
            header[4 * field : 4 * field + 4] = packed(interesting(chance, 53), 4, ">")
        else:
            header[6 + field] = chance.choice((0, 1, 2, 3, 4, 5, 6, 8, 16, 255))
    before = chunks[:1] if chance.random() < 0.2 else []  # then it is the second header
    return _joined(content, [*before, (chunks[0][0], bytes(header)), *chunks[1:]])


def _png_order(content: bytearray, chance: random.Random) -> bytearray:
    """A chunk lost, said twice, elsewhere, renamed, or a new one."""
    chunks = _chunks(content)
    if not chunks:
        return content
    place = chance.randrange(len(chunks))
    match chance.randrange(4):
        case 0:
            del chunks[place]
        case 1:
            chunks.insert(chance.randrange(len(chunks) + 1), chunks[place])
        case 2:
            chunks[place] = chance.choice(_PNG_NAMES), chunks[place][1]
        case _:
            name = chance.choice(_PNG_NAMES)
            bodies = (b"", chance.randbytes(chance.choice((1, 4, 9, 26, 800))), _bomb(name))
            chunks.insert(chance.randrange(1, len(chunks) + 1), (name, chance.choice(bodies)))
    return _joined(content, chunks)


@cache
def _bomb(name: bytes) -> bytes:
    """A text or profile of 64 MiB, packed."""
    before = {b"zTXt": b"a\0\0", b"iCCP": b"a\0\0", b"iTXt": b"a\0\1\0\0\0"}.get(name, b"")
    return before + zlib.compress(bytes(64 << 20))


def _png_length(content: bytearray, chance: random.Random) -> bytearray:
    """A chunk's length, its checksum wrong or that of what it would hold."""
    chunks = _chunks(content)
    if not chunks:
        return content
    place = chance.randrange(len(chunks))
    before = len(_joined(content, chunks[:place]))
    content[before : before + 4] = packed(interesting(chance, len(chunks[place][1])), 4, ">")
    return content


def _png_pixels(content: bytearray, chance: random.Random) -> bytearray:
    """The rows within the packing: filters that do not exist, too few bytes, too many."""
    chunks = _chunks(content)
    packed_rows = b"".join(body for name, body in chunks if name == b"IDAT")
    try:
        rows = bytearray(zlib.decompressobj().decompress(packed_rows, 1 << 20))
    except zlib.error:
        return content
    changed = chance.choice(BLIND)(rows or bytearray(1), chance)
    first = next((n for n, (name, _) in enumerate(chunks) if name == b"IDAT"), len(chunks))
    rest = [part for part in chunks[first:] if part[0] != b"IDAT"]
    return _joined(content, [*chunks[:first], (b"IDAT", zlib.compress(bytes(changed), 1)), *rest])


PNG_CHANGES: Sequence[Change] = (
    _png_content, _png_content, _png_header, _png_order, _png_length, _png_pixels,
)  # fmt: skip


def _markers(content: bytearray) -> list[int]:
    """Where the segments up to the first scan begin."""
    found: list[int] = []
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF and len(found) < 60:
        found.append(at)
        if content[at + 1] == 0xDA:
            break
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return found


def _jpeg_segment(content: bytearray, chance: random.Random) -> bytearray:
    """A marker, a length, or what is in between."""
    found = _markers(content)
    if not found:
        return content
    at = chance.choice(found)
    length = int.from_bytes(content[at + 2 : at + 4], "big")
    match chance.randrange(5):
        case 0:
            content[at + 1] = chance.choice((*range(0xC0, 0xD0), *range(0xD8, 0xF0), 0xFE, 1))
        case 1:
            content[at + 2 : at + 4] = packed(interesting(chance, length), 2, ">")
        case 2:
            del content[at : at + 2 + length]
        case 3:
            other = chance.choice(found)
            content[other:other] = content[at : at + 2 + length]
        case _:
            body = chance.choice(BLIND)(content[at + 4 : at + 2 + length] or bytearray(1), chance)
            kept = (body + bytes(length))[: max(0, length - 2)]
            content[at + 4 : at + 2 + length] = kept
    return content


def _jpeg_frame(content: bytearray, chance: random.Random) -> bytearray:
    """The frame's or a scan's numbers: precision, sides, components, sampling, tables."""
    marks = [at for at in _markers(content) if content[at + 1] in (0xC0, 0xC1, 0xC2, 0xC3, 0xDA)]
    if not marks:
        return content
    at = chance.choice(marks)
    if content[at + 1] != 0xDA and chance.random() < 0.3:
        side = at + 5 + chance.choice((0, 2))
        content[side : side + 2] = packed(interesting(chance, 53), 2, ">")
    else:
        place = at + 4 + chance.randrange(17)
        content[place : place + 1] = bytes([chance.choice((0, 1, 2, 3, 4, 0x11, 0x22, 0x44, 255))])
    return content


def _jpeg_scan(content: bytearray, chance: random.Random) -> bytearray:
    """The coded pixels, or a marker in their midst."""
    start = (_markers(content) or [0])[-1] + 14
    if start >= len(content):
        return content
    place = chance.randrange(start, len(content))
    if chance.random() < 0.5:
        content[place:place] = bytes([0xFF, chance.choice((0xC4, *range(0xD0, 0xDE), 0xFE))])
        return content
    return content[:place] + chance.choice(BLIND)(content[place:], chance)


JPEG_CHANGES: Sequence[Change] = (_jpeg_segment, _jpeg_segment, _jpeg_frame, _jpeg_scan)

_BMP_FIELDS = ((2, 4), (6, 4), (10, 4), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2), (30, 4),
               (34, 4), (38, 4), (46, 4), (54, 4), (58, 4))  # fmt: skip
_BMP_VALUES = (0, 1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 40, 52, 56, 64, 108, 124)


def _bmp_header(content: bytearray, chance: random.Random) -> bytearray:
    for _ in range(chance.choice((1, 1, 2))):
        at, length = chance.choice(_BMP_FIELDS)
        value = chance.choice((chance.choice(_BMP_VALUES), interesting(chance, 8)))
        if chance.random() < 0.1:
            value = -value
        content[at : at + length] = packed(value, length, "<")
    return content


def _bmp_runs(content: bytearray, chance: random.Random) -> bytearray:
    """Two bytes of the pixels: an end, a jump, a long run."""
    (start,) = struct.unpack("<I", content[10:14].ljust(4, b"\0"))
    if not 0 < start < len(content) - 2:
        return content
    place = chance.randrange(start, len(content) - 1)
    content[place : place + 2] = bytes((chance.choice((0, 0, 255)), chance.choice((0, 1, 2, 255))))
    return content


BMP_CHANGES: Sequence[Change] = (_bmp_header, _bmp_header, _bmp_runs)
