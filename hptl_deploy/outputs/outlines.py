"""Outlines of particles along the edges of their pixels, from runs.

Going round a particle with its pixels on the right, one goes up the left edge of a run and down
the right edge; which edge comes next follows from the neighbouring runs alone:

        +--j--+                 up the left edge of i, to the left below j,
        |     +-----+           up the left edge of j, to the right, ...
        +--+     i  |
           +--------+

A particle's pixels may touch at corners only (8-connectivity). No valid polygon goes twice through
one point, so such a particle is several polygons: one for each part that hangs together through
sides. Where a part touches itself at a corner, the ring goes round the gap, so that the gap, if it
is closed, is a hole with a ring of its own (OGC 06-103r4, 6.1.11: rings are simple, and may touch
each other at points).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.measurement.runs import Runs, connected, of_one_phase
from hptl_deploy.outputs.numbering import Numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Part:
    """One polygon of a particle.

    Rings are corners int32 [N, 2] as (x, y) in px from the upper left corner of the image; the
    first corner is not repeated at the end.
    """

    exterior: NDArray[np.int32]
    """Clockwise on a screen, so of positive area in its numbers."""
    holes: tuple[NDArray[np.int32], ...]
    """Each the other way round."""


def outlines(runs: Runs) -> Iterator[list[Part]]:
    """The parts of every particle, in the order of the particles; parts in scan order."""
    if not runs.count:
        return
    edges = _Edges(runs)
    order, lengths = _rings(edges.following())
    rings = np.split(*edges.corners(order, lengths))
    part_of = edges.part[order[np.cumsum(lengths) - lengths] % len(edges.part)]
    # Parts, and the rings of one, come in the order of their first runs: the exterior first.
    begins = np.flatnonzero(np.diff(part_of, prepend=-1))
    parts = np.append(begins, len(part_of)).tolist()
    behind = np.cumsum(np.bincount(edges.particle_of_part, minlength=runs.count)).tolist()
    first = 0
    for last in behind:
        yield [
            Part(rings[parts[one]], tuple(rings[parts[one] + 1 : parts[one + 1]]))
            for one in range(first, last)
        ]
        first = last


class _Edges:
    """The left edges (0 to R - 1) and right edges (R to 2 R - 1) of runs sorted by part."""

    def __init__(self, runs: Runs) -> None:
        part, self.particle_of_part = _parts(runs)
        # Runs are in scan order already, and sorting keeps it within a part.
        order = np.argsort(part, kind="stable")
        self.part = part[order]
        self._row = runs.row[order].astype(np.int64)
        self._start = runs.start[order].astype(np.int64)
        self._end = runs.end[order].astype(np.int64)
        step = int(self._end.max()) + 2
        rows = int(self._row.max()) + 3
        self._line = (self.part.astype(np.int64) * rows + self._row + 1) * step
        self._step = step
        self._starts, self._ends = self._line + self._start, self._line + self._end

    def following(self) -> NDArray[np.int64]:
        """The edge that comes after each [2 R]."""
        return np.concatenate([self._after_left(), self._after_right()])

    def _after_left(self) -> NDArray[np.int64]:
        """Behind the upper end of left edges."""
        count, own = len(self.part), np.arange(len(self.part))
        line = self._line - self._step  # of the row above
        behind = np.searchsorted(self._starts, line + self._start, side="right")
        above, there = self._at(behind - 1, line)  # begins at or left of our start
        up = there & (self._end[above] >= self._start)
        up &= (self._end[above] > self._start) | (self._start[above] < self._start)
        straight = up & (self._start[above] == self._start)
        # To the left below `above`, as far as that or the run before in our own row.
        before, same = self._at(own - 1, self._line)
        blocked = same & (self._end[before] >= self._start[above])
        leftwards = np.where(blocked, count + before, above)
        # To the right above our own run, to its end or the next run of the row above.
        later, follows = self._at(behind, line)
        met = follows & (self._start[later] <= self._end)
        rightwards = np.where(met, later, count + own)
        return np.where(straight, above, np.where(up, leftwards, rightwards))

    def _after_right(self) -> NDArray[np.int64]:
        """Behind the lower end of right edges: the same, turned by half a circle."""
        count, own = len(self.part), np.arange(len(self.part))
        line = self._line + self._step  # of the row below
        place = np.searchsorted(self._ends, line + self._end, side="left")
        below, there = self._at(place, line)  # ends at or right of our end
        down = there & (self._start[below] <= self._end)
        down &= (self._start[below] < self._end) | (self._end[below] > self._end)
        straight = down & (self._end[below] == self._end)
        after, same = self._at(own + 1, self._line)
        blocked = same & (self._start[after] <= self._end[below])
        rightwards = np.where(blocked, after, count + below)
        earlier, precedes = self._at(place - 1, line)
        met = precedes & (self._end[earlier] >= self._start)
        leftwards = np.where(met, count + earlier, own)
        return np.where(straight, count + below, np.where(down, rightwards, leftwards))

    def _at(
        self, place: NDArray[np.int64], line: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Runs at `place`, and whether they are there and in that `line`."""
        inside = np.clip(place, 0, len(self.part) - 1)
        return inside, (inside == place) & (self._line[inside] == line)

    def corners(
        self, order: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Corners of all rings [N, 2], and where rings behind the first begin among them.

        `order` is the edges ring by ring, `lengths` how many each ring has.
        """
        count = len(self.part)
        begin = np.cumsum(lengths) - lengths
        after = np.roll(order, -1)
        after[begin + lengths - 1] = order[begin]
        run, other = order % count, after % count
        x = np.where(order < count, self._start[run], self._end[run])
        next_x = np.where(after < count, self._start[other], self._end[other])
        y = self._row[run] + (order >= count)
        turns = np.flatnonzero(x != next_x)  # else the next edge goes straight on
        corners = np.empty((len(turns), 2, 2), np.int32)
        corners[:, :, 1] = y[turns, None]
        corners[:, 0, 0], corners[:, 1, 0] = x[turns], next_x[turns]
        numbers = 2 * np.add.reduceat(x != next_x, begin, dtype=np.int64)
        return corners.reshape(-1, 2), np.cumsum(numbers)[:-1]


def _parts(runs: Runs) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Part of every run [R], from 0 in the order of particles, then of first runs; their particles.

    Two runs of neighbouring rows hang together through sides where they share a column.
    """
    upper, lower = of_one_phase(runs, runs)
    side = (runs.start[lower] < runs.end[upper]) & (runs.start[upper] < runs.end[lower])
    number, first = connected((upper[side], lower[side]), len(runs.row))
    order = np.argsort(runs.particle[first], kind="stable")  # parts come by their first runs
    rank = np.empty(len(first), np.int64)
    rank[order] = np.arange(len(first))
    return rank[number], runs.particle[first[order]]


def _rings(following: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All edges, ring by ring in the order of the runs they begin with; how many each ring has."""
    count = len(following) // 2
    after: list[int] = following.tolist()
    seen = bytearray(len(after))
    order: list[int] = []
    lengths: list[int] = []
    for run in range(count):
        for edge in (run, count + run):
            if seen[edge]:
                continue
            before = len(order)
            while not seen[edge]:
                seen[edge] = 1
                order.append(edge)
                edge = after[edge]  # noqa: PLW2901
            lengths.append(len(order) - before)
    return np.array(order, np.int64), np.array(lengths, np.int64)


def particles_of(numbered: Numbered) -> Iterator[tuple[int, int, list[Part]]]:
    """Number from 1, class index and parts of every particle of a page.

    In the order of their numbers where the page is in one piece.
    """
    for group in numbered.groups():
        phase = np.empty(group.runs.count, np.uint8)
        phase[group.runs.particle] = group.runs.phase
        numbers = (group.numbers + 1).tolist()
        yield from zip(numbers, phase.tolist(), outlines(group.runs), strict=True)
