"""Olympus (Evident) VSI: read here, without a package of its own.

The VSI file describes the pictures, the pixels of each lie in a folder beside it (`companions`).
Every micrograph of the file, and each of its times and focal planes, is a page, in that order.
Overviews, macro pictures, masks and levels of the pyramid are no pages. A page is grey or colour;
several channels are refused, because which of them would be red, green and blue is a matter of
display. What no tile covers is black, and one of the page's `gaps`.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import limits
from hptl_deploy.micrographs.companions import pixel_folder, stacks
from hptl_deploy.micrographs.decoded import DecodedMicrograph, DecodedPage
from hptl_deploy.micrographs.ets import JPEG, JPEG_2000, RAW, Ets, check_tile_size, read_ets
from hptl_deploy.micrographs.gaps import gaps_between
from hptl_deploy.micrographs.handle import PictureFile
from hptl_deploy.micrographs.tiff_streams import check_stream
from hptl_deploy.micrographs.vsi_images import (
    FOCAL_PLANE,
    TIME,
    VsiImage,
    channels_word,
    images_of,
)
from hptl_deploy.micrographs.vsi_tags import read_tags
from hptl_deploy.tiling import Region

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SPARSEST = 0.01
"""Share of a page that its tiles cover at least."""
_TIFF_SCHEMES = {JPEG: 7, JPEG_2000: 34712}
"""What the same streams are called in a TIFF."""
_JPEG_END = b"\xff\xd9"
_HINT = "Export it as TIFF from cellSens"

Tiles = dict[tuple[int, int], tuple[int, int]]
"""By column and row of tiles: where its bytes begin, how many they are."""


class VsiMicrograph(DecodedMicrograph):
    """A VSI file, and the files of pixels of its micrographs."""

    def __init__(self, path: Path, handle: BinaryIO) -> None:
        super().__init__(path, handle)
        self.pages: list[VsiPage] = []
        self._pixels: list[BinaryIO] = []
        images = images_of(read_tags(handle))
        found = stacks(path)
        try:
            for image in images:
                pixels = PictureFile(_file_of(image, path, found.get(image.number, ())))
                self._pixels.append(pixels)
                self._add(image, pixels)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """See `DecodedMicrograph.close`."""
        for pixels in self._pixels:
            pixels.close()
        super().close()

    def _add(self, image: VsiImage, pixels: BinaryIO) -> None:
        ets = read_ets(pixels)
        planes = _planes(image, ets)
        limits.check_pictures(len(self.pages) + len(planes), 0, 0)
        for place in sorted(planes):
            page = VsiPage(self, len(self.pages), image, ets, planes[place], pixels)
            self.pages.append(page)


class VsiPage(DecodedPage):
    """One time and focal plane of a micrograph."""

    micrograph: VsiMicrograph
    decodes_regions = True

    def __init__(
        self,
        micrograph: VsiMicrograph,
        index: int,
        image: VsiImage,
        ets: Ets,
        tiles: Tiles,
        pixels: BinaryIO,
    ) -> None:
        super().__init__(micrograph, index, image.height, image.width, image.calibration)
        self._ets, self._file = ets, pixels
        self._left, self._top = image.origin or ets.origin
        depth = image.depth
        self._depth = depth if depth is not None and 8 <= depth <= ets.bits else ets.bits
        self._tiles = {place: at for place, at in tiles.items() if self._area(*place) is not None}
        for _, stored in self._tiles.values():
            check_tile_size(ets, stored)
        areas = [area for area in (self._area(*place) for place in self._tiles) if area]
        covered = sum(area.height * area.width for area in areas)
        if covered < _SPARSEST * self.width * self.height:
            raise MicrographError(
                f"declares {image.name} of {self.width} x {self.height} pixels, of which its tiles "
                f"cover {100 * covered / (self.width * self.height):.2g} %; copy it again"
            )
        if covered < self.width * self.height:
            self.gaps = gaps_between(areas, self.height, self.width)

    @property
    def piece_rows(self) -> int:
        """See `DecodesRows`: a tile's."""
        return min(self.height, self._ets.tile_height)

    def decoding_bytes(self, rows: int) -> int:
        """See `DecodesRows`."""
        # The result; of one tile what is stored, its samples, their levels and indices.
        ets = self._ets
        largest = max(stored for _, stored in self._tiles.values())
        tile = largest + 2 * ets.tile_bytes + ets.tile_width * ets.tile_height * 3 + 2**20
        return min(rows, self.height) * self.width * 3 + tile

    def decode(self, region: Region) -> NDArray[np.uint8]:
        """See `DecodedPage.decode`."""
        import numpy as np

        rgb = np.zeros((*region.shape, 3), np.uint8)
        if 0 in region.shape:
            return rgb
        limits.check_memory(self.width, self.height, self.decoding_bytes(region.height))
        height, width = self._ets.tile_height, self._ets.tile_width
        for row in range((region.y0 - self._top) // height, -(-(region.y1 - self._top) // height)):
            first, last = (region.x0 - self._left) // width, region.x1 - self._left
            for column in range(first, -(-last // width)):
                if (column, row) in self._tiles:
                    self._paint(rgb, region, column, row)
        return rgb

    def _area(self, column: int, row: int) -> Region | None:
        """What the tile covers of the page; None where it is nothing."""
        x, y = self._left + column * self._ets.tile_width, self._top + row * self._ets.tile_height
        right, bottom = x + self._ets.tile_width, y + self._ets.tile_height
        area = Region(max(0, y), min(self.height, bottom), max(0, x), min(self.width, right))
        return area if area.y0 < area.y1 and area.x0 < area.x1 else None

    def _paint(self, rgb: NDArray[np.uint8], region: Region, column: int, row: int) -> None:
        x, y = self._left + column * self._ets.tile_width, self._top + row * self._ets.tile_height
        area = self._area(column, row)
        assert area is not None
        samples = self._samples(column, row, area.y1 - y, area.x1 - x)
        y0, y1 = max(area.y0, region.y0), min(area.y1, region.y1)
        x0, x1 = max(area.x0, region.x0), min(area.x1, region.x1)
        levels = self._levels(samples[y0 - y : y1 - y, x0 - x : x1 - x])
        rgb[y0 - region.y0 : y1 - region.y0, x0 - region.x0 : x1 - region.x0] = levels

    def _samples(self, column: int, row: int, rows: int, columns: int) -> NDArray[np.uint8]:
        """Of a tile, [at least rows, at least columns, colours], 8 or 16 bits."""
        import numpy as np

        ets = self._ets
        position, size = self._tiles[column, row]
        self._file.seek(position)
        stored = self._file.read(size)
        if len(stored) < size:
            raise MicrographError("became shorter while it was read; wait until it is written")
        dtype = np.dtype(f"<u{ets.bits // 8}")
        if ets.compression == RAW:
            shape = (ets.tile_height, ets.tile_width, ets.colours)
            return np.ndarray(shape, dtype, stored)
        found = _decoded(ets, stored)
        if found.ndim == 2:
            found = found[..., np.newaxis]
        if (
            found.dtype.itemsize != dtype.itemsize
            or found.dtype.kind != "u"
            or not (
                found.ndim == 3
                and rows <= found.shape[0]
                and columns <= found.shape[1]
                and found.shape[2] == ets.colours
            )
        ):
            raise MicrographError(
                f"is damaged: a tile unpacks to {found.dtype} of the shape {found.shape}, expected "
                f"{dtype} of {(ets.tile_height, ets.tile_width, ets.colours)}; copy it again"
            )
        return found

    def _levels(self, samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What the samples become, [rows, columns, 1 or 3]."""
        from hptl_deploy.micrographs.pixels import look_up, scaling_table

        ets = self._ets
        levels = samples
        if ets.bits > 8:
            levels = look_up(scaling_table(ets.bits, self._depth), samples)
        return levels[..., ::-1] if ets.blue_first and ets.compression == RAW else levels


def _decoded(ets: Ets, stored: bytes) -> NDArray[np.uint8]:
    import imagecodecs

    check_stream(_TIFF_SCHEMES[ets.compression], stored, ets.tile_height, ets.tile_width)
    if ets.compression == JPEG_2000:
        found: NDArray[np.uint8] = imagecodecs.jpeg2k_decode(stored)
        return found
    if _JPEG_END not in stored:
        # The JPEG library would fill what is missing with grey.
        raise MicrographError("is cut short within its JPEG data; copy it again")
    unpacked: NDArray[np.uint8] = imagecodecs.jpeg8_decode(stored)
    return unpacked


def _file_of(image: VsiImage, path: Path, files: tuple[Path, ...]) -> Path:
    """The one file that holds the pixels of the image."""
    folder = f"{pixel_folder(path).name}/stack{image.number}"
    if not files:
        raise MicrographError(
            f"keeps the pixels of {image.name} in {folder}/frame_t.ets, which is not there",
            hint=f"Copy the folder {pixel_folder(path).name} along, to beside this file",
        )
    if len(files) > 1:
        raise MicrographError(
            f"has {len(files)} files of pixels in {folder}; expected one", hint=_HINT
        )
    return files[0]


def _planes(image: VsiImage, ets: Ets) -> dict[tuple[int, int], Tiles]:
    """The tiles of every (time, focal plane)."""
    further = ets.places.shape[1] - 2
    axes = (*image.axes, *(None,) * further)[:further]
    planes: dict[tuple[int, int], Tiles] = defaultdict(dict)
    for axis, meaning in enumerate(axes):
        count = len(set(ets.places[:, 2 + axis].tolist()))
        if count > 1 and meaning not in (FOCAL_PLANE, TIME):
            word = channels_word(meaning)
            raise MicrographError(
                f"holds {image.name} with {count} {word or 'unnamed plane'}s; expected one, grey "
                "or colour",
                hint="Choose one in cellSens and save it as a file of its own",
            )
    ats = zip(ets.places.tolist(), ets.positions.tolist(), ets.sizes.tolist(), strict=True)
    for (column, row, *others), position, size in ats:
        where = dict(zip(axes, others, strict=True))
        tiles = planes[where.get(TIME, 0), where.get(FOCAL_PLANE, 0)]
        if (column, row) in tiles:
            raise MicrographError(
                f"is damaged: {image.name} has two tiles at column {column}, row {row}; "
                "copy it again"
            )
        tiles[column, row] = position, size
    return planes
