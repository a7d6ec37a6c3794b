"""The particle tables of all pages as one, read and written page by page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy.csv_text import CsvStyle
from hptl_deploy.errors import ResultsError
from hptl_deploy.phases import Phase
from hptl_deploy.statistics.samples import Row, group_of
from hptl_deploy.statistics.sizes import PageParticles, SizeTally

if TYPE_CHECKING:
    import pyarrow as pa

_TOGETHER = 1 << 16
"""Particles in a row group: tens of megabytes in memory, and few enough groups to read fast."""
_DECIMALS = 6
"""In CSV: a pixel of 0.01 um has an area of 0.0001 um2."""
_COUNTED = ("phase", "area_px", "touches_border", "aspect_ratio")


@dataclass(frozen=True)
class Page:
    """A page's particle table."""

    path: Path
    group: str
    pixel_size_um: float | None


def pages_of(rows: Iterable[Row], out: Path) -> list[Page]:
    """The particle tables below `out` that rows of fields.csv name."""
    return [
        Page(out / row["particles_file"], group_of(row["file"]), row["pixel_size_um"])
        for row in rows
        if row.get("particles_file")
    ]


def tables_of(
    pages: Iterable[Page], tally: SizeTally, phases: Sequence[Phase]
) -> Iterator[pa.Table]:
    """Every page's table, counted into `tally`.

    Raises ResultsError for one that is missing or damaged.
    """
    for page in pages:
        table = _read(page.path)
        tally.add(page.group, page.pixel_size_um, _by_phase(table, phases))
        yield table


class Joined:
    """particles.parquet and particles.csv while they are written; a context manager."""

    def __init__(self, parquet: Path, csv: Path, style: CsvStyle) -> None:
        """Both are made with the first table. Raises OSError."""
        self._parquet, self._csv, self._style = parquet, csv, style
        self._open = ExitStack()
        self._writers: tuple[Any, Any] | None = None
        self._schema: pa.Schema | None = None
        self._waiting: list[pa.Table] = []

    def __enter__(self) -> Joined:
        """Itself."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Close both; what waits is written, unless there was an error."""
        with self._open:
            if kind is None:
                self._write()

    def add(self, table: pa.Table) -> None:
        """Append a page. Raises OSError."""
        if self._schema is None:
            self._schema = table.schema.remove_metadata()
        self._waiting.append(table.cast(self._schema))
        if sum(one.num_rows for one in self._waiting) >= _TOGETHER:
            self._write()

    def _write(self) -> None:
        import pyarrow as pa

        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting).unify_dictionaries().combine_chunks()
        self._waiting = []
        parquet, csv = self._begun(table)
        parquet.write_table(table, row_group_size=max(1, table.num_rows))
        csv.write_table(_as_text(table, self._style))

    def _begun(self, table: pa.Table) -> tuple[Any, Any]:
        import pyarrow as pa
        from pyarrow import csv, parquet

        if self._writers is None:
            options = csv.WriteOptions(delimiter=self._style.delimiter)
            schema = _as_text(table.slice(0, 0), self._style).schema
            kinds = {field.name: field.type for field in table.schema}
            columns = parquet.ParquetWriter(
                self._open.enter_context(self._parquet.open("wb")),
                table.schema,
                compression="zstd",
                # Measured values hardly ever repeat; names always do.
                use_dictionary=[name for name, kind in kinds.items() if not _is_number(kind)],
                use_byte_stream_split=[
                    name for name, kind in kinds.items() if pa.types.is_floating(kind)
                ],
            )
            text = self._open.enter_context(self._csv.open("wb"))
            self._writers = (
                self._open.enter_context(columns),
                self._open.enter_context(csv.CSVWriter(text, schema, write_options=options)),
            )
        return self._writers


def _read(path: Path) -> pa.Table:
    import pyarrow as pa
    from pyarrow import parquet

    hint = "Delete it, if it is there, and run again: its micrograph is done anew"
    try:
        with path.open("rb") as file:
            return parquet.ParquetFile(file).read()
    except FileNotFoundError as exc:
        raise ResultsError(f"{path}: the particle table is missing", hint=hint) from exc
    except (OSError, pa.ArrowException) as exc:
        reason = " ".join(str(exc).split())
        raise ResultsError(f"{path}: is no particle table ({reason})", hint=hint) from exc


def _by_phase(table: pa.Table, phases: Sequence[Phase]) -> dict[str, PageParticles]:
    """A page's particles by phase key; phases without any are left out."""
    import pyarrow as pa

    names, area, touches, aspect = (table[name].combine_chunks() for name in _COUNTED)
    keys = np.asarray(names.cast(pa.string()), dtype=object)
    areas = np.asarray(area, dtype=np.int64)
    borders = np.asarray(touches.cast(pa.uint8())).astype(bool)
    ratios = np.asarray(aspect.cast(pa.float64()).fill_null(float("nan")))
    found = {phase.key: np.flatnonzero(keys == phase.key) for phase in phases}
    return {
        key: PageParticles(areas[of], borders[of], ratios[of])
        for key, of in found.items()
        if of.size
    }


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or kind == pa.bool_())


def _as_text(table: pa.Table, style: CsvStyle) -> pa.Table:
    """For CSV: floats rounded, and as text where the comma is a decimal one."""
    import pyarrow as pa
    from pyarrow import compute

    def shown(column: pa.ChunkedArray) -> pa.ChunkedArray:
        if pa.types.is_dictionary(column.type):
            return compute.cast(column, column.type.value_type)
        if not pa.types.is_floating(column.type):
            return column
        rounded = compute.round(column, _DECIMALS)
        if not style.decimal_comma:
            return rounded
        return compute.replace_substring(compute.cast(rounded, pa.string()), ".", ",")

    return pa.table([shown(column) for column in table.columns], names=table.column_names)
