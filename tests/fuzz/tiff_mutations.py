"""Changes to a TIFF's directories: what bytes seldom hit."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fuzz.mutations import BLIND, Change, interesting, packed

_TYPE_BYTES = {
    **{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4},
    **{16: 8, 17: 8, 18: 8},
}
_POINTERS = (330, 34665, 34853, 40965)
_STREAM_OFFSETS, _STREAM_BYTES = (273, 324, 513), (279, 325, 514)

_SMALL: dict[int, Sequence[int]] = {
    254: (0, 1, 2, 4, 5, 7),
    258: (1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 17, 24, 32, 64),
    259: (
        *(1, 2, 3, 4, 5, 6, 7, 8, 9, 99, 22610, 32773, 32946, 33003, 33004, 33005, 33007, 34712),
        *(34887, 34892, 34925, 34926, 34927, 34933, 34934, 48124, 50000, 50001, 50002, 50013),
        *(52546, 65000, 65001, 65002),
    ),
    262: (0, 1, 2, 3, 4, 5, 6, 8, 9, 32803, 34892),
    266: (0, 1, 2, 3),
    277: (0, 1, 2, 3, 4, 5, 6, 64, 65535),
    284: (0, 1, 2, 3),
    317: (0, 1, 2, 3, 4, 34892, 34893, 34894, 34895),
    338: (0, 1, 2, 3),
    339: (0, 1, 2, 3, 4, 5, 6),
    530: (1, 2, 4, 0),
}
"""Values that steer a decoder."""
_CODES = (
    *(254, 255, 256, 257, 258, 259, 262, 266, 270, 273, 277, 278, 279, 281, 282, 284, 292, 296),
    *(305, 317, 320, 322, 323, 324, 325, 330, 338, 339, 340, 347, 512, 513, 514, 519, 530, 532),
    *(28672, 32997, 32998, 33445, 33471, 33560, 33628, 33629, 34016, 34118, 34122, 34361, 34412),
    *(34665, 37706, 37724, 42112, 42113, 50838, 50839, 51023, 65000, 65007, 65421, 65426, 65458),
)

_NUMBERS = (
    *("", "0", "1", "1", "1", "2", "2", "3", "4", "-1", "0.25", "1e-9", "1e999", "nan", "inf"),
    *("9" * 9, "9" * 10, "9" * 20, "9" * 4000, "-" + "9" * 20, "1_0", "0x1", "\u0663", " 2 ", "a"),
    *("2147483647", "4294967296", "100000", "1000"),
)
"""In a text's number's place."""
_DESCRIPTIONS = (
    "ImageJ=#\nimages=#\nchannels=#\nslices=#\nframes=#\nunit=um\nspacing=#\n",
    "ImageJ=1.53\nimages=#\nchannels=3\norder=zct\nhyperstack=true\nunit=\\u00B5m\n",
    '{"shape": [#, #, #]}',
    '{"shape": [#, 37, 53], "axes": "CYX", "a": #}',
    '{"shape": [2, #, 37, 53], "axes": "ZCYX"}',
    '<?xml version="1.0"?><OME xmlns="x"><Image><Pixels DimensionOrder="XYCZT" SizeX="#" SizeY="#"'
    ' SizeC="#" SizeZ="#" SizeT="#" SignificantBits="#" PhysicalSizeX="#" PhysicalSizeXUnit="um">'
    '<Channel SamplesPerPixel="#"/><TiffData IFD="#" FirstC="#" FirstZ="#" PlaneCount="#"/>'
    "</Pixels></Image></OME>",
    '<OME><Image><Pixels DimensionOrder="XYTZC" SizeX="53" SizeY="37" SizeC="3" SizeZ="1" '
    'SizeT="#" PhysicalSizeX="#" PhysicalSizeY="#"><TiffData IFD="#"/><TiffData FirstC="#"/>'
    "</Pixels></Image></OME>",
    "<OME>" * 900 + "</OME>",
)
"""As programs write them; # is a number."""


@dataclass(frozen=True)
class _Entry:
    at: int
    """Byte of the file where it begins."""
    code: int
    kind: int
    count: int
    value_at: int
    """Of its values, in the entry or elsewhere."""


@dataclass(frozen=True)
class _Tiff:
    order: str
    wide: int
    """Bytes of an offset: 4, or 8 in BigTIFF."""
    entries: Sequence[_Entry]
    directories: Sequence[int]
    links: Sequence[int]
    """Where the offsets of the directories are written."""


def _number(content: bytearray, at: int, length: int, order: str) -> int:
    return int.from_bytes(content[at : at + length], "little" if order == "<" else "big")


def _parsed(content: bytearray) -> _Tiff:
    """Whatever can be found of its directories; what is broken is left out."""
    order = ">" if content[:2] == b"MM" else "<"
    wide = 8 if 43 in content[2:4] else 4
    entries: list[_Entry] = []
    directories: list[int] = []
    links = [8 if wide == 8 else 4]
    waiting = list(links)
    while waiting and len(directories) < 30:
        offset = _number(content, waiting.pop(), wide, order)
        if not 0 < offset < len(content) or offset in directories:
            continue
        directories.append(offset)
        found = list(_entries(content, offset, order, wide))
        entries += found
        begin, each = (8, 20) if wide == 8 else (2, 12)
        more = [offset + begin + each * len(found)]
        more += [e.value_at + n * wide for e in found if e.code in _POINTERS
                 for n in range(min(e.count, 9))]  # fmt: skip
        links += more
        waiting += more
    return _Tiff(order, wide, entries, directories, links)


def _entries(content: bytearray, offset: int, order: str, wide: int) -> Iterator[_Entry]:
    begin, each = (8, 20) if wide == 8 else (2, 12)
    for place in range(min(_number(content, offset, begin, order), 60)):
        at = offset + begin + each * place
        if at + each > len(content):
            return
        kind, count = _number(content, at + 2, 2, order), _number(content, at + 4, wide, order)
        value_at = at + 4 + wide
        if count * _TYPE_BYTES.get(kind, 1) > wide:
            value_at = _number(content, value_at, wide, order)
        yield _Entry(at, _number(content, at, 2, order), kind, count, value_at)


def _put(content: bytearray, at: int, number: bytes) -> bytearray:
    if at + len(number) <= len(content):
        content[at : at + len(number)] = number
    return content


def _change_value(content: bytearray, chance: random.Random) -> bytearray:
    """One value of a tag, sometimes several that belong together."""
    tiff = _parsed(content)
    if not tiff.entries:
        return content
    for _ in range(chance.choice((1, 1, 2, 3))):
        entry = chance.choice(tiff.entries)
        length = min(_TYPE_BYTES.get(entry.kind, 1), 8)
        place = entry.value_at + length * chance.randrange(max(1, min(entry.count, 64)))
        near = _number(content, place, length, tiff.order)
        value = interesting(chance, near)
        if entry.code in _SMALL and chance.random() < 0.8:
            value = chance.choice(_SMALL[entry.code])
        content = _put(content, place, packed(value, length, tiff.order))
    return content


def _change_entry(content: bytearray, chance: random.Random) -> bytearray:
    """A tag's code, type, count or offset."""
    tiff = _parsed(content)
    if not tiff.entries:
        return content
    entry, order, wide = chance.choice(tiff.entries), tiff.order, tiff.wide
    match chance.randrange(5):
        case 0:
            at, number = entry.at, packed(chance.choice(_CODES), 2, order)
        case 1:
            at, number = entry.at + 2, packed(chance.randrange(20), 2, order)
        case 2:
            at, number = entry.at + 4, packed(interesting(chance, entry.count), wide, order)
        case 3:
            other = chance.choice(tiff.entries).at
            at, number = entry.at, bytes(content[other : other + 8 + wide + 4])
        case _:
            # Its values lie where another's, a directory, or the tag itself does.
            places = (chance.choice(tiff.entries).value_at, chance.choice(tiff.directories))
            offset = chance.choice((*places, entry.at, interesting(chance, entry.value_at)))
            at, number = entry.at + 4 + wide, packed(offset, wide, order)
    return _put(content, at, number)


def _new_tag(content: bytearray, chance: random.Random) -> bytearray:
    """Another tag in one's place, with a value that decoders know."""
    tiff = _parsed(content)
    if not tiff.entries:
        return content
    entry, code = chance.choice(tiff.entries), chance.choice(tuple(_SMALL))
    value, count = chance.choice(_SMALL[code]), chance.choice((1, 1, 1, 2, 3))
    number = packed(value, 2, tiff.order) * count
    head = packed(code, 2, tiff.order) + packed(3, 2, tiff.order)
    head += packed(count, tiff.wide, tiff.order)
    return _put(content, entry.at, head + number[: tiff.wide].ljust(tiff.wide, b"\0"))


def _change_link(content: bytearray, chance: random.Random) -> bytearray:
    """An offset of a directory: a circle, a shared one, one inside the pixels."""
    tiff = _parsed(content)
    place = chance.choice(tiff.links)
    near = _number(content, place, tiff.wide, tiff.order)
    targets = (*tiff.directories, chance.randrange(len(content)), interesting(chance, near))
    return _put(content, place, packed(chance.choice(targets), tiff.wide, tiff.order))


def _change_size(content: bytearray, chance: random.Random) -> bytearray:
    """Width, height, rows per strip, a tile's sides: any of them, or all to one number."""
    tiff = _parsed(content)
    entries = [e for e in tiff.entries if e.code in (256, 257, 277, 278, 322, 323)]
    value, together = interesting(chance, 53), chance.random() < 0.3
    for entry in entries if together else entries and [chance.choice(entries)]:
        length = min(_TYPE_BYTES.get(entry.kind, 1), 8)
        content = _put(content, entry.value_at, packed(value, length, tiff.order))
    return content


def change_stream(content: bytearray, chance: random.Random) -> bytearray:
    """Bytes of a strip or tile, so that its decoder meets them."""
    tiff = _parsed(content)
    offsets = [e for e in tiff.entries if e.code in _STREAM_OFFSETS]
    lengths = [e for e in tiff.entries if e.code in _STREAM_BYTES]
    if not offsets or not lengths:
        return content
    pair = chance.randrange(min(len(offsets), len(lengths)))
    first, size = (
        _number(content, e.value_at, min(_TYPE_BYTES.get(e.kind, 1), 8), tiff.order)
        for e in (offsets[pair], lengths[pair])
    )
    size = min(size, chance.choice((24, 100, size)), len(content) - first)
    if size < 1:
        return content
    piece = chance.choice(BLIND)(content[first : first + size], chance)
    piece = (piece + content[first + size :])[:size].ljust(size, b"\0")
    return _put(content, first, bytes(piece))


def _change_float(content: bytearray, chance: random.Random) -> bytearray:
    """A resolution of zero, of nothing over nothing, or beyond all bounds."""
    tiff = _parsed(content)
    for entry in tiff.entries:
        if entry.kind in (5, 10):
            pair = (chance.choice((0, 1, 2**31, 2**32 - 1)) for _ in range(2))
            content = _put(content, entry.value_at, struct.pack(tiff.order + "II", *pair))
    return content


def _change_text(content: bytearray, chance: random.Random) -> bytearray:
    """A number or a word of a description, its length kept."""
    found = list(re.finditer(rb"[0-9][0-9.]*|[A-Za-z]{2,}", content))
    if not found:
        return content
    start, end = chance.choice(found).span()
    letters = chance.choice(("9", "0", "0123456789", "-1", "e.+9", " ", "<>&;'\"", "\n", "\0"))
    text = "".join(chance.choice(letters) for _ in range(end - start))
    return _put(content, start, text.encode())


def _new_text(content: bytearray, chance: random.Random) -> bytearray:
    """Another program's description, behind the end of the file, its numbers by chance."""
    tiff = _parsed(content)
    if not tiff.entries:
        return content
    text = re.sub("#", lambda _: chance.choice(_NUMBERS), chance.choice(_DESCRIPTIONS)).encode()
    described = [entry for entry in tiff.entries if entry.code == 270]
    entry = chance.choice(described or tiff.entries)
    head = packed(270, 2, tiff.order) + packed(2, 2, tiff.order)
    head += packed(len(text) + 1, tiff.wide, tiff.order)
    head += packed(len(content), tiff.wide, tiff.order)
    return _put(content, entry.at, head) + text + b"\0" * chance.choice((1, 1, 4000))


TIFF_CHANGES: Sequence[Change] = (
    _change_text, _new_text,
    _change_value, _change_value, _change_entry, _change_entry, _new_tag, _change_link,
    _change_size, change_stream, change_stream, _change_float,
)  # fmt: skip
