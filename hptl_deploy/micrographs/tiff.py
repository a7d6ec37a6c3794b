"""TIFF and BigTIFF, plain, OME, ImageJ and tifffile's own: pages and their pixels.

    directories of the file
      - without thumbnails, masks (pyramid levels hang below a directory: not walked)
      - grouped by the layout the description states: channels are not pages
      = pages, in file order

A page is decoded strip by strip or tile by tile into its RGB array, so that a region
needs only the pieces it touches; of an uncompressed strip, only the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import limits
from hptl_deploy.micrographs.base import UNCALIBRATED
from hptl_deploy.micrographs.decoded import DecodedMicrograph, DecodedPage
from hptl_deploy.micrographs.lzw import is_sound
from hptl_deploy.micrographs.pixels import COLOURS, look_up
from hptl_deploy.micrographs.sniff import file_size
from hptl_deploy.micrographs.tiff_directories import directory_offsets
from hptl_deploy.micrographs.tiff_pages import Picture, Plane, pictures
from hptl_deploy.micrographs.tiff_rows import piece_shape, row_bytes, rows_at_once, rows_of
from hptl_deploy.micrographs.tiff_samples import (
    check_storage,
    samples_of,
    segment_shape,
)
from hptl_deploy.micrographs.tiff_streams import JPEG_SCHEMES, check_stream
from hptl_deploy.tiling import Region

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tifffile import TiffPage

_LZW, _JPEG = 5, 7
_JPEG_END = b"\xff\xd9"


class TiffMicrograph(DecodedMicrograph):
    """A TIFF file with all its pages."""

    def __init__(self, path: Path, handle: BinaryIO) -> None:
        super().__init__(path, handle)
        directories = _directories(handle, directory_offsets(handle))
        stored = file_size(handle)
        self.pages = [
            _TiffPicture(self, index, picture, stored)
            for index, picture in enumerate(pictures(directories, path.name, stored))
        ]


def _directories(handle: BinaryIO, offsets: Sequence[int]) -> list[TiffPage]:
    """Read every directory with tifffile."""
    import tifffile

    handle.seek(0)
    # Without tifffile's special cases, which walk the whole chain of directories.
    parent = tifffile.TiffFile(handle, is_lsm=False, is_ndpi=False, is_scanimage=False)
    pages = []
    for index, offset in enumerate(offsets):
        parent.filehandle.seek(offset)
        pages.append(tifffile.TiffPage(parent, index=index))
    return pages


@dataclass(frozen=True)
class _Segment:
    """A strip, a tile or some rows of a strip: its place in the file and in the picture."""

    index: int
    sample: int
    """Which sample of the pixel where samples lie in separate planes, else 0."""
    offset: int
    bytes: int
    area: Region
    rows_only: bool = False
    """True for rows of an uncompressed strip."""


def _segments(plane: Plane, region: Region, colours: int) -> Iterator[_Segment]:
    """The strips or tiles of `plane` that touch `region` and hold samples that are kept."""
    page = plane.page
    height, width = int(page.imagelength), int(page.imagewidth)
    rows, columns = segment_shape(page)
    down, across = -(-height // rows), -(-width // columns)
    separate = int(page.planarconfig) == 2
    bytes_per_row = row_bytes(page)
    for sample in range(colours if separate else 1):
        for row in range(region.y0 // rows, -(-region.y1 // rows)):
            for column in range(region.x0 // columns, -(-region.x1 // columns)):
                index = (sample * down + row) * across + column
                size = page.databytecounts[index]
                if size == 0:
                    continue  # a mosaic without a picture there stays black
                area = Region(
                    row * rows,
                    min((row + 1) * rows, height),
                    column * columns,
                    min((column + 1) * columns, width),
                )
                offset = page.dataoffsets[index] + plane.shift
                segment = _Segment(index, sample, offset, size, area)
                if bytes_per_row is None:
                    yield segment
                else:
                    yield from _rows(segment, region, bytes_per_row)


def _rows(strip: _Segment, region: Region, bytes_per_row: int) -> Iterator[_Segment]:
    """The rows of an uncompressed strip that `region` needs, some at a time."""
    area = strip.area
    last = min(area.y1, region.y1)
    step = rows_at_once(bytes_per_row)
    for row in range(max(area.y0, region.y0), last, step):
        rows = Region(row, min(row + step, last), area.x0, area.x1)
        yield replace(
            strip,
            offset=strip.offset + (row - area.y0) * bytes_per_row,
            bytes=rows.height * bytes_per_row,
            area=rows,
            rows_only=True,
        )


def _levels(table: NDArray[np.uint8] | None, samples: NDArray[Any]) -> NDArray[np.uint8]:
    """What the samples become; those of plain 8 bits (no table) are levels already."""
    if table is None and samples.dtype == np.uint8:
        return samples
    return look_up(np.arange(256, dtype=np.uint8) if table is None else table, samples)


class _TiffPicture(DecodedPage):
    def __init__(
        self, micrograph: TiffMicrograph, index: int, picture: Picture, stored: int
    ) -> None:
        self._planes = picture.planes
        first = picture.planes[0].page
        for plane in picture.planes:
            self._samples = samples_of(plane.page, picture.significant_bits)
            check_storage(plane.page, stored, plane.number + 1)
            if plane.page.shape != first.shape:
                raise MicrographError(
                    "holds channels of different sizes; expected one picture per page"
                )
        coloured = self._samples.colours > 1 or self._samples.palette is not None
        if len(self._planes) > 1 and coloured:
            raise MicrographError(
                f"holds {len(self._planes)} channels that are coloured themselves; expected grey",
                hint="Save it in Fiji: Image > Type > RGB Color",
            )
        super().__init__(
            micrograph,
            index,
            int(first.imagelength),
            int(first.imagewidth),
            picture.calibration or UNCALIBRATED,
        )
        self._piece = max(piece_shape(plane.page) for plane in picture.planes)
        # A part of a page that is one piece costs as much as the page.
        self.decodes_regions = self._piece[0] < self.height or self._piece[1] < self.width
        # One strip or tile has to fit, however small the regions are that will be read.
        self._check_memory(Region(0, 0, 0, 0))

    def decode(self, region: Region) -> NDArray[np.uint8]:
        """See `DecodedPage.decode`: only the strips or tiles that touch the region."""
        self._check_memory(region)
        pixels = np.zeros((*region.shape, COLOURS), dtype=np.uint8)
        table = None if self._samples.plain else self._samples.table()
        for channel, plane in enumerate(self._planes):
            for segment in _segments(plane, region, self._samples.colours):
                # In one expression: a piece is gone before the next one is decoded.
                self._paint(
                    pixels,
                    _levels(table, self._decode_segment(plane.page, segment)),
                    segment,
                    region,
                    channel,
                )
        return pixels

    @property
    def piece_rows(self) -> int:
        """See `DecodesRows`."""
        # Rows of an uncompressed strip need not be decoded together.
        by_rows = all(row_bytes(plane.page) is not None for plane in self._planes)
        return 1 if by_rows else self._piece[0]

    def decoding_bytes(self, rows: int) -> int:
        """See `DecodesRows`."""
        return self._needed(Region(0, rows, 0, self.width))

    def _needed(self, region: Region) -> int:
        rows, columns = self._piece
        # A piece's bytes (2 per sample), its samples (2), and what they become (1 or 3).
        piece = 7 * rows * columns * int(self._planes[0].page.samplesperpixel)
        return region.height * region.width * COLOURS + piece

    def _check_memory(self, region: Region) -> None:
        limits.check_memory(self.width, self.height, self._needed(region))

    def _decode_segment(self, page: TiffPage, segment: _Segment) -> NDArray[Any]:
        """Stored samples [rows, columns, samples]; edge tiles may come cut or whole."""
        handle = self.micrograph.handle
        handle.seek(segment.offset)
        data = handle.read(segment.bytes)
        scheme = int(page.compression)
        if len(data) < segment.bytes:
            raise MicrographError("became shorter while it was read; wait until it is written")
        if segment.rows_only:
            return rows_of(page, data)
        if scheme == _JPEG and _JPEG_END not in data:
            # The JPEG library would fill what is missing with grey.
            raise MicrographError("is cut short within its JPEG data; copy it again")
        if scheme == _LZW and not is_sound(data, reversed_bits=int(page.fillorder) == 2):
            raise MicrographError("is damaged: its LZW data cannot be unpacked; copy it again")
        check_stream(scheme, data, *segment_shape(page))
        tables = (
            {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
            if scheme in JPEG_SCHEMES
            else {}
        )
        samples, _, _ = page.decode(data, segment.index, **tables)
        if samples is None:
            raise MicrographError("is damaged: a piece of its pixels is empty; copy it again")
        decoded: NDArray[Any] = samples[0]
        if decoded.dtype.kind not in "bu" or decoded.dtype.itemsize > 2:
            raise MicrographError(
                f"unpacks to {decoded.dtype} samples; expected 8 or 16 bit unsigned integers"
            )
        return decoded

    def _paint(
        self,
        pixels: NDArray[np.uint8],
        levels: NDArray[np.uint8],
        segment: _Segment,
        region: Region,
        channel: int,
    ) -> None:
        """Copy what `segment` and `region` share into `pixels` (the region's)."""
        area = segment.area
        shared = Region(
            max(area.y0, region.y0),
            min(area.y1, region.y1),
            max(area.x0, region.x0),
            min(area.x1, region.x1),
        )
        source = levels[shared.relative_to(area).slices]  # [rows, columns, samples(, RGB)]
        target = pixels[shared.relative_to(region).slices]
        if self._samples.palette is not None:
            target[...] = source[:, :, 0]
        elif len(self._planes) > 1:
            target[..., channel] = source[..., 0]
        elif self._samples.colours == 1:
            target[...] = source[..., :1]
        elif int(self._planes[0].page.planarconfig) == 2:
            target[..., segment.sample] = source[..., 0]
        else:
            target[...] = source[..., :COLOURS]
