"""summary.xlsx: the figures of a run for people who work in a spreadsheet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hptl_deploy.phases import Phase
from hptl_deploy.statistics.explained import EXPLAINED
from hptl_deploy.statistics.findings import Findings
from hptl_deploy.statistics.lines import AREA_FRACTION, LINE_COLUMNS, Line
from hptl_deploy.statistics.sizes import ParticleLine, SizeClass
from hptl_deploy.statistics.validation import NOT_STATED

if TYPE_CHECKING:
    from xlsxwriter.format import Format
    from xlsxwriter.workbook import Workbook
    from xlsxwriter.worksheet import Worksheet

MOST_ROWS = 10_000
"""Of a sheet: the workbook is a summary, and must open at once."""
_MADE = datetime(2000, 1, 1)
"""For all of them: the same figures give the same file."""
_WIDEST = 40


def write_workbook(
    path: Path,
    found: Findings,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    made_with: Mapping[str, str],
) -> None:
    """Write the workbook; `rows` and `columns` are those of fields.csv. Raises OSError."""
    from xlsxwriter import Workbook

    with path.open("wb") as file:  # else xlsxwriter would turn an OSError into its own
        workbook = Workbook(file, {"in_memory": True})
        workbook.set_properties({"title": "hptl-deploy", "created": _MADE})
        sheets = _Sheets(workbook)
        phases = {line.phase.key: line.phase for line in found.lines}

        def named(one: Mapping[str, Any]) -> dict[str, Any]:
            phase = phases.get(one["phase"])
            return {**one, "phase": one["phase"] if phase is None else _named(phase)}

        sheets.add("Summary", LINE_COLUMNS, (named(_summary(line)) for line in found.lines))
        if found.particles:
            names = [one.name for one in fields(ParticleLine)]
            sheets.add("Particles", names, (named(line.to_json()) for line in found.particles))
        sheets.add("Fields", columns, rows)
        if found.classes:
            names = [one.name for one in fields(SizeClass)]
            sheets.add("Sizes", names, (named(asdict(one)) for one in found.classes))
        sheets.about(made_with, found.notes)
        workbook.close()


def _summary(line: Line) -> dict[str, Any]:
    """A line in which an error that is not known is said to be so."""
    row = line.to_json()
    if line.quantity != AREA_FRACTION:
        return row
    return {
        name: NOT_STATED if value is None and name.startswith("validation_") else value
        for name, value in row.items()
    }


def _named(phase: Phase) -> str:
    """The same in all sheets; the key is what columns of Fields begin with."""
    return f"{phase.name} ({phase.key})"


class _Sheets:
    """The workbook's sheets, and what has been left out of them."""

    def __init__(self, workbook: Workbook) -> None:
        self._workbook = workbook
        self._head: Format = workbook.add_format({"bold": True, "bottom": 1})
        self._share: Format = workbook.add_format({"num_format": "0.00000"})
        self._wrap: Format = workbook.add_format({"text_wrap": True, "valign": "top"})
        self._cut: list[str] = []

    def add(self, name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
        """A sheet with a header that stays in sight."""
        sheet: Worksheet = self._workbook.add_worksheet(name)
        sheet.freeze_panes(1, 0)
        widths = [len(column) + 2 for column in columns]
        for place, column in enumerate(columns):
            sheet.write_string(0, place, column, self._head)
        count = 0
        for count, row in enumerate(rows, start=1):
            if count > MOST_ROWS:
                continue
            for place, column in enumerate(columns):
                value = row[column]
                self._cell(sheet, count, place, value, _is_share(row, column))
                if isinstance(value, str):
                    widths[place] = max(widths[place], len(value) + 2)
        for place, width in enumerate(widths):
            sheet.set_column(place, place, min(_WIDEST, width))
        if count > MOST_ROWS:
            self._cut.append(
                f"{name}: the first {MOST_ROWS} of {count} rows; the CSV table holds all"
            )

    def about(self, made_with: Mapping[str, str], notes: Sequence[str]) -> None:
        """What made the figures, what a reader must know, and what the columns mean."""
        sheet: Worksheet = self._workbook.add_worksheet("About")
        sheet.set_column(0, 0, 24)
        sheet.set_column(1, 1, 100)
        said = [("note", note) for note in [*notes, *self._cut]]
        for number, (name, text) in enumerate([*made_with.items(), *said, *EXPLAINED]):
            sheet.write_string(number, 0, name, self._wrap)
            sheet.write_string(number, 1, text, self._wrap)

    def _cell(
        self, sheet: Worksheet, row: int, column: int, value: str | float | None, share: bool
    ) -> None:
        if isinstance(value, str):  # never a formula, whatever a file's name begins with
            sheet.write_string(row, column, value)
        elif value is not None and math.isfinite(value):
            sheet.write_number(row, column, value, self._share if share else None)


_OF_FRACTION = frozenset(
    ("mean", "s", "ci95", "minimum", "maximum", "validation_area_fraction_error",
     "validation_mean_absolute_area_error")
)  # fmt: skip
_SHARES = frozenset(
    ("number_share", "area_share", "under_10_px_area_share", "needle_shaped_by_number",
     "needle_shaped_by_area")
)  # fmt: skip


def _is_share(row: Mapping[str, Any], column: str) -> bool:
    """True for shares, 0 to 1: shown as such, as `unit` says, with five decimals."""
    return (
        column in _SHARES
        or column.endswith("_area_fraction")
        or (column in _OF_FRACTION and row.get("quantity") == AREA_FRACTION)
    )
