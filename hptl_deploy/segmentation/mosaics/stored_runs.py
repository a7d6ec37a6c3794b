"""The runs of one band of a mosaic as bytes that check themselves.

    HPTLRUNS | how many | checksum | compressed: rows, starts, ends, phases, confidences

Of a band that holds more runs than its page may have, only that is stored.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.measurement.particles import Measuring, PageParticles
from hptl_deploy.measurement.runs import RowRuns, most_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAGIC = b"HPTLRUNS"
_PREFIX = struct.Struct("<8sqI")
_TYPES = ("<i4", "<i4", "<i4", "u1", "<u4")
_EACH = sum(np.dtype(kind).itemsize for kind in _TYPES)
_TOO_MANY = -1


def encode_runs(runs: RowRuns | None) -> bytes:
    """The runs of a band in rows of the page, or None for too many."""
    if runs is None:
        return _PREFIX.pack(_MAGIC, _TOO_MANY, 0)
    columns = (runs.row, runs.start, runs.end, runs.phase, runs.sure)
    content = zlib.compress(
        b"".join(
            column.astype(kind).tobytes() for column, kind in zip(columns, _TYPES, strict=True)
        ),
        level=1,
    )
    return _PREFIX.pack(_MAGIC, len(runs), zlib.crc32(content)) + content


def decode_runs(content: bytes) -> RowRuns | None:
    """What was encoded. Raises ValueError for what is not whole."""
    try:
        magic, count, checksum = _PREFIX.unpack_from(content)
    except struct.error as exc:
        raise ValueError("cut short") from exc
    stored = content[_PREFIX.size :]
    if magic != _MAGIC or zlib.crc32(stored) != checksum:
        raise ValueError("cut short or altered")
    if count == _TOO_MANY:
        return None
    values, at, columns = zlib.decompress(stored), 0, []
    if len(values) != count * _EACH:
        raise ValueError("of another length")
    for kind in _TYPES:
        column: NDArray[np.generic] = np.frombuffer(values, kind, count, at)
        columns.append(column.astype(column.dtype.newbyteorder("=")))
        at += column.nbytes
    return RowRuns(*columns)


def particles_of_bands(
    height: int, width: int, bands: Iterable[tuple[RowRuns | None, int]]
) -> PageParticles | None:
    """Particles of a page from its bands' runs, from top to bottom, each with the row behind it.

    None where there are too many runs, in a band or in all of them together.
    """
    measuring, count = Measuring(height, width), 0
    for runs, bottom in bands:
        count += 0 if runs is None else len(runs)
        if runs is None or count > most_runs(height * width):
            return None
        measuring.add(runs, bottom)
    return measuring.page()
