"""What the samples of one TIFF directory mean, and whether the file can hold them.

Everything is decided from the directory, before a pixel is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import limits
from hptl_deploy.micrographs.pixels import palette_table, scaling_table
from hptl_deploy.micrographs.tiff_streams import COMPRESSION_RATIO, JPEG_SCHEMES, check_scheme

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tifffile import TiffPage

MOST_BITS = 16
_MINISWHITE, _MINISBLACK, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_ALPHA = (1, 2)
_UNSIGNED = (1, 4)  # 4 is "undefined", read as unsigned by every program


@dataclass(frozen=True)
class Samples:
    """The meaning of one directory's samples."""

    colours: int
    """1 (grey, palette) or 3 (RGB): samples that are kept per pixel."""
    bits: int
    """Stored bits per sample, 1 to 16."""
    significant_bits: int
    inverted: bool
    palette: NDArray[np.uint8] | None
    """RGB uint8 [2**bits, 3], or None."""

    @property
    def plain(self) -> bool:
        """True where a sample is its level: 8 bits, zero is black."""
        return self.bits == self.significant_bits == 8 and not (
            self.inverted or self.palette is not None
        )

    def table(self) -> NDArray[np.uint8]:
        """What each stored sample becomes: uint8 [2**bits] or [2**bits, 3]."""
        if self.palette is not None:
            return self.palette
        return scaling_table(self.bits, self.significant_bits, inverted=self.inverted)


def samples_of(page: TiffPage, ome_bits: int | None) -> Samples:
    """The meaning of the samples of `page`; `ome_bits` is what OME metadata declare.

    Raises MicrographError for what cannot be turned into RGB.
    """
    _check_integers(page)
    colours, palette = _colours(page)
    bits = int(page.bitspersample)
    return Samples(
        colours=colours,
        bits=bits,
        significant_bits=_significant_bits(page, bits, ome_bits),
        inverted=_photometric(page) == _MINISWHITE and colours == 1,
        palette=palette,
    )


def _check_integers(page: TiffPage) -> None:
    bits, kind = page.bitspersample, page.sampleformat
    if not isinstance(bits, int) or not isinstance(kind, int):
        raise MicrographError(
            "holds samples of different depths or kinds side by side; expected 8 or 16 bit "
            "integers",
            hint="Save it in Fiji: Image > Type > RGB Color",
        )
    if int(kind) not in _UNSIGNED or not 1 <= bits <= MOST_BITS:
        names = {1: "uint", 2: "int", 3: "float", 4: "undefined", 5: "complex int", 6: "complex"}
        raise MicrographError(
            f"holds {names.get(int(kind), 'unknown ')}{bits} samples; expected 8 or 16 bit "
            "unsigned integers",
            hint="Save it as 8 bit in Fiji: Image > Type > 8-bit",
        )


def _photometric(page: TiffPage) -> int:
    if 262 not in page.tags:
        # Required, yet some programs leave it out.
        return _RGB if page.samplesperpixel >= 3 else _MINISBLACK
    return int(page.photometric)


def _colours(page: TiffPage) -> tuple[int, NDArray[np.uint8] | None]:
    """(samples kept per pixel, palette)."""
    photometric, count = _photometric(page), int(page.samplesperpixel)
    extra = tuple(page.extrasamples)
    if photometric == _PALETTE and count - len(extra) == 1:
        return 1, _palette(page)
    if photometric in {_MINISWHITE, _MINISBLACK}:
        if count == 1 or (count == 2 and extra and extra[0] in _ALPHA):
            return 1, None
        if count == 3:  # channels that no program called R, G and B
            return 3, None
    if photometric == _RGB and count in {3, 4}:
        return 3, None
    if photometric == _YCBCR and count == 3 and int(page.compression) in JPEG_SCHEMES:
        return 3, None  # decoded to RGB
    raise MicrographError(
        f"holds {count} channels per pixel as {_photometric_name(photometric)}; expected 1 (grey) "
        "or 3 (RGB)",
        hint="Choose the channels and save them in Fiji: Image > Type > RGB Color",
    )


def _photometric_name(photometric: int) -> str:
    import tifffile

    try:
        return tifffile.PHOTOMETRIC(photometric).name
    except ValueError:
        return f"photometric interpretation {photometric}"


def _palette(page: TiffPage) -> NDArray[np.uint8]:
    tag = page.tags.get(320)
    entries = 2 ** int(page.bitspersample)
    stored = np.asarray(() if tag is None else tag.value)
    if stored.size != 3 * entries or stored.dtype.kind not in "iu":
        raise MicrographError(
            f"has a colour map of {stored.size} numbers; expected {3 * entries}; export it again"
        )
    return palette_table(stored.reshape(3, entries).astype(np.uint16))


def _significant_bits(page: TiffPage, bits: int, ome_bits: int | None) -> int:
    if bits <= 8:
        return bits
    if ome_bits is not None and 1 <= ome_bits <= bits:
        return ome_bits
    tag = page.tags.get(281)  # MaxSampleValue
    if tag is not None:
        value = tag.value[0] if isinstance(tag.value, tuple) else tag.value
        # Only 2**n - 1 declares a depth; anything else is the pixels' own maximum.
        for declared in range(8, bits):
            if value == 2**declared - 1:
                return declared
    return bits


def check_storage(page: TiffPage, stored: int, planes: int = 1) -> None:
    """Raise MicrographError unless a file of `stored` bytes can hold `page`'s pixels.

    `planes` pictures lie one after the other where the directory describes the first.
    """
    width, height = int(page.imagewidth), int(page.imagelength)
    limits.check_size(width, height)
    if int(page.imagedepth) != 1 or int(page.tiledepth) != 1:
        raise MicrographError(
            f"holds a volume of {page.imagedepth} layers in one page; expected one picture a page",
            hint="Save it as a stack in Fiji",
        )
    scheme = int(page.compression)
    check_scheme(scheme)
    lengths = segment_bytes(page)
    offsets, counts = page.dataoffsets, page.databytecounts
    if len(offsets) != len(lengths) or len(counts) != len(lengths):
        raise MicrographError(
            f"is damaged: {min(len(offsets), len(counts))} pieces of picture are listed, "
            f"{width} x {height} pixels need {len(lengths)}; copy it again"
        )
    ends = [o + c for o, c in zip(offsets, counts, strict=True)]
    needed = max(ends) + (planes - 1) * sum(counts)
    if needed > stored:
        raise MicrographError(
            f"is cut short: its pixels end at byte {needed}, the file at byte {stored}; "
            "copy it again"
        )
    ratio = COMPRESSION_RATIO[scheme]
    for length, count in zip(lengths, counts, strict=True):
        if count == 0 and page.is_tiled and any(counts):
            continue  # a mosaic without a picture there
        if count == 0:
            raise MicrographError(
                "is unfinished: some of its pixels were never written; copy or acquire it again"
            )
        limits.check_declared(width, height, length, count, ratio)


def segment_bytes(page: TiffPage) -> list[int]:
    """Decoded bytes of every strip or tile, packed as in an uncompressed file."""
    height, width = int(page.imagelength), int(page.imagewidth)
    rows, columns = segment_shape(page)
    separate = int(page.planarconfig) == 2
    samples = 1 if separate else int(page.samplesperpixel)
    row_bytes = -(-columns * samples * int(page.bitspersample) // 8)
    down, across = -(-height // rows), -(-width // columns)
    # More pieces than the file has bytes for would only fill the memory here.
    total = down * across * (int(page.samplesperpixel) if separate else 1)
    if total > max(len(page.dataoffsets), len(page.databytecounts)):
        raise MicrographError(
            f"is damaged: {len(page.dataoffsets)} pieces of picture are listed, "
            f"{width} x {height} pixels need {total}; copy it again"
        )
    if page.is_tiled:
        return [rows * row_bytes] * total
    heights = [min(rows, height - row * rows) for row in range(down)]
    return [rows_here * row_bytes for rows_here in heights] * (total // down)


def segment_shape(page: TiffPage) -> tuple[int, int]:
    """(rows, columns) of a full strip or tile, in pixels."""
    if page.is_tiled:
        rows, columns = int(page.tilelength), int(page.tilewidth)
    else:
        rows, columns = int(page.rowsperstrip), int(page.imagewidth)
    if rows < 1 or columns < 1:
        raise MicrographError(
            f"is damaged: its pieces are {columns} x {rows} pixels; export it again"
        )
    return rows, columns
