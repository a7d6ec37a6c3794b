"""Particles of a class map as runs: stretches of one phase within one row.

A particle is a set of pixels of one phase that hang together through their sides or corners
(8-connectivity). Runs say all that is measured of it in a small part of the pixels' room, and
particles of a map that comes in bands are joined from the runs of its bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from numpy.typing import NDArray


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


def runs_of(classes: NDArray[np.uint8], phases: int) -> Runs:
    """The particles of a class map [H, W] of `phases` classes; every index above is left out."""
    row, start, end, phase = row_runs(classes, phases)
    return joined(row, start, end, phase)


def row_runs(
    classes: NDArray[np.uint8], phases: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]:
    """Row, start, end and phase of the runs of a class map [H, W], not joined to particles."""
    height, width = classes.shape
    changes = np.empty((height, width + 1), np.bool_)
    changes[:, [0, -1]] = True
    np.not_equal(classes[:, 1:], classes[:, :-1], out=changes[:, 1:-1])
    row, column = np.nonzero(changes)
    within = np.flatnonzero(column < width)  # the last change of a row begins nothing
    row, start, end = row[within], column[within], column[within + 1]
    phase = classes[row, start]
    kept = (phase > 0) & (phase < phases)
    return (
        row[kept].astype(np.int32),
        start[kept].astype(np.int32),
        end[kept].astype(np.int32),
        phase[kept],
    )


def joined(
    row: NDArray[np.int32],
    start: NDArray[np.int32],
    end: NDArray[np.int32],
    phase: NDArray[np.uint8],
) -> Runs:
    """Runs [R] in scan order, joined to particles."""
    upper, lower = touching_pairs(row, start, end, phase)
    graph = coo_array((np.ones(len(upper), np.bool_), (upper, lower)), (len(row), len(row)))
    if not len(row):
        return Runs(row, start, end, phase, np.empty(0, np.int32), 0)
    count, label = connected_components(graph, directed=False)
    _, first = np.unique(label, return_index=True)
    number = np.empty(count, np.int32)
    number[np.argsort(first)] = np.arange(count, dtype=np.int32)
    return Runs(row, start, end, phase, number[label], int(count))


def touching_pairs(
    row: NDArray[np.int32],
    start: NDArray[np.int32],
    end: NDArray[np.int32],
    phase: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (upper, lower) of runs of one phase in neighbouring rows that touch, corners too.

    Places in the lists of runs [R], which are in scan order within each phase.
    """
    uppers, lowers = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for index in np.unique(phase):
        of_phase = np.flatnonzero(phase == index)
        upper, lower = _pairs(row[of_phase], start[of_phase], end[of_phase])
        uppers.append(of_phase[upper])
        lowers.append(of_phase[lower])
    return np.concatenate(uppers), np.concatenate(lowers)


def _pairs(
    row: NDArray[np.int32], start: NDArray[np.int32], end: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    # Starts and ends rise along a row, so one key of row and column makes them rise over all.
    # A run below touches when its end reaches our start and its start does not pass our end.
    step = int(end.max()) + 3
    below = (row.astype(np.int64) + 1) * step
    keys = row.astype(np.int64) * step
    first = np.searchsorted(keys + end, below + start, side="left")
    behind = np.searchsorted(keys + start, below + end, side="right")
    number = behind - first
    upper = np.repeat(np.arange(len(row)), number)
    offset = np.arange(len(upper)) - np.repeat(np.cumsum(number) - number, number)
    return upper, np.repeat(first, number) + offset


def label_image(runs: Runs, shape: tuple[int, int]) -> NDArray[np.uint16] | NDArray[np.int32]:
    """Particle + 1 at every pixel of a particle, 0 elsewhere [H, W].

    uint16 up to 65535 particles, int32 above.
    """
    dtype = np.uint16 if runs.count <= np.iinfo(np.uint16).max else np.int32
    labels = np.zeros(shape, dtype)
    length = (runs.end - runs.start).astype(np.int64)
    begin = runs.row.astype(np.int64) * shape[1] + runs.start
    place = np.arange(length.sum()) + np.repeat(begin - (np.cumsum(length) - length), length)
    labels.reshape(-1)[place] = np.repeat(runs.particle + 1, length)
    return labels
