"""Left-out pixels of a page, or of a band of it: 255 in the class map, and in words.

Given regions and the mask are the user's, the same for every micrograph; gaps are the file's; what
is burnt in has been found in the pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hptl_deploy.left_out.given import LeaveOut, placed
from hptl_deploy.phases import IGNORE
from hptl_deploy.tiling import Region

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class BurntIn:
    """Something that was printed into a micrograph after it was taken."""

    what: str
    """`scale bar` or `info band`."""
    region: Region
    """All of it with a margin, in the page's coordinates."""

    def __str__(self) -> str:
        return f"{self.what} {placed(self.region)}"


@dataclass(frozen=True)
class Searched:
    """What a search for scale bars and info bands has come to."""

    found: tuple[BurntIn, ...] = ()
    rows: int | None = None
    """So many at the top and as many at the bottom were searched; None: all, or none at all."""


@dataclass(frozen=True)
class LeftOut:
    """Everything that is left out of one page of `height` x `width` px."""

    height: int
    width: int
    given: LeaveOut
    gaps: tuple[Region, ...]
    searched: Searched = Searched()

    def mark(self, classes: NDArray[np.uint8], confidence: NDArray[np.uint8], area: Region) -> None:
        """Make both maps of `area`, [h, w], 255 and 0 where pixels are left out; in place."""
        for region in self._regions():
            inside = region.shared_with(area)
            if inside is not None:
                rows = inside.relative_to(area).slices
                classes[rows], confidence[rows] = IGNORE, 0
        if self.given.mask is not None:
            masked = self.given.mask.of(area)
            classes[masked], confidence[masked] = IGNORE, 0

    def words(self) -> str:
        """`scale bar 612 x 88 px at (1890, 1780); bottom 120 rows`; empty where it is nothing."""
        words = [str(one) for one in self.searched.found]
        words += [what for what, _ in self.given.regions(self.height, self.width)]
        if self.given.mask is not None:
            words.append(f"mask {self.given.mask.name}")
        if self.gaps:
            words.append(f"gaps between tiles {sum(g.height * g.width for g in self.gaps)} px")
        if self.searched.rows is not None:
            rows = self.searched.rows
            words.append(f"scale bars looked for in the top and bottom {rows} rows alone")
        return "; ".join(words)

    def _regions(self) -> Iterator[Region]:
        yield from (one.region for one in self.searched.found)
        yield from (region for _, region in self.given.regions(self.height, self.width))
        yield from self.gaps


def left_out_of(
    given: LeaveOut,
    height: int,
    width: int,
    gaps: tuple[Region, ...],
    pixels: NDArray[np.uint8],
) -> LeftOut:
    """What is left out of a page; what is burnt in is looked for in `pixels` of all of it."""
    if given.scale_bar != "auto":
        return LeftOut(height, width, given, gaps)
    from hptl_deploy.left_out.burnt_in import find_burnt_in

    return LeftOut(height, width, given, gaps, Searched(find_burnt_in(pixels)))
