"""Particles of a class map as runs: stretches of one phase within one row.

A particle is a set of pixels of one phase that hang together through their sides or corners
(8-connectivity). Runs say all that is measured of it in a small part of the pixels' room, and
particles of a page that comes in bands are joined from the runs of its bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hptl_deploy.phases import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Pixels looked at once: places of noise take 30 times its pixels' room.
_PIECE = 1 << 20


class Stretches(Protocol):
    """Runs of any kind, R in scan order, as far as it matters where they lie and of what phase."""

    @property
    def row(self) -> NDArray[np.int32]:
        """[R]."""

    @property
    def start(self) -> NDArray[np.int32]:
        """[R]."""

    @property
    def end(self) -> NDArray[np.int32]:
        """[R]."""

    @property
    def phase(self) -> NDArray[np.uint8]:
        """[R]."""


@dataclass(frozen=True)
class Runs:
    """R runs in scan order: from top to bottom, from left to right.

    The matrix (phase 0) and what is left out (255) have none.
    """

    row: NDArray[np.int32]
    """[R], from 0 at the top."""
    start: NDArray[np.int32]
    """[R], first column."""
    end: NDArray[np.int32]
    """[R], the column behind the last."""
    phase: NDArray[np.uint8]
    """[R], class index, from 1."""
    particle: NDArray[np.int32]
    """[R], from 0; particles are numbered in scan order of their first run."""
    count: int
    """Number of particles."""

    def at(self, places: NDArray[Any] | slice) -> Runs:
        """Those at `places`, a mask, indices that ascend or a slice; `count` stays."""
        return Runs(
            self.row[places],
            self.start[places],
            self.end[places],
            self.phase[places],
            self.particle[places],
            self.count,
        )

    @staticmethod
    def together(one: Runs, other: Runs) -> Runs:
        """Both; `other` begins below `one`, and its `count` is that of both."""
        return Runs(
            np.concatenate([one.row, other.row]),
            np.concatenate([one.start, other.start]),
            np.concatenate([one.end, other.end]),
            np.concatenate([one.phase, other.phase]),
            np.concatenate([one.particle, other.particle]),
            other.count,
        )

    @staticmethod
    def none() -> Runs:
        """R = 0."""
        places = np.empty(0, np.int32)
        return Runs(places, places, places, np.empty(0, np.uint8), places, 0)


@dataclass(frozen=True)
class RowRuns:
    """R runs in scan order that are not joined yet, and with them those that are left out (255)."""

    row: NDArray[np.int32]
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    phase: NDArray[np.uint8]
    sure: NDArray[np.uint32]
    """[R], sum of the confidence x 255 over the run's pixels."""

    def __len__(self) -> int:
        return len(self.row)

    @property
    def length(self) -> NDArray[np.int64]:
        """[R], pixels."""
        return (self.end - self.start).astype(np.int64)

    def at(self, places: NDArray[Any] | slice) -> RowRuns:
        """Those at `places`, a mask, indices that ascend or a slice."""
        return RowRuns(*(getattr(self, field.name)[places] for field in fields(self)))

    def lower_by(self, rows: int) -> RowRuns:
        """The same, `rows` further down the page."""
        row = (self.row + rows).astype(np.int32)
        return RowRuns(row, self.start, self.end, self.phase, self.sure)

    @staticmethod
    def together(parts: Sequence[RowRuns]) -> RowRuns:
        """All of them; each part begins below or behind the one before."""
        return RowRuns(
            *(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(RowRuns))
        )

    @staticmethod
    def none() -> RowRuns:
        """R = 0."""
        places = np.empty(0, np.int32)
        return RowRuns(places, places, places, np.empty(0, np.uint8), np.empty(0, np.uint32))


def most_runs(pixels: int) -> int:
    """More runs than this in a page of so many pixels are noise and not particles."""
    return max(1 << 20, pixels // 16)


def runs_of(classes: NDArray[np.uint8], phases: int) -> Runs:
    """The particles of a class map uint8 [H, W].

    Indices 1 to `phases` - 1 have particles; 0 and 255 have none.
    """
    runs = row_runs(classes, np.zeros_like(classes), phases, classes.size)
    assert runs is not None
    runs = runs.at(runs.phase != IGNORE)
    particle, count, _ = joined(runs)
    return Runs(runs.row, runs.start, runs.end, runs.phase, particle, count)


def row_runs(
    classes: NDArray[np.uint8], confidence: NDArray[np.uint8], phases: int, most: int
) -> RowRuns | None:
    """The runs of a class map uint8 [H, W] with its confidence x 255, uint8 [H, W].

    None where there are more than `most`.
    """
    height, width = classes.shape
    rows = max(1, _PIECE // max(1, width))
    found, count = [RowRuns.none()], 0
    for top in range(0, height, rows):
        piece = slice(top, top + rows)
        found.append(_row_runs(classes[piece], confidence[piece], phases).lower_by(top))
        count += len(found[-1])
        if count > most:
            return None
    return RowRuns.together(found)


def _row_runs(classes: NDArray[np.uint8], confidence: NDArray[np.uint8], phases: int) -> RowRuns:
    height, width = classes.shape
    begins = np.empty((height, width), np.bool_)
    begins[:, 0] = True
    np.not_equal(classes[:, 1:], classes[:, :-1], out=begins[:, 1:])
    first = np.flatnonzero(begins)
    behind = np.append(first[1:], height * width)
    phase = classes.ravel()[first]
    sure = np.add.reduceat(confidence.ravel(), first, dtype=np.uint32)
    kept = ((phase > 0) & (phase < phases)) | (phase == IGNORE)
    row, start = np.divmod(first[kept], width)
    return RowRuns(
        row.astype(np.int32),
        start.astype(np.int32),
        (start + (behind - first)[kept]).astype(np.int32),
        phase[kept],
        sure[kept],
    )


Pairs = tuple["NDArray[np.int64]", "NDArray[np.int64]"]
"""Places of P runs in one list [P], and of as many in another [P]."""


def joined(runs: RowRuns) -> tuple[NDArray[np.int32], int, Pairs]:
    """Particle [R] of every run, their number, and the pairs (upper, lower) of runs that touch."""
    pairs = of_one_phase(runs, runs)
    number, first = connected(pairs, len(runs))
    return number, len(first), pairs


def connected(pairs: Pairs, count: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Number [N] of each of `count` pieces of which `pairs` belong together, and the first of each.

    What belongs together is numbered from 0 in the order of its first pieces [M].
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not count:
        return np.empty(0, np.int32), np.empty(0, np.int64)
    graph = coo_array((np.ones(len(pairs[0]), np.bool_), pairs), (count, count))
    found, label = connected_components(graph, directed=False)
    first = np.empty(found, np.int64)
    first[label[::-1]] = np.arange(count)[::-1]  # of several, the last that is assigned stays
    order = np.argsort(first)
    number = np.empty(found, np.int32)
    number[order] = np.arange(found, dtype=np.int32)
    return number[label], first[order]


def of_one_phase(one: Stretches, other: Stretches) -> Pairs:
    """Runs of `one`, and those of `other` a row below, that touch and are of the same phase."""
    upper, lower = touching(one, other, 1)
    same = one.phase[upper] == other.phase[lower]
    return upper[same], lower[same]


def touching(one: Stretches, other: Stretches, down: int) -> Pairs:
    """Runs of `one` and runs of `other`, `down` rows below, that share a side or a corner.

    Of any phases; with `down` 0 they share a side of the pixels at their ends.
    """
    # Starts and ends rise along a row, so with the row in front they rise over all. A run touches
    # when it ends not before the other starts, and starts not behind where the other ends.
    step = int(max(one.end.max(initial=0), other.end.max(initial=0))) + 2
    place = (one.row.astype(np.int64) + down) * step
    places = other.row.astype(np.int64) * step
    first = np.searchsorted(places + other.end, place + one.start, side="left")
    behind = np.searchsorted(places + other.start, place + one.end, side="right")
    number = behind - first
    mine = np.repeat(np.arange(len(one.row)), number)
    offset = np.arange(len(mine)) - np.repeat(np.cumsum(number) - number, number)
    return mine, np.repeat(first, number) + offset


def label_image(runs: Runs, shape: tuple[int, int]) -> NDArray[np.uint16] | NDArray[np.int32]:
    """Particle + 1 at every pixel of a particle, 0 elsewhere [H, W].

    uint16 up to 65535 particles, int32 above.
    """
    dtype = np.uint16 if runs.count <= np.iinfo(np.uint16).max else np.int32
    labels = np.zeros(shape, dtype)
    labels.reshape(-1)[pixels_of(runs, shape[1])] = np.repeat(
        runs.particle + 1, runs.end - runs.start
    )
    return labels


def pixels_of(runs: Stretches, width: int) -> NDArray[np.int64]:
    """Places of the pixels of all runs, one run after another, in a page of `width` columns."""
    length = (runs.end - runs.start).astype(np.int64)
    begin = runs.row.astype(np.int64) * width + runs.start
    before = np.cumsum(length) - length
    places: NDArray[np.int64] = np.arange(length.sum()) + np.repeat(begin - before, length)
    return places
