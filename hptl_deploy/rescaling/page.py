"""A page that the network sees at another pixel size: which part of it, when, in which memory.

read     own rows            [rows, W, 3]     for the overlay, and to be resampled
see      seen rows           [rows', W', 3]   for the network, with its halos
infer    a part of what is seen               begins on the stride's grid
back     own rows of a band, or the page      what is written
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from hptl_deploy.rescaling.grid import Grid
from hptl_deploy.tiling import FramePlan, Region

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Seen:
    """What the network is given of a page, or of a band of it."""

    pixels: NDArray[np.uint8]
    """[rows, W, 3], RGB."""
    plan: FramePlan
    area: Region
    """What its answer is kept of."""
    rows: Region
    """What `pixels` are: `area`, with the halos above and below where it is a band."""


@dataclass(frozen=True)
class PartsPlan(FramePlan):
    """Of a page whose bands are given one by one, because they are bands of another grid.

    `band` is the rows of the largest.
    """

    parts: tuple[tuple[int, int], ...] = ()
    """First row, on the stride's grid, and the row behind the last: on it, too, or the page's."""
    own_band: int = 0
    """Rows of the bands that these belong to, on the micrograph's own grid."""

    @property
    def areas(self) -> list[Region]:
        """The bands from top to bottom; they may share rows."""
        return [Region(top, bottom, 0, self.width) for top, bottom in self.parts]

    @property
    def reads(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """As of any plan: rows from top to bottom, columns from left to right."""
        padded = self.padded
        rows, columns = self.core or padded.shape
        ends = tuple((top, padded.height if end >= self.height else end) for top, end in self.parts)
        whole = FramePlan(self.height, self.width, self.stride, self.halo, (padded.height, columns))
        return _reads(ends, padded.height, rows, self.halo), whole.reads[1]


@lru_cache(maxsize=256)
def _reads(
    parts: tuple[tuple[int, int], ...], height: int, rows: int, halo: int
) -> tuple[int, ...]:
    """How many rows are read at a time, of a padded frame of `height` cut into cores of `rows`."""
    return tuple(
        min(height, min(start + rows, end) + halo) - max(0, start - halo)
        for top, end in parts
        for start in range(top, end, rows)
    )


@dataclass(frozen=True)
class Rescaled:
    """How a page is brought to the pixel size that the network knows, and back."""

    grid: Grid
    plan: FramePlan
    """Of what the network sees, whole or in the parts that belong to the bands of the page."""
    held: int
    """Bytes that the page, or a band, takes between decoding and writing."""

    def pixel_size_um(self, own_um: float) -> float:
        """Of what the network sees, where the micrograph's own is `own_um`."""
        return own_um / float(self.grid.ratio)

    @property
    def own_plan(self) -> FramePlan:
        """The page's bands, or all of it, on its own grid."""
        own, seen = self.grid, self.plan
        band = seen.own_band if isinstance(seen, PartsPlan) else None
        return FramePlan(own.height, own.width, seen.stride, seen.halo, None, band)

    @property
    def reading(self) -> tuple[int, int]:
        """Rows that are read at a time, at most, and how many of them are read twice, at most."""
        read = [self.own_rows(area) for area in self.own_plan.areas]
        twice = [above.y1 - below.y0 for above, below in pairwise(read)]
        return max(rows.height for rows in read), max([0, *twice])

    def part(self, area: Region) -> Region:
        """What the network answers for an own `area`, which is the page or one of its bands."""
        if self.plan.band is None:
            return self.plan.areas[0]
        return Region(*part_rows(self.grid, self.plan.stride, area), 0, self.plan.width)

    def own_rows(self, area: Region) -> Region:
        """The rows of the micrograph that are read for an own `area`."""
        seen = self.plan.rows_for(self.part(area))
        return Region(*self.grid.own_rows(seen.y0, seen.y1), 0, self.grid.width)

    def see(self, pixels: NDArray[np.uint8], area: Region) -> Seen:
        """What the network is given for an own `area`, from its `own_rows`, uint8 [rows, W, 3]."""
        part = self.part(area)
        rows = self.plan.rows_for(part)
        return Seen(self.grid.resample(pixels, rows.y0, rows.y1), self.plan, part, rows)

    def bring_back(self, answer: NDArray[np.uint8], area: Region) -> NDArray[np.uint8]:
        """The network's answer for an own `area`, uint8 [part], on that area's own pixels."""
        return self.grid.bring_back(answer, self.part(area).y0, area)


def part_rows(grid: Grid, stride: int, area: Region) -> tuple[int, int]:
    """The seen rows with the classes of an own `area`, out to the stride's grid or the page's end.

    They begin on it so that pooling windows fall where they fall in the whole page.
    """
    top, bottom = grid.seen_rows(area.y0, area.y1)
    return top // stride * stride, min(grid.seen[0], -(-bottom // stride) * stride)
