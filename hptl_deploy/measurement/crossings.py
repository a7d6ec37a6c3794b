"""How often rows and columns of pixels cross the outlines of phases, field by field of a mosaic.

A crossing lies between two pixels, side by side or one above the other, that are of different
phases, neither of them left out. It belongs to the field in which both lie, so that a field has the
crossings that it would have if it were cut out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.measurement.runs import RowRuns, pixels_of
from hptl_deploy.phases import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pair = tuple[NDArray[np.int64], NDArray[np.int64]]

_PIECE = 1 << 20
"""Pixels drawn at once."""


class FieldCrossings:
    """Of a page whose runs come from the top; its fields lie between the edges `down`, `across`.

    Both begin with 0 and end with the page's height and width, px.
    """

    def __init__(self, down: NDArray[np.int64], across: NDArray[np.int64]) -> None:
        self.counts = np.zeros((len(down) - 1, len(across) - 1, 256), np.int64)
        """[fields down, fields across, class index]."""
        self._row, self._column = _field_of(down), _field_of(across)
        self._bottom = 0
        self._above = np.empty((0, len(self._column)), np.uint8)

    def add(self, runs: RowRuns, bottom: int) -> None:
        """The runs of the next rows, down to row `bottom`; those that are left out among them."""
        rows = max(1, _PIECE // len(self._column))
        for top in range(self._bottom, bottom, rows):
            self._count(_drawn(runs, top, min(top + rows, bottom), len(self._column)), top)
        self._bottom = bottom

    def _count(self, classes: NDArray[np.uint8], top: int) -> None:
        """Class map [rows, W], whose first row is row `top` of the page."""
        bottom, column = top + len(classes), self._column
        row = self._row[top:bottom]
        self._pairs(classes[:, :-1], classes[:, 1:], (row, row), (column[:-1], column[1:]))
        classes = np.concatenate([self._above, classes])
        row = self._row[bottom - len(classes) : bottom]
        self._pairs(classes[:-1], classes[1:], (row[:-1], row[1:]), (column, column))
        self._above = classes[-1:].copy()

    def _pairs(
        self, one: NDArray[np.uint8], other: NDArray[np.uint8], rows: Pair, columns: Pair
    ) -> None:
        """Pixels `one` [h, w] and their neighbours `other`; fields of the rows and columns of both.

        A crossing counts for each of the two phases.
        """
        y, x = np.nonzero((one != other) & (one != IGNORE) & (other != IGNORE))
        within = (rows[0][y] == rows[1][y]) & (columns[0][x] == columns[1][x])
        y, x = y[within], x[within]
        field = rows[0][y] * self.counts.shape[1] + columns[0][x]
        for side in (one, other):
            place = field * 256 + side[y, x]
            self.counts += np.bincount(place, minlength=self.counts.size).reshape(self.counts.shape)


def _field_of(edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Field of every row or column."""
    return np.repeat(np.arange(len(edges) - 1), np.diff(edges))


def _drawn(runs: RowRuns, top: int, bottom: int, width: int) -> NDArray[np.uint8]:
    """Rows `top` to `bottom` of the class map, [bottom - top, W]; 0 where no run lies."""
    first, behind = np.searchsorted(runs.row, [top, bottom])
    runs = runs.at(slice(first, behind)).lower_by(-top)
    classes = np.zeros((bottom - top, width), np.uint8)
    classes.reshape(-1)[pixels_of(runs, width)] = np.repeat(runs.phase, runs.length)
    return classes
