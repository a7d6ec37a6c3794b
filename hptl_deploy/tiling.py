"""Tile, halo and padding geometry: whole before tiles, and tiles equal the whole.

A frame of H x W pixels is filled below and to the right, up to the model's stride,
by repeating its edge pixels. If that fits the memory it goes through in one piece.
Otherwise it is cut into cores that lie on the stride's grid:

      0          core         2 core        padded width
      +-----------+-----------+-------+
      |           |           |       |      write: the core, clipped to H x W
      |      +----+-----------+----+  |
      |      |    :           :    |  |      read:  the core and a halo round it,
      +------+....#############....+--+             clipped to the padded frame
      |      |    #   core    #    |  |
      |      |    #           #    |  |
      +------+....#############....+--+
      |      |<-->:           :    |  |
      |      +halo+-----------+----+  |

The halo is at least the network's reach, so what lies outside a tile's read
rectangle cannot influence its core; the read rectangle starts on the stride's grid,
so the network's pooling windows fall where they fall in the whole frame; and at
the frame's own border the tile ends where the frame ends, so the network's zero
padding is the same. Interiors are kept, nothing is blended.

All coordinates are in pixels of the micrograph, rows before columns, half-open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from hptl_deploy.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Region:
    """A rectangle of pixels: rows y0 to y1, columns x0 to x1, ends excluded."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.y1 - self.y0

    @property
    def width(self) -> int:
        """Columns."""
        return self.x1 - self.x0

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return (self.height, self.width)

    @property
    def slices(self) -> tuple[slice, slice]:
        """For indexing an array [H, W, ...]."""
        return (slice(self.y0, self.y1), slice(self.x0, self.x1))

    def shared_with(self, other: Region) -> Region | None:
        """The pixels of both, if there are any."""
        shared = Region(
            max(self.y0, other.y0), min(self.y1, other.y1),
            max(self.x0, other.x0), min(self.x1, other.x1),
        )  # fmt: skip
        return shared if min(shared.shape) > 0 else None

    def relative_to(self, other: Region) -> Region:
        """The same rectangle with `other`'s upper left corner as origin."""
        return Region(
            self.y0 - other.y0, self.y1 - other.y0, self.x0 - other.x0, self.x1 - other.x0
        )


@dataclass(frozen=True)
class Tile:
    """What is read for one call of the engine and what is kept of its answer."""

    read: Region
    """In the padded frame; may reach beyond the micrograph below and to the right."""
    write: Region
    """In the micrograph."""

    @property
    def keep(self) -> Region:
        """`write`, in the tile's own coordinates."""
        return self.write.relative_to(self.read)


@dataclass(frozen=True)
class FramePlan:
    """How one frame of `height` x `width` pixels goes through an engine."""

    height: int
    width: int
    stride: int
    halo: int
    core: tuple[int, int] | None
    """(rows, columns) of the cores, or None where the frame goes through whole."""
    band: int | None = None
    """Rows of a band, where the frame is read and written band by band; a multiple of the stride.
    None where all of it lies in memory."""

    @property
    def padded(self) -> Region:
        """The frame filled up to the stride."""
        return Region(0, _up(self.height, self.stride), 0, _up(self.width, self.stride))

    @property
    def whole(self) -> bool:
        """True where one call sees the whole frame."""
        return self.core is None

    @property
    def areas(self) -> list[Region]:
        """What is read and written at a time: the frame, or its bands from top to bottom."""
        rows = self.band or self.height
        return [
            Region(top, min(top + rows, self.height), 0, self.width)
            for top in range(0, self.height, rows)
        ]

    def rows_for(self, area: Region) -> Region:
        """The rows of the micrograph that the tiles of one of `areas` read, all its columns."""
        if self.band is None:
            return area
        top, bottom = max(0, area.y0 - self.halo), min(self.height, area.y1 + self.halo)
        return Region(top, bottom, 0, self.width)

    def tiles(
        self, area: Region | None = None, core: tuple[int, int] | None = None
    ) -> Iterator[Tile]:
        """Every tile, row by row; their `write` rectangles cover the frame exactly once.

        Of one of `areas` only, where it is given; `core` takes the place of the plan's own.
        """
        padded = self.padded
        rows, columns = core or self.core or padded.shape
        top, bottom = (0, padded.height) if area is None else (area.y0, area.y1)
        for y in range(top, bottom, rows):
            for x in range(0, padded.width, columns):
                # A core ends with its band, whose last row may lie in the padding.
                below = rows if bottom >= self.height else min(rows, bottom - y)
                yield self.tile_at(y, x, below, columns)

    def tile_at(self, y: int, x: int, rows: int, columns: int) -> Tile:
        """The core of `rows` x `columns` at (y, x), on the stride's grid, read with its halo."""
        padded = self.padded
        # Never empty: the padding is shorter than one stride.
        write = Region(y, min(y + rows, self.height), x, min(x + columns, self.width))
        read = Region(
            max(0, y - self.halo),
            min(padded.height, y + rows + self.halo),
            max(0, x - self.halo),
            min(padded.width, x + columns + self.halo),
        )
        return Tile(read, write)

    @property
    def reads(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What is read at a time: rows from top to bottom of all areas, columns from left to right.

        Every tile has one of these heights and one of these widths, and every pair is a tile's.
        """
        rows, columns = self.core or self.padded.shape
        return (
            _reads(self.padded.height, rows, self.halo, self.band),
            _reads(self.padded.width, columns, self.halo),
        )

    @property
    def largest_read(self) -> tuple[int, int]:
        """(rows, columns) of the largest tile that is read."""
        down, across = self.reads
        return max(down), max(across)


def plan_frame(
    height: int,
    width: int,
    *,
    stride: int,
    halo: int,
    tile: int | None = None,
    bytes_per_pixel: float = 0.0,
    budget_bytes: float = math.inf,
    takes: Callable[[int, int], bool] = lambda rows, columns: True,
) -> FramePlan:
    """Decide how a frame goes through: whole if it fits, else in tiles.

    `tile` is the side of a square core in pixels and forces tiling; without it the
    largest core whose tile (core and halos) needs at most `budget_bytes` is taken,
    and cores are then evened out over the frame. `takes` says which (rows, columns) an
    engine that was built for certain shapes can be given.

    Raises UsageError when `tile` is not a positive multiple of `stride` or makes tiles that the
    engine does not take, and when not even the smallest tile fits.
    """
    padded = (_up(height, stride), _up(width, stride))

    def taken(core: tuple[int, int]) -> bool:
        down, across = (set(_reads(*axis, halo)) for axis in zip(padded, core, strict=True))
        return all(takes(rows, columns) for rows in down for columns in across)

    if tile is not None:
        check_core(tile, stride)
        if not taken((tile, tile)):
            raise UsageError(
                f"--tile {tile}: the engine was not built for tiles of that size and their halos "
                f"({halo} px)",
                hint="Choose a smaller --tile, or leave it out",
            )
        return FramePlan(height, width, stride, halo, (tile, tile))
    if padded[0] * padded[1] * bytes_per_pixel <= budget_bytes and takes(*padded):
        return FramePlan(height, width, stride, halo, None)
    # From the largest core down; a frame's own border cuts tiles short, so that a long thin
    # one may go in few pieces.
    for largest in range(max(padded), 0, -stride):
        rows, columns = (_longest_read(length, largest, halo) for length in padded)
        if rows * columns * bytes_per_pixel <= budget_bytes:
            core = (even_core(padded[0], largest, stride), even_core(padded[1], largest, stride))
            if taken(core):
                return FramePlan(height, width, stride, halo, core)
    raise UsageError(
        f"the smallest tile ({stride} px and a halo of {halo} px) needs "
        f"{rows * columns * bytes_per_pixel / 2**20:.0f} MiB, but only "
        f"{budget_bytes / 2**20:.0f} MiB are planned for inference",
        hint="Close other programs or use a narrower model",
    )


def check_core(tile: int, stride: int) -> None:
    """Raise UsageError unless `tile` can be the side of a core."""
    if tile < stride or tile % stride:
        raise UsageError(
            f"--tile {tile}: expected a positive multiple of the model's stride, {stride} px",
            hint=f"Try --tile {max(stride, round(tile / stride) * stride)}",
        )


def read_padded(
    read: Callable[[Region], NDArray[np.uint8]], region: Region, height: int, width: int
) -> NDArray[np.uint8]:
    """Read `region` of the padded frame, uint8 [rows, columns, 3].

    `read` returns uint8 [rows, columns, 3] for rectangles inside the micrograph
    (`height` x `width`); rows and columns beyond it repeat the edge pixels.
    """
    import numpy as np

    inside = Region(region.y0, min(region.y1, height), region.x0, min(region.x1, width))
    pixels = read(inside)
    below, right = region.y1 - inside.y1, region.x1 - inside.x1
    if below or right:
        pixels = np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="edge")
    return np.ascontiguousarray(pixels)


def _longest_read(length: int, core: int, halo: int) -> int:
    """The longest read along one axis: both halos where a core has neighbours on both sides."""
    return max(_reads(length, core, halo))


@lru_cache(maxsize=256)
def _reads(length: int, core: int, halo: int, band: int | None = None) -> tuple[int, ...]:
    """The lengths that are read along one axis, one after another; a core ends with its band."""
    found = []
    for top in range(0, length, band or length):
        bottom = min(top + (band or length), length)
        for start in range(top, bottom, core):
            end = min(start + core, bottom)
            found.append(min(length, end + halo) - max(0, start - halo))
    return tuple(found)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def regions_of(pixels: NDArray[np.uint8]) -> Callable[[Region], NDArray[np.uint8]]:
    """The `read` of a micrograph that lies in memory, uint8 [H, W, 3]; views, not copies."""
    return lambda region: pixels[region.slices]


def even_core(length: int, largest: int, stride: int) -> int:
    """The side, at most `largest`, that cuts `length` into equal pieces, up to the stride."""
    pieces = math.ceil(length / largest)
    return _up(math.ceil(length / pieces), stride)
