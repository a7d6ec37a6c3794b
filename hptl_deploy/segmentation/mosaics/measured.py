"""What is measured of a mosaic band by band: runs of its particles, pixels by field.

    <number>.measured   HPTLRUNS | number | runs | length of the fields | checksum | content
    content, compressed fields (JSON) | rows | starts | ends | phases | confidences of the runs

Of a band that holds more runs than its page may have, only that is stored.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy.errors import ResultsError
from hptl_deploy.files import write_bytes
from hptl_deploy.measurement.particle_fields import FieldGrid
from hptl_deploy.measurement.particles import Measuring, PageParticles
from hptl_deploy.measurement.runs import RowRuns, most_runs, row_runs
from hptl_deploy.phases import IGNORE
from hptl_deploy.segmentation.mosaics.band import BandedMap
from hptl_deploy.segmentation.mosaics.banding import LARGE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_deploy.segmentation.items import Solved

_MAGIC = b"HPTLRUNS"
_PREFIX = struct.Struct("<8sIqII")
_TYPES = ("<i4", "<i4", "<i4", "u1", "<u4")
_TOO_MANY = -1


class Measured:
    """Of one page in bands."""

    def __init__(
        self, banded: BandedMap, path: Callable[[int, str], Path], *, particles: bool
    ) -> None:
        """`path` names the file of a band (from 0) and a kind; `particles`: they are asked for."""
        self._banded, self._path, self._asked = banded, path, particles
        self._height, self._width = banded.height, banded.width
        self._most = most_runs(self._height * self._width)

    def put(self, number: int, solved: Solved) -> None:
        """Measure a band and store it. Raises OSError."""
        top, grid = solved.frame.area.y0, self._grid()
        runs: RowRuns | None = RowRuns.none()
        if self._asked:
            runs = row_runs(solved.classes, solved.confidence, IGNORE, self._most)
        if grid is not None:
            grid.add(solved.frame.rows_of_area, solved.classes, solved.confidence, top)
        content = encode(number, None if runs is None else runs.lower_by(top), grid)
        write_bytes(self._path(number, "measured"), content)

    def check(self, number: int) -> None:
        """Raise ResultsError unless the band is stored undamaged, OSError where it is missing."""
        self._read(number)

    def particles(self) -> PageParticles | None:
        """Of the page; None where they are not asked for, or the class map is noise.

        Raises OSError and ResultsError.
        """
        if not self._asked:
            return None
        measuring, count = Measuring(self._height, self._width), 0
        for number, (runs, _) in enumerate(self._bands()):
            count += 0 if runs is None else len(runs)
            if runs is None or count > self._most:
                return None
            measuring.add(runs, self._banded.rows(number)[1])
        return measuring.page()

    def fields(self) -> FieldGrid | None:
        """Pixels and crossings by field; None for a page that is no larger than one should be.

        Raises OSError and ResultsError.
        """
        grid = self._grid()
        if grid is not None:
            for number, (runs, counts) in enumerate(self._bands()):
                grid.join(counts)
                # Where a band has too many, the page has no figures of particles at all.
                if self._asked and runs is not None:
                    grid.cross(runs, self._banded.rows(number)[1])
        return grid

    def _grid(self) -> FieldGrid | None:
        # Not wherever a page is cut into bands, which the machine's memory decides.
        large = self._height * self._width > LARGE
        return FieldGrid(self._height, self._width) if large else None

    def _bands(self) -> Iterator[tuple[RowRuns | None, Any]]:
        return map(self._read, range(self._banded.bands))

    def _read(self, number: int) -> tuple[RowRuns | None, Any]:
        path = self._path(number, "measured")
        try:
            return decode(number, path.read_bytes())
        except ValueError as exc:
            raise damaged_band(number, self._banded, path) from exc


def damaged_band(number: int, banded: BandedMap, path: Path) -> ResultsError:
    """What is said of a file of band `number` (from 0)."""
    return ResultsError(
        f"band {number + 1} of {banded.bands} ({path}): is not what was written (cut "
        "short or altered); delete it and run again"
    )


def encode(number: int, runs: RowRuns | None, grid: FieldGrid | None) -> bytes:
    """Runs of band `number` in rows of the page, None for too many, and what a grid has counted."""
    text = json.dumps(None if grid is None else grid.to_json()).encode("ascii")
    stored = RowRuns.none() if runs is None else runs
    columns: list[NDArray[Any]] = [getattr(stored, field.name) for field in fields(RowRuns)]
    parts = [column.astype(kind).tobytes() for column, kind in zip(columns, _TYPES, strict=True)]
    content = zlib.compress(b"".join([text, *parts]), level=1)
    count = _TOO_MANY if runs is None else len(runs)
    return _PREFIX.pack(_MAGIC, number, count, len(text), zlib.crc32(content)) + content


def decode(number: int, stored: bytes) -> tuple[RowRuns | None, Any]:
    """Runs, and the grid as JSON. Raises ValueError for what is not whole, or another band's."""
    if len(stored) < _PREFIX.size:
        raise ValueError("cut short")
    magic, band, count, at, checksum = _PREFIX.unpack_from(stored)
    if (magic, band) != (_MAGIC, number) or zlib.crc32(stored[_PREFIX.size :]) != checksum:
        raise ValueError("cut short or altered")
    content = zlib.decompress(stored[_PREFIX.size :])
    counts = json.loads(content[:at])
    if count == _TOO_MANY:
        return None, counts
    columns: list[NDArray[Any]] = []
    for kind in _TYPES:
        column: NDArray[Any] = np.frombuffer(content, np.dtype(kind), count, at)
        columns.append(column.astype(column.dtype.newbyteorder("=")))
        at += column.nbytes
    row, start, end, phase, sure = columns
    return RowRuns(row, start, end, phase, sure), counts
