"""The particles of a page, numbered as in the particle table, from a class map that comes in bands.

Numbers follow the particles' first pixels, so they are known only when the last band has been seen.
The map is therefore gone through once for the numbers, of which one is kept for each particle of
each band, and again for each format; what is in memory meanwhile is a band and the particles that
reach beyond it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.measurement.runs import Runs, connected, of_one_phase, runs_of
from hptl_deploy.segmentation.mosaics.band import BandedRows

if TYPE_CHECKING:
    from numpy.typing import NDArray


_AT_ONCE = 1 << 18
"""Runs of a group, about."""


@dataclass(frozen=True)
class Group:
    """Particles that are complete."""

    runs: Runs
    """Of all of them, rows from the top of the page; particles are places in `numbers`."""
    numbers: NDArray[np.int32]
    """Their numbers, ascending, from 0."""


class Numbered:
    """The particles of a page, for as many formats as there are."""

    def __init__(self, classes: BandedRows, phases: int) -> None:
        """`classes` is a class map of `phases` phases; it is read here, and for every format."""
        self._banded, self._rows = classes
        self._phases = phases
        self._kept: Runs | None = None
        self._numbers, self._first = self._look()
        self.count = int(self._numbers.max(initial=-1)) + 1
        """Of all particles."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the page."""
        return self._banded.shape(0)

    def bands(self) -> Iterator[tuple[int, Runs]]:
        """Rows and runs of every band; the runs' rows begin at 0, their particles are numbers."""
        for index, (height, runs) in enumerate(self._local()):
            particle = self._numbers[self._first[index] + runs.particle]
            yield height, replace(runs, particle=particle, count=self.count)

    def groups(self) -> Iterator[Group]:
        """All particles, each when its last row has come."""
        top, page = 0, self.shape[0]
        waiting = Runs.none()
        for height, band in self.bands():
            below = replace(band, row=band.row + np.int32(top))
            top += height
            runs = Runs.together(waiting, below)
            grows = np.zeros(self.count, np.bool_)
            if top < page:
                grows[runs.particle[runs.row == top - 1]] = True
            waits = grows[runs.particle]
            waiting = runs.at(waits)
            yield from _groups(runs.at(~waits))

    def _local(self) -> Iterator[tuple[int, Runs]]:
        """Rows of every band, and its runs as if it were a page."""
        if self._kept is not None:
            yield self.shape[0], self._kept
            return
        for rows in self._rows(0):
            runs = runs_of(rows, self._phases)
            if len(rows) == self.shape[0]:
                self._kept = runs  # all there is
            yield len(rows), runs

    def _look(self) -> tuple[NDArray[np.int32], list[int]]:
        """Number of every particle of every band, and where each band's begin among them."""
        first: list[int] = []
        joints: list[NDArray[np.int64]] = [np.empty((2, 0), np.int64)]
        count, above, ids = 0, Runs.none(), np.empty(0, np.int64)
        for height, runs in self._local():
            top, last = runs.row == 0, runs.row == height - 1
            upper, lower = of_one_phase(above, runs.at(top))
            joints.append(np.stack([ids[upper], count + runs.particle[top][lower]]))
            above = replace(runs.at(last), row=np.full(int(last.sum()), -1, np.int32))
            ids = count + runs.particle[last].astype(np.int64)
            first.append(count)
            count += runs.count
        upper, lower = np.concatenate(joints, axis=1)
        # Pieces are in scan order already, band by band.
        return connected((upper, lower), count)[0], first


def _groups(runs: Runs) -> Iterator[Group]:
    """Complete particles in order, some at a time: outlines take many times their runs' room."""
    numbers, place = np.unique(runs.particle, return_inverse=True)
    behind = np.cumsum(np.bincount(place, minlength=len(numbers)))
    share = (behind - 1) // _AT_ONCE
    for one in np.unique(share):
        within = share[place] == one
        first = int(np.argmax(share == one))
        particle = (place[within] - first).astype(np.int32)
        chosen = numbers[share == one]
        yield Group(replace(runs.at(within), particle=particle, count=len(chosen)), chosen)
