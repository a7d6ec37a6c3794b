"""A frame on its way through the engine: its tiles, and the maps that their answers fill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.tiling import FramePlan, Region, Tile, read_padded, regions_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Filling:
    """Pixels of a page, or of a band of it, and the maps that are being filled in."""

    def __init__(
        self, pixels: NDArray[np.uint8], plan: FramePlan, area: Region, rows: Region
    ) -> None:
        """`pixels` are the page's `rows`, uint8 [rows, W, 3]; `area` is what is filled.

        Raises MemoryError.
        """
        self.plan, self.area, self.rows = plan, area, rows
        self._read = regions_of(pixels)
        self.classes = np.empty(area.shape, np.uint8)
        """[H, W] of the area."""
        self.confidence = np.empty(area.shape, np.uint8)
        self.left = 0
        """Tiles without an answer."""

    def cut(self, core: tuple[int, int] | None) -> list[Piece]:
        """All its tiles, with cores of `core` or the plan's own, none of them answered."""
        pieces = [Piece(self, tile) for tile in self.plan.tiles(self.area, core)]
        self.left = len(pieces)
        return pieces

    def pixels(self, tile: Tile) -> NDArray[np.uint8]:
        """What the engine is given of `tile`: uint8 [rows, columns, 3]."""

        def read(region: Region) -> NDArray[np.uint8]:
            return self._read(region.relative_to(self.rows))

        return read_padded(read, tile.read, self.plan.height, self.plan.width)

    def fill(self, tile: Tile, classes: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> None:
        """Keep the inside of an answer to `tile`, uint8 [rows, columns] each."""
        place = tile.write.relative_to(self.area).slices
        self.classes[place] = classes[tile.keep.slices]
        self.confidence[place] = confidence[tile.keep.slices]
        self.left -= 1


@dataclass(eq=False)
class Piece:
    """A tile of a frame, for the engine."""

    filling: Filling
    tile: Tile
    alone: bool = False
    """It shares no batch: one that it was in has failed."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) that the engine is given."""
        return self.tile.read.shape

    def pixels(self) -> NDArray[np.uint8]:
        """uint8 [rows, columns, 3]."""
        return self.filling.pixels(self.tile)
