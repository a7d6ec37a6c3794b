"""Micrographs: one interface over every file format.

    with open_micrograph(path) as micrograph:
        for page in micrograph.pages:
            pixels = page.read()          # uint8 [rows, columns, 3], RGB
            with page.bands(overlap=200) as bands:
                top = bands.read(0, 1000)  # of a mosaic: rows 0 to 1000, then 800 to 1800, ...

The libraries that read a format are imported when the first such file is opened.
"""

from __future__ import annotations

import stat
from pathlib import Path

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs.bands import BandReader
from hptl_deploy.micrographs.base import UNCALIBRATED, Calibration, Micrograph, Page
from hptl_deploy.micrographs.boundary import translated
from hptl_deploy.micrographs.calibration import from_option
from hptl_deploy.micrographs.handle import PictureFile
from hptl_deploy.micrographs.sniff import FAMILY_SUFFIXES, Family, check_content

__all__ = [
    "MICROGRAPH_SUFFIXES",
    "UNCALIBRATED",
    "UNREADABLE_FORMATS",
    "BandReader",
    "Calibration",
    "Micrograph",
    "Page",
    "from_option",
    "open_micrograph",
]

MICROGRAPH_SUFFIXES = tuple(suffix for group in FAMILY_SUFFIXES.values() for suffix in group)
"""Endings of the files that are read, lower case with the dot."""

UNREADABLE_FORMATS = {
    ".oib": "an Olympus OIB file cannot be read yet; export it as TIFF from FluoView or cellSens",
    ".oir": "an Olympus OIR file cannot be read yet; export it as TIFF from FluoView or cellSens",
}
"""Micrograph formats that are known and cannot be read: ending and what to do instead."""


def open_micrograph(path: Path, *, by_content: bool = False) -> Micrograph:
    """Open a micrograph and read its headers; pixels are decoded by `Page.read`.

    A PNG that is called .jpg is refused, so that nobody wonders which of two files was meant;
    with `by_content` it is read as what it is (ImageNet has such a picture).

    Raises MicrographError, without the path in its message, when the file cannot be
    opened, is not what its name says, is damaged, or holds what cannot be segmented.
    """
    suffix = path.suffix.lower()
    if suffix in UNREADABLE_FORMATS:
        raise MicrographError(UNREADABLE_FORMATS[suffix])
    if suffix not in MICROGRAPH_SUFFIXES:
        raise MicrographError(
            f"ends in {suffix or 'nothing'}, which is no micrograph format known here",
            hint=f"Expected one of {' '.join(MICROGRAPH_SUFFIXES)}",
        )
    with translated(path):
        # A pipe would block on opening, a folder fails differently on every system.
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):
            found = "a folder" if stat.S_ISDIR(kind) else "a device or a pipe"
            raise MicrographError(f"is {found}; expected a micrograph file")
        handle = PictureFile(path)
        try:
            family = check_content(handle, suffix, any_family=by_content)
            if family is Family.TIFF:
                from hptl_deploy.micrographs.tiff import TiffMicrograph

                return TiffMicrograph(path, handle)
            if family is Family.CZI:
                from hptl_deploy.micrographs.czi import CziMicrograph

                return CziMicrograph(path, handle)
            if family is Family.LIF:
                from hptl_deploy.micrographs.lif import LifMicrograph

                return LifMicrograph(path, handle)
            if family is Family.ND2:
                from hptl_deploy.micrographs.nd2 import Nd2Micrograph

                return Nd2Micrograph(path, handle)
            if family is Family.VSI:
                from hptl_deploy.micrographs.vsi import VsiMicrograph

                return VsiMicrograph(path, handle)
            from hptl_deploy.micrographs.raster import RasterMicrograph

            return RasterMicrograph(path, handle, family)
        except BaseException:
            handle.close()
            raise
