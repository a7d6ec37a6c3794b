"""What a file holds by its first bytes, against what its name says."""

from __future__ import annotations

import os
from enum import Enum
from typing import BinaryIO

from hptl_deploy.errors import MicrographError


class Family(Enum):
    """File formats that one reader understands; the value is the name in sentences."""

    TIFF = "TIFF"
    PNG = "PNG"
    JPEG = "JPEG"
    BMP = "BMP"
    CZI = "CZI"
    LIF = "LIF"
    ND2 = "ND2"
    VSI = "VSI"


FAMILY_SUFFIXES = {
    Family.TIFF: (".tif", ".tiff", ".btf", ".tf8"),
    Family.PNG: (".png",),
    Family.JPEG: (".jpg", ".jpeg"),
    Family.BMP: (".bmp",),
    Family.CZI: (".czi",),
    Family.LIF: (".lif",),
    Family.ND2: (".nd2",),
    Family.VSI: (".vsi",),
}

_READABLE_MAGIC = {
    b"II*\x00": Family.TIFF,
    b"MM\x00*": Family.TIFF,
    b"II+\x00": Family.TIFF,
    b"MM\x00+": Family.TIFF,
    b"\x89PNG\r\n\x1a\n": Family.PNG,
    b"\xff\xd8\xff": Family.JPEG,
    b"BM": Family.BMP,
    b"ZISRAWFILE": Family.CZI,
    b"\x70\x00\x00\x00": Family.LIF,
    b"\xda\xce\xbe\x0a": Family.ND2,
}

VSI_VOLUME = b"\x18\x00\x49\x53"
"""How a list of fields in an Olympus VSI begins; the first follows a TIFF's header."""
_TIFF_HEAD = 8

_OTHER_MAGIC = {
    b"GIF8": "a GIF image",
    b"RIFF": "a WebP image or another RIFF file",
    b"\x00\x00\x00\x0cjP  ": "a JPEG 2000 image",
    b"\xff\x4f\xff\x51": "a JPEG 2000 image",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive or an Office document",
    b"\x1f\x8b": "a gzip archive",
    b"\x89HDF": "an HDF5 file",
    b"8BPS": "a Photoshop document",
    b"<?xml": "an XML text",
}

_HEAD = 512


def check_content(handle: BinaryIO, suffix: str, *, any_family: bool = False) -> Family:
    """The family that `suffix` (lower case) names, if the file begins like one.

    With `any_family` what the file begins like counts, whatever its name. Leaves the handle at
    the beginning. Raises MicrographError otherwise.
    """
    expected = next(family for family, group in FAMILY_SUFFIXES.items() if suffix in group)
    head = handle.read(_HEAD)
    handle.seek(0)
    if not head:
        raise MicrographError("is empty (0 bytes)", hint="Copy it again from the microscope")
    found = _family(head)
    if found is expected or (found is not None and any_family):
        return found
    wanted = f"{_article(expected.value)} {expected.value}"
    if found is not None:
        raise MicrographError(
            f"holds {_article(found.value)} {found.value}, not {wanted}; "
            f"rename it to end in {FAMILY_SUFFIXES[found][0]}"
        )
    raise MicrographError(
        f"holds {_describe(head)}, not {wanted}",
        hint="Export it again from the microscope's program",
    )


def file_size(handle: BinaryIO) -> int:
    """Bytes in the file."""
    return os.fstat(handle.fileno()).st_size


def _family(head: bytes) -> Family | None:
    for magic, family in _READABLE_MAGIC.items():
        if head.startswith(magic):
            # Text may begin with "BM": a BMP's reserved bytes tell.
            if family is Family.BMP and (len(head) < 10 or head[6:10] != bytes(4)):
                continue
            if family is Family.TIFF and head.startswith(VSI_VOLUME, _TIFF_HEAD):
                return Family.VSI
            return family
    return None


def _describe(head: bytes) -> str:
    for magic, name in _OTHER_MAGIC.items():
        if head.startswith(magic):
            return name
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if not any(head):
        return "only zeros"
    if all(byte >= 32 or byte in b"\t\r\n\f" for byte in head):
        return "text"
    return f"data that begins with the bytes {head[:4].hex(' ')}"


def _article(name: str) -> str:
    return "an" if name[0] in "AEIOUN" else "a"  # an ND2
