"""Particles of a page: size, shape and place of each.

docs/measuring.md says what every figure means, by which rule and with which bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.measurement.contacts import Contacts, overlap, with_border, with_left_out
from hptl_deploy.measurement.hulls import hull_figures
from hptl_deploy.measurement.runs import Pairs, RowRuns, joined, most_runs, row_runs
from hptl_deploy.phases import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

SHAPE_PX = 100
"""Area from which a particle has figures of shape; pixels rule those of smaller ones."""


@dataclass(frozen=True)
class Particles:
    """N particles in scan order of their first pixel, [N] each; lengths in px, NaN for no figure.

    Those that are cut have no figures of size and shape but area; those below 100 px have no Feret
    diameters and no figures of shape.
    """

    phase: NDArray[np.uint8]
    x: Floats
    """Centre of area; pixel centres lie at + 0.5."""
    y: Floats
    left: Ints
    top: Ints
    right: Ints
    """Behind the last column, as `bottom` is behind the last row."""
    bottom: Ints
    area: Ints
    """Pixels."""
    cut: NDArray[np.bool_]
    """By the frame's border or what is left out."""
    equivalent_diameter: Floats
    """Of the circle of the same area."""
    perimeter: Floats
    """Of the outline and of holes, by Crofton's formula."""
    max_feret: Floats
    min_feret: Floats
    aspect_ratio: Floats
    orientation: Floats
    """Degrees."""
    circularity: Floats
    solidity: Floats
    holes: Floats
    mean_confidence: Floats
    """0 to 1."""
    crossings: Ints
    """How often the rows and columns of pixels cross its outline."""
    nearest_neighbour: Floats
    """Distance to the nearest centre of another particle of the phase."""

    def __len__(self) -> int:
        return len(self.phase)

    def at(self, places: Ints) -> Particles:
        """Those at `places`, in that order."""
        return Particles(*(getattr(self, field.name)[places] for field in fields(self)))

    @staticmethod
    def together(parts: Sequence[Particles]) -> Particles:
        """All of them; at least one part."""
        return Particles(
            *(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Particles))
        )


@dataclass(frozen=True)
class PageParticles:
    """The particles of a page."""

    particles: Particles
    known: int
    """Pixels of the page that are some phase."""


def measure_particles(
    classes: NDArray[np.uint8], confidence: NDArray[np.uint8]
) -> PageParticles | None:
    """The particles of a class map uint8 [H, W] with its confidence x 255, uint8 [H, W].

    Index 0 is the matrix, 255 is left out. None where the map is noise: more runs of a phase
    within a row than 2^20, and than one in 16 pixels.
    """
    runs = row_runs(classes, confidence, IGNORE, most_runs(classes.size))
    if runs is None:
        return None
    measuring = Measuring(*classes.shape)
    measuring.add(runs, classes.shape[0])
    return measuring.page()


class Measuring:
    """Measures the particles of a page of `height` x `width` px as its runs come, from the top.

    Only what may still grow is kept of the runs: whole pages and pages in bands go the same way,
    and all sums are of whole numbers, so their figures are the same to the last digit.
    """

    def __init__(self, height: int, width: int) -> None:
        self._height, self._width = height, width
        self._open, self._contacts = RowRuns.none(), Contacts.none(0)
        self._left_out = RowRuns.none()
        self._found = [_measured(RowRuns.none(), Contacts.none(0), *joined(RowRuns.none()))]
        self._starts = [np.empty(0, np.int64)]
        self._known = height * width

    def add(self, new: RowRuns, bottom: int) -> None:
        """The runs of the next rows, down to row `bottom`, which is the first that is missing."""
        gaps = new.phase == IGNORE
        left_out, new = new.at(gaps), new.at(~gaps)
        self._known -= int(left_out.length.sum())
        before = self._contacts + with_left_out(self._open, left_out)
        around = RowRuns.together([self._left_out, left_out])
        fresh = with_border(new, self._height, self._width) + with_left_out(new, around)
        runs = RowRuns.together([self._open, new])
        contacts = Contacts.together(before, fresh)
        particle, count, (upper, lower) = joined(runs)
        growing = np.zeros(count, np.bool_)
        if bottom < self._height:
            growing[particle[runs.row == bottom - 1]] = True
        waits = growing[particle]
        self._open, self._contacts = runs.at(waits), contacts.at(waits)
        self._left_out = left_out.at(left_out.row == bottom - 1)
        self._close(runs, contacts, ~waits, particle, (upper, lower))

    def _close(
        self,
        runs: RowRuns,
        contacts: Contacts,
        closed: NDArray[np.bool_],
        particle: NDArray[np.int32],
        pairs: Pairs,
    ) -> None:
        place = np.cumsum(closed) - 1
        kept = closed[pairs[0]]
        ids, number = np.unique(particle[closed], return_inverse=True)
        runs = runs.at(closed)
        first = np.empty(len(ids), np.int64)
        first[number[::-1]] = np.arange(len(runs))[::-1]
        self._starts.append(runs.row[first].astype(np.int64) * self._width + runs.start[first])
        pairs = place[pairs[0][kept]], place[pairs[1][kept]]
        self._found.append(
            _measured(runs, contacts.at(closed), number.astype(np.int32), len(ids), pairs)
        )

    def page(self) -> PageParticles:
        """All particles of the page, in scan order of their first pixel."""
        order = np.argsort(np.concatenate(self._starts))
        found = Particles.together(self._found).at(order)
        found.nearest_neighbour[:] = _nearest(found)
        return PageParticles(found, self._known)


def _measured(
    runs: RowRuns,
    contacts: Contacts,
    particle: NDArray[np.int32],
    count: int,
    pairs: Pairs,
) -> Particles:
    """Particles that are whole, but for their neighbours."""
    order = np.argsort(particle, kind="stable")
    size = np.bincount(particle, minlength=count)
    first = np.cumsum(size) - size
    last = first + size - 1

    def summed(values: Ints) -> Ints:
        total: Ints = np.add.reduceat(values[order], first) if count else np.empty(0, np.int64)
        return total

    row, start, end = runs.row[order], runs.start[order], runs.end[order]
    length = runs.length
    area = summed(length)
    middle = summed(length * (runs.start.astype(np.int64) + runs.end))
    height = summed(length * (2 * runs.row.astype(np.int64) + 1))
    below, slanting = _neighbours(runs, particle, count, pairs)
    cut = summed(contacts.cut.astype(np.int64)) > 0
    small = cut | (area < SHAPE_PX)
    upright = size + area - below  # runs along rows, and along columns
    # Crofton's formula in four directions: the outline's length is pi / 4 times the sum of the
    # runs along rows, columns and diagonals, each times the distance of neighbouring lines.
    perimeter = np.pi / 4 * (upright + (2 * area - slanting) / np.sqrt(2))
    hulls = np.full((5, count), np.nan)
    within = np.repeat(~small, size)
    number = np.repeat(np.cumsum(~small) - 1, size)[within]
    figures = hull_figures(row[within], start[within], end[within], number, area[~small])
    hulls[:, ~small] = [getattr(figures, field.name) for field in fields(figures)]
    return Particles(
        phase=runs.phase[order][first],
        x=middle / (2 * area),
        y=height / (2 * area),
        left=(np.minimum.reduceat(start, first) if count else start).astype(np.int64),
        top=row[first].astype(np.int64),
        right=(np.maximum.reduceat(end, first) if count else end).astype(np.int64),
        bottom=row[last].astype(np.int64) + 1,
        area=area,
        cut=cut,
        equivalent_diameter=np.where(cut, np.nan, np.sqrt(4 * area / np.pi)),
        perimeter=np.where(cut, np.nan, perimeter),
        max_feret=hulls[0],
        min_feret=hulls[1],
        aspect_ratio=hulls[2],
        orientation=hulls[3],
        # Four directions take an octagon's outline for a circle's, and more than round is nothing.
        circularity=np.where(small, np.nan, np.minimum(1, 4 * np.pi * area / perimeter**2)),
        solidity=hulls[4],
        # Euler's number of a figure at 8-connectivity is runs less pairs that touch.
        holes=np.where(cut, np.nan, 1.0 - size + np.bincount(particle[pairs[0]], minlength=count)),
        mean_confidence=summed(runs.sure.astype(np.int64)) / (255 * area),
        crossings=2 * upright - summed(contacts.unseen),
        nearest_neighbour=np.full(count, np.nan),
    )


def _neighbours(
    runs: RowRuns, particle: NDArray[np.int32], count: int, pairs: Pairs
) -> tuple[Ints, Ints]:
    """Pixels with one of the particle below [N], and with one at each lower corner [N].

    A pixel with both corners counts twice.
    """
    upper, lower = pairs

    def counted(shift: int) -> Ints:
        shared = overlap(runs, upper, runs, lower, shift)
        return np.bincount(particle[upper], weights=shared, minlength=count).astype(np.int64)

    return counted(0), counted(1) + counted(-1)


def _nearest(particles: Particles) -> Floats:
    """Distance of every particle that is whole to the nearest centre of its phase; NaN alone."""
    from scipy.spatial import cKDTree

    found = np.full(len(particles), np.nan)
    centres = np.stack([particles.x, particles.y], axis=1)
    for phase in np.unique(particles.phase):
        members = np.flatnonzero(particles.phase == phase)
        asking = members[~particles.cut[members]]
        if len(members) > 1 and len(asking):
            distances, _ = cKDTree(centres[members]).query(centres[asking], k=2)
            found[asking] = distances[:, 1]
    return found
