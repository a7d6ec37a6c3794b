"""Zeiss CZI, decoded by pylibCZIrw (optional).

Every scene, time and focal plane is a page (any further dimension, too), in that order; the tiles
of a scene are put together by the library, region by region. What no tile covers is black, and one
of the page's `gaps`. Tiles of the pyramid, the preview and the label are no pages.

A page has one channel, grey or colour. Several are refused: which of them would be red, green and
blue is a matter of display, and a network learnt from other colours would not notice.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import limits
from hptl_deploy.micrographs.czi_directory import Tile, check_tile, read_directory
from hptl_deploy.micrographs.czi_metadata import CziMetadata, parse
from hptl_deploy.micrographs.decoded import DecodedMicrograph, DecodedPage
from hptl_deploy.micrographs.gaps import gaps_between
from hptl_deploy.tiling import Region

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INSTALL = 'pip install "hptl-deploy[czi]"'
_ORDER = "STZ"
"""Dimensions of the pages, slowest first; further ones follow by name."""
_SPARSEST = 0.01
"""Share of a page that its tiles cover at least."""


class _Library(Protocol):
    """What is used of pylibCZIrw."""

    def read(
        self,
        roi: tuple[int, int, int, int],
        plane: dict[str, int],
        scene: int | None,
        *,
        pixel_type: str,
    ) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """Of x, y, width and height: [height, width, 1 or 3], a view of the library's memory."""

    def close(self) -> None: ...


class CziMicrograph(DecodedMicrograph):
    """A CZI file; the library opens it a second time, by name."""

    def __init__(self, path: Path, handle: BinaryIO) -> None:
        super().__init__(path, handle)
        tiles, xml = read_directory(handle)
        groups: dict[tuple[tuple[str, int], ...], list[Tile]] = defaultdict(list)
        for tile in tiles:
            groups[_place(tile)].append(tile)
        if len({tuple(axis for axis, _ in place) for place in groups}) > 1:
            raise MicrographError(
                "is damaged: its tiles do not have the same dimensions; copy it again"
            )
        metadata = parse(xml)
        self.pages = [
            CziPage(self, index, groups[place], metadata)
            for index, place in enumerate(sorted(groups, key=lambda place: [at for _, at in place]))
        ]
        self.reader = _reader(path)

    def close(self) -> None:
        """See `DecodedMicrograph.close`."""
        if not self.handle.closed:
            self.reader.close()
        super().close()


class CziPage(DecodedPage):
    """One scene at one time in one focal plane."""

    micrograph: CziMicrograph
    decodes_regions = True

    def __init__(
        self, micrograph: CziMicrograph, index: int, tiles: list[Tile], metadata: CziMetadata
    ) -> None:
        left, top = min(tile.x for tile in tiles), min(tile.y for tile in tiles)
        width = max(tile.x + tile.width for tile in tiles) - left
        height = max(tile.y + tile.height for tile in tiles) - top
        super().__init__(micrograph, index, height, width, metadata.calibration)
        self._left, self._top, self._tiles = left, top, tiles
        self._plane = tiles[0].plane
        self._kind = tiles[0].pixel_type
        self._check_channels()
        covered = sum(tile.width * tile.height for tile in tiles)
        if covered < _SPARSEST * width * height:
            raise MicrographError(
                f"has a page of {width} x {height} pixels of which its tiles cover "
                f"{100 * covered / (width * height):.2g} %; copy it again, or export its scenes "
                "one by one"
            )
        self.gaps = gaps_between([self._placed(tile) for tile in tiles], height, width)
        channel = self._plane.get("C", 0)
        self._depth = metadata.significant_bits(channel, self._kind.bits)
        self._largest_tile = max(tile.decoded_bytes for tile in tiles)

    def _placed(self, tile: Tile) -> Region:
        """In the page's own coordinates."""
        x, y = tile.x - self._left, tile.y - self._top
        return Region(y, y + tile.height, x, x + tile.width)

    @property
    def piece_rows(self) -> int:
        """See `DecodesRows`: the tallest tile's."""
        return max(tile.height for tile in self._tiles)

    def decoding_bytes(self, rows: int) -> int:
        """See `DecodesRows`."""
        # The library's picture, its levels and RGB; of one tile what is stored, and its pixels.
        composed = min(rows, self.height) * self.width * (self._kind.pixel_bytes + 3 + 3)
        return composed + 2 * self._largest_tile

    def decode(self, region: Region) -> NDArray[np.uint8]:
        """See `DecodedPage.decode`."""
        import numpy as np

        from hptl_deploy.micrographs.pixels import look_up, scaling_table, to_rgb

        if 0 in region.shape:
            return np.empty((*region.shape, 3), np.uint8)
        limits.check_memory(self.width, self.height, self.decoding_bytes(region.height))
        x, y = self._left + region.x0, self._top + region.y0
        for tile in self._tiles:
            if (
                tile.x < x + region.width
                and x < tile.x + tile.width
                and tile.y < y + region.height
                and y < tile.y + tile.height
            ):
                check_tile(self.micrograph.handle, tile)
        samples = self.micrograph.reader.read(
            roi=(x, y, region.width, region.height),
            plane={axis: at for axis, at in self._plane.items() if axis != "S"},
            scene=self._plane.get("S"),
            pixel_type=self._kind.name,
        )
        if samples.shape != (*region.shape, self._kind.colours):
            raise MicrographError(
                f"decodes to pixels of the shape {samples.shape}, expected "
                f"{(*region.shape, self._kind.colours)}; export it again"
            )
        levels = (
            samples.view(np.uint8)
            if self._kind.bits == 8
            else look_up(scaling_table(self._kind.bits, self._depth), samples)
        )
        return to_rgb(levels[..., ::-1])  # blue, green, red

    def _check_channels(self) -> None:
        channels = {tile.plane.get("C", 0) for tile in self._tiles}
        if len(channels) > 1:
            raise MicrographError(
                f"holds {len(channels)} channels; expected one, grey or colour",
                hint="Choose one in ZEN and save it as a file of its own",
            )
        if len({tile.pixel_type for tile in self._tiles}) > 1:
            raise MicrographError(
                "holds tiles of different pixel types in one picture; convert it to one in ZEN"
            )


def _place(tile: Tile) -> tuple[tuple[str, int], ...]:
    axes = sorted(tile.plane.keys() - {"C"}, key=lambda axis: (f"{_ORDER}{axis}".index(axis), axis))
    return tuple((axis, tile.plane[axis]) for axis in axes)


def _reader(path: Path) -> _Library:
    try:
        from pylibCZIrw.czi import CziReader
    except ImportError as exc:
        raise MicrographError(
            "is a Zeiss CZI file, and the package that reads these is not installed here",
            hint=f"Install it: {INSTALL}",
        ) from exc
    return cast("_Library", CziReader(str(path)))
