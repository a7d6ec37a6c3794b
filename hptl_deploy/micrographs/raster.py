"""PNG, JPEG and BMP: files of one picture.

Pillow decodes them, except PNG of 16 bits, whose colours Pillow would cut down to 8
bits instead of scaling them: imagecodecs decodes those. Animations and multi-picture
files count as their first picture. The orientation a camera notes is not applied, as
in Fiji: coordinates are those of the stored pixels.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import calibration as calibrations
from hptl_deploy.micrographs import limits
from hptl_deploy.micrographs.base import UNCALIBRATED, Calibration
from hptl_deploy.micrographs.decoded import DecodedMicrograph, DecodedPage
from hptl_deploy.micrographs.sniff import Family, file_size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import ImageFile

    from hptl_deploy.tiling import Region

DEFLATE_RATIO = 1032
"""258 bytes per 2 bits: as far as deflate goes."""
JPEG_RATIO = 4096
"""Blank progressive JPEG reaches about 1000 decoded bytes per byte."""

_PILLOW_BYTES = 4 + 4 + 3
"""Per pixel at most: Pillow's picture, its conversion to RGB, the array."""

_UM_PER_METRE = 1e6

_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples per pixel of each PNG colour type."""
_BMP_RUN_LENGTH = (1, 2)
_RUN_LENGTH_RATIO = 255
"""A run of 255 pixels takes two bytes; as much again for rows that are cut short."""


class RasterMicrograph(DecodedMicrograph):
    """A PNG, JPEG or BMP file with its one page."""

    def __init__(self, path: Path, handle: BinaryIO, family: Family) -> None:
        super().__init__(path, handle)
        deep = _check_png(handle) if family is Family.PNG else False
        if family is Family.BMP:
            _check_bmp(handle)
        picture = _open_picture(handle, family)
        width, height = picture.size
        limits.check_size(width, height)
        if family is Family.JPEG:
            decoded = width * height * len(picture.getbands())
            limits.check_declared(width, height, decoded, file_size(handle), JPEG_RATIO)
        self.pages = [_RasterPage(self, height, width, _calibration(picture, family), family, deep)]


class _RasterPage(DecodedPage):
    micrograph: RasterMicrograph

    def __init__(
        self,
        micrograph: RasterMicrograph,
        height: int,
        width: int,
        calibration: Calibration,
        family: Family,
        deep: bool,
    ) -> None:
        super().__init__(micrograph, 0, height, width, calibration)
        self._family = family
        self._deep = deep
        # Also when opening: this format cannot be decoded by parts.
        self._check_memory()

    def decode(self, region: Region) -> NDArray[np.uint8]:
        """See `DecodedPage.decode`: the whole file is decoded, then cut."""
        import numpy as np

        self._check_memory()
        handle = self.micrograph.handle
        if self._deep:
            pixels = _decode_deep_png(handle)
        else:
            picture = _open_picture(handle, self._family)
            # Drops alpha and transparency, looks palettes up, turns CMYK into RGB.
            pixels = np.array(picture.convert("RGB"), dtype=np.uint8)
        if pixels.shape != (self.height, self.width, 3):
            raise MicrographError(
                f"decodes to {pixels.shape[1]} x {pixels.shape[0]} pixels, its header declares "
                f"{self.width} x {self.height}; export it again"
            )
        whole = region.shape == (self.height, self.width)
        return pixels if whole else pixels[region.slices].copy()

    def decoding_bytes(self, rows: int) -> int:
        """See `DecodesRows`: any part costs the whole."""
        # A deep PNG is 4 samples of 2 bytes at most, beside the file and the result.
        per_pixel = 4 * 2 + 4 + 3 if self._deep else _PILLOW_BYTES
        return self.height * self.width * per_pixel + file_size(self.micrograph.handle)

    def _check_memory(self) -> None:
        limits.check_memory(self.width, self.height, self.decoding_bytes(self.height))


def _open_picture(handle: BinaryIO, family: Family) -> ImageFile.ImageFile:
    """Pillow's picture with its header read.

    The formats' classes are used directly: `Image.open` refuses large pictures by a
    limit that belongs to the whole process, and a mosaic may be large.
    """
    from PIL import BmpImagePlugin, PngImagePlugin

    from hptl_deploy.micrographs.jpeg import JpegPicture

    handle.seek(0)
    match family:
        case Family.PNG:
            return PngImagePlugin.PngImageFile(handle)
        case Family.JPEG:
            return JpegPicture(handle)
        case _:
            return BmpImagePlugin.BmpImageFile(handle)


def _decode_deep_png(handle: BinaryIO) -> NDArray[np.uint8]:
    import imagecodecs

    from hptl_deploy.micrographs.pixels import look_up, scaling_table, to_rgb

    handle.seek(0)
    samples = imagecodecs.png_decode(handle.read())
    # A PNG's samples fill their range whatever the camera's depth (its sBIT chunk only
    # says how many bits are exact), so the full range is the declared one.
    return to_rgb(look_up(scaling_table(16, 16), samples))


def _check_png(handle: BinaryIO) -> bool:
    """Check a PNG's header against the file's size; True for samples of 16 bits."""
    handle.seek(8)
    header = handle.read(4 + 4 + 13)  # chunk length, chunk name, IHDR
    if len(header) < 21:
        raise MicrographError("is cut short within its header; copy it again")
    width, height, depth, colour_type = struct.unpack(">IIBB", header[8:18])
    if header[4:8] != b"IHDR" or colour_type not in _PNG_SAMPLES:
        raise MicrographError("has a damaged PNG header; copy it again")
    if _png_headers(handle) != 1:
        # Pillow would go by the last one.
        raise MicrographError("is damaged: it has two PNG headers; copy it again")
    limits.check_size(width, height)
    row_bytes = -(-width * depth * _PNG_SAMPLES[colour_type] // 8)
    limits.check_declared(width, height, height * row_bytes, file_size(handle), DEFLATE_RATIO)
    return bool(depth == 16)


def _png_headers(handle: BinaryIO) -> int:
    """How many headers stand before a PNG's pixels."""
    found, at = 0, 8
    while True:
        handle.seek(at)
        head = handle.read(8)
        if len(head) < 8 or head[4:] in {b"IDAT", b"IEND"}:
            return found
        found += head[4:] == b"IHDR"
        at += 12 + int.from_bytes(head[:4], "big")


def _check_bmp(handle: BinaryIO) -> None:
    """Check a BMP's header against the file's size."""
    handle.seek(0)
    header = handle.read(34)
    header_bytes = int.from_bytes(header[14:18], "little")
    if len(header) < (26 if header_bytes == 12 else 34):
        raise MicrographError("is cut short within its header; copy it again")
    file_bytes = int.from_bytes(header[2:6], "little")
    compression = 0
    if header_bytes == 12:  # OS/2
        width, height, _, depth = struct.unpack("<HHHH", header[18:26])
    else:
        width, height, _, depth, compression = struct.unpack("<iiHHI", header[18:34])
        height = abs(height)  # negative where the rows run downwards
    limits.check_size(width, height)
    size = file_size(handle)
    if compression not in _BMP_RUN_LENGTH:
        row_bytes = (width * depth + 31) // 32 * 4
        limits.check_declared(width, height, height * row_bytes, size, 1)
        return
    limits.check_declared(width, height, width * height, size, _RUN_LENGTH_RATIO)
    if file_bytes > size:
        # Pillow fills what is missing of run lengths with black.
        raise MicrographError(
            f"is cut short: its header declares {file_bytes} bytes, {size} are there; copy it again"
        )


def _calibration(picture: ImageFile.ImageFile, family: Family) -> Calibration:
    """From PNG pHYs, JPEG's EXIF or JFIF, or a BMP's pixels per metre."""
    if family is Family.JPEG:
        from hptl_deploy.micrographs.jpeg import jpeg_calibration

        return jpeg_calibration(picture.info)
    if "dpi" not in picture.info:
        return UNCALIBRATED
    # Both formats store whole pixels per metre; Pillow's factors differ between them.
    per_inch = 0.0254 if family is Family.PNG else 1 / 39.3701
    x, y = (round(dpi / per_inch) for dpi in picture.info["dpi"])
    return calibrations.from_density(x, y, _UM_PER_METRE, family.value) or UNCALIBRATED
