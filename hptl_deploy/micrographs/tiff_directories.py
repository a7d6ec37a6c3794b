"""A TIFF file's chain of page directories, walked before any library trusts it.

    header --> directory --> directory --> 0
                  |              |
                  +-- tags       +-- tags     a tag: code, type, count, and its
                                              values or the offset of its values

Refused here: a chain that leaves the file or runs in a circle, and required tags
whose values lie beyond the end of the file, and directories that lie upon one another: a few
kilobytes could stand for gigabytes of them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs.sniff import file_size

MOST_TAGS = 4096
MOST_SHARING = 4
"""How often the bytes of a file may be directories at most: pages may share a colour map, and no
program makes a thousand pages share one list of a hundred thousand strips."""

_SINGLE_TAGS = {
    256: "ImageWidth",
    257: "ImageLength",
    259: "Compression",
    262: "PhotometricInterpretation",
    266: "FillOrder",
    277: "SamplesPerPixel",
    284: "PlanarConfiguration",
    317: "Predictor",
    322: "TileWidth",
    323: "TileLength",
    32997: "ImageDepth",
    32998: "TileDepth",
}
"""One whole number each. Libraries multiply them without looking, lists and texts too."""

_WHOLE_TAGS = {
    **_SINGLE_TAGS,
    258: "BitsPerSample",
    273: "StripOffsets",
    278: "RowsPerStrip",
    279: "StripByteCounts",
    320: "ColorMap",
    324: "TileOffsets",
    325: "TileByteCounts",
    338: "ExtraSamples",
    339: "SampleFormat",
}
"""Whole numbers."""

REQUIRED_TAGS = {**_WHOLE_TAGS, 347: "JPEGTables"}
"""What decides how a page is decoded; other tags may be broken without harm."""

_WHOLE_TYPES = (1, 3, 4, 13, 16, 18)

_TYPE_BYTES = {
    **{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4},
    **{16: 8, 17: 8, 18: 8},  # BigTIFF
}


@dataclass(frozen=True)
class _Flavour:
    """Sizes of the fields of TIFF and of BigTIFF; `order` is struct's byte order."""

    order: str
    count_format: str
    tag_format: str
    offset_format: str

    @property
    def value_bytes(self) -> int:
        return struct.calcsize(self.order + self.offset_format)


def directory_offsets(handle: BinaryIO) -> list[int]:
    """Byte offsets of the page directories in file order; at least one.

    Raises MicrographError for a damaged chain.
    """
    size = file_size(handle)
    flavour, offset = _header(handle)
    offsets: list[int] = []
    seen: set[int] = set()
    walked = 0
    while offset:
        number = len(offsets) + 1
        if offset in seen:
            raise MicrographError(
                f"is damaged: after page {number - 1} its list of pages runs in a circle; "
                "copy it again"
            )
        if offset >= size:
            raise MicrographError(
                f"is cut short: page {number} begins at byte {offset}, the file ends at byte "
                f"{size}; copy it again"
            )
        seen.add(offset)
        offsets.append(offset)
        offset, taken = _walk(handle, flavour, offset, size, number)
        walked += taken
        if walked > MOST_SHARING * size:
            raise MicrographError(
                f"is damaged: the directories of its first {number} pages take {walked} bytes, "
                f"the file has {size}; copy it again"
            )
    if not offsets:
        raise MicrographError("holds no pages; export it again from the microscope's program")
    return offsets


def _header(handle: BinaryIO) -> tuple[_Flavour, int]:
    handle.seek(0)
    head = handle.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in {b"+\x00", b"\x00+"}
    if len(head) < (16 if big else 8):
        raise MicrographError("is cut short within its header; copy it again")
    if big:
        return _Flavour(order, "Q", "HHQ8s", "Q"), struct.unpack(order + "Q", head[8:16])[0]
    return _Flavour(order, "H", "HHI4s", "I"), struct.unpack(order + "I", head[4:8])[0]


def _walk(
    handle: BinaryIO, flavour: _Flavour, offset: int, size: int, number: int
) -> tuple[int, int]:
    """Check one directory; returns the offset of the next, and bytes of this one and its values."""
    count_bytes = struct.calcsize(flavour.order + flavour.count_format)
    tag_bytes = struct.calcsize(flavour.order + flavour.tag_format)
    cut = MicrographError(
        f"is cut short within the directory of page {number} at byte {offset}; copy it again"
    )
    handle.seek(offset)
    field = handle.read(count_bytes)
    if len(field) < count_bytes:
        raise cut
    (count,) = struct.unpack(flavour.order + flavour.count_format, field)
    if not 0 < count <= MOST_TAGS:
        raise MicrographError(
            f"is damaged: the directory of page {number} has {count} entries; copy it again"
        )
    tags = handle.read(count * tag_bytes)
    following = handle.read(flavour.value_bytes)
    if len(tags) < count * tag_bytes or len(following) < flavour.value_bytes:
        raise cut
    taken = len(tags)
    for start in range(0, len(tags), tag_bytes):
        taken += _check_tag(tags[start : start + tag_bytes], flavour, size, number)
    return int(struct.unpack(flavour.order + flavour.offset_format, following)[0]), taken


def _check_tag(tag: bytes, flavour: _Flavour, size: int, number: int) -> int:
    """Check one entry; returns the bytes of its values elsewhere, if it is a required one."""
    code, kind, count, value = struct.unpack(flavour.order + flavour.tag_format, tag)
    name = REQUIRED_TAGS.get(code)
    if name is None:
        return 0
    wrong_type = kind not in (_WHOLE_TYPES if code in _WHOLE_TAGS else _TYPE_BYTES)
    if wrong_type or count == 0 or (count > 1 and code in _SINGLE_TAGS):
        raise MicrographError(f"is damaged: {name} of page {number} is unreadable; copy it again")
    value_bytes = int(count) * _TYPE_BYTES[kind]
    if value_bytes <= flavour.value_bytes:
        return 0
    (start,) = struct.unpack(flavour.order + flavour.offset_format, value)
    if start + value_bytes > size:
        raise MicrographError(
            f"is cut short: {name} of page {number} ends at byte {start + value_bytes}, the file "
            f"at byte {size}; copy it again"
        )
    return value_bytes
