"""What a JPEG file states beside its picture: the pixel size, by EXIF or by JFIF.

JFIF's density ends at 65535 per cm (0.15 um per pixel), so programs that know a finer
one write EXIF's XResolution, YResolution and ResolutionUnit, as our overlays do. An
EXIF block is a TIFF without pictures; three numbers of its first directory are all that
is read, so whatever else is wrong with it does no harm.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import IFDRational

from hptl_deploy.micrographs import calibration as calibrations
from hptl_deploy.micrographs.base import UNCALIBRATED, Calibration

_EXIF = "JPEG EXIF"
_JFIF = "JPEG"

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_X, _Y, _UNIT, _SOFTWARE = 0x011A, 0x011B, 0x0128, 0x0131
_SHORT, _RATIONAL = 3, 5
_EXIF_UNITS_UM = {2: calibrations.UM_PER_INCH, 3: 1e4}
_JFIF_UNITS_UM = {1: calibrations.UM_PER_INCH, 2: 1e4}


def exif_of(software: str, pixel_size_um: float | None) -> Image.Exif:
    """The EXIF block of a JPEG written by `software`, with its pixel size where it is known."""
    exif = Image.Exif()
    exif[_SOFTWARE] = software
    if pixel_size_um is not None:
        exif[_X] = exif[_Y] = IFDRational(1e4 / pixel_size_um)
        exif[_UNIT] = 3  # centimetres
    return exif


class JpegPicture(JpegImageFile):
    """Pillow's picture, without Pillow's own look at the resolution in EXIF.

    That look happens on opening wherever JFIF states none, and some of what it raises for a
    damaged block (IndexError for a resolution that is one letter of text) would make the
    whole picture unreadable.
    """

    def _read_dpi_from_exif(self) -> None:
        pass


def jpeg_calibration(info: Mapping[Any, Any]) -> Calibration:
    """The pixel size that EXIF states, else JFIF's, by a picture's `info`; never raises.

    Where neither states a plausible one, the reason is EXIF's, if it has one.
    """
    found = [entry for entry in (_by_exif(info), _by_jfif(info)) if entry is not None]
    known = [entry for entry in found if entry.pixel_size_um is not None]
    return (*known, *found, UNCALIBRATED)[0]


def _by_exif(info: Mapping[Any, Any]) -> Calibration | None:
    numbers = _numbers(info.get("exif", b"").removeprefix(b"Exif\0\0"))
    x, y = numbers.get(_X), numbers.get(_Y)
    if x is None or y is None:
        return None
    # EXIF demands a unit; only in TIFF does a missing one mean the inch.
    unit_um = _EXIF_UNITS_UM.get(int(numbers.get(_UNIT, 0)))
    if unit_um is None:
        stated = (x, y) != (1, 1)
        return Calibration(None, f"{_EXIF}: a resolution without a unit") if stated else None
    return calibrations.from_density(x, y, unit_um, _EXIF)


def _by_jfif(info: Mapping[Any, Any]) -> Calibration | None:
    unit_um = _JFIF_UNITS_UM.get(info.get("jfif_unit", 0))
    if unit_um is None:
        return None
    x, y = info["jfif_density"]
    return calibrations.from_density(x, y, unit_um, _JFIF)


def _numbers(block: bytes) -> dict[int, float]:
    """The resolution's tags in an EXIF block's first directory, as far as they are whole.

    Other types than EXIF's and fractions over zero are left out.
    """
    order = _ORDERS.get(block[:4])
    found: dict[int, float] = {}
    if order is None:
        return found
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (entries,) = struct.unpack_from(f"{order}H", block, start)
        for place in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind, count = struct.unpack_from(f"{order}HHI", block, place)
            if (tag, kind, count) == (_UNIT, _SHORT, 1):
                (found[tag],) = struct.unpack_from(f"{order}H", block, place + 8)
            elif tag in (_X, _Y) and (kind, count) == (_RATIONAL, 1):
                (at,) = struct.unpack_from(f"{order}I", block, place + 8)
                above, below = struct.unpack_from(f"{order}II", block, at)
                if below:
                    found[tag] = above / below
    except struct.error:
        return found  # the block ends before what it announces
    return found
