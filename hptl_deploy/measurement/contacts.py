"""Where runs meet what is not known: the frame's border and pixels that are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.measurement.runs import RowRuns, touching

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Contacts:
    """Of R runs."""

    cut: NDArray[np.bool_]
    """[R], whether the run lies at the border, or shares a side or a corner with what is left
    out."""
    unseen: NDArray[np.int64]
    """[R], pixel sides of the run, its two ends, top and bottom, at the border or what is left
    out: nobody can tell whether the phase ends there."""

    def __add__(self, other: Contacts) -> Contacts:
        return Contacts(self.cut | other.cut, self.unseen + other.unseen)

    def at(self, places: NDArray[np.bool_]) -> Contacts:
        """Of the runs in the mask `places` [R]."""
        return Contacts(self.cut[places], self.unseen[places])

    @staticmethod
    def together(one: Contacts, other: Contacts) -> Contacts:
        """Of runs, and of those behind them."""
        return Contacts(
            np.concatenate([one.cut, other.cut]), np.concatenate([one.unseen, other.unseen])
        )

    @staticmethod
    def none(count: int) -> Contacts:
        """Of `count` runs that meet nothing."""
        return Contacts(np.zeros(count, np.bool_), np.zeros(count, np.int64))


def with_border(runs: RowRuns, height: int, width: int) -> Contacts:
    """With the border of a frame of `height` x `width` px."""
    ends = (runs.start == 0).astype(np.int64) + (runs.end == width)
    flat = (runs.row == 0).astype(np.int64) + (runs.row == height - 1)
    unseen = ends + flat * runs.length
    return Contacts(unseen > 0, unseen)


def with_left_out(runs: RowRuns, left_out: RowRuns) -> Contacts:
    """With the runs `left_out`."""
    found = Contacts.none(len(runs))
    if not len(left_out):
        return found
    for down in (-1, 0, 1):
        mine, its = touching(runs, left_out, down)
        found.cut[mine] = True
        sides = overlap(runs, mine, left_out, its) if down else np.ones(len(mine), np.int64)
        np.add.at(found.unseen, mine, sides)
    return found


def overlap(
    one: RowRuns,
    mine: NDArray[np.int64],
    other: RowRuns,
    its: NDArray[np.int64],
    shift: int = 0,
) -> NDArray[np.int64]:
    """Columns [P] that pairs of runs share, those of `other` moved right by `shift`."""
    start = np.maximum(one.start[mine], other.start[its] + shift)
    end = np.minimum(one.end[mine], other.end[its] + shift)
    shared: NDArray[np.int64] = np.maximum(end - start, 0).astype(np.int64)
    return shared
