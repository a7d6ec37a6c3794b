"""statistics.csv, particle_statistics.csv and sizes.csv as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from hptl_deploy.csv_text import CsvStyle
from hptl_deploy.statistics.findings import Findings
from hptl_deploy.statistics.lines import LINE_COLUMNS, MADE_WITH
from hptl_deploy.statistics.sizes import ParticleLine, SizeClass


def statistics_text(found: Findings, made_with: Mapping[str, str], style: CsvStyle) -> str:
    """statistics.csv."""
    return _text(LINE_COLUMNS, [line.to_json() for line in found.lines], made_with, style)


def particle_statistics_text(found: Findings, made_with: Mapping[str, str], style: CsvStyle) -> str:
    """particle_statistics.csv."""
    columns = [one.name for one in fields(ParticleLine)]
    return _text(columns, [line.to_json() for line in found.particles], made_with, style)


def sizes_text(found: Findings, made_with: Mapping[str, str], style: CsvStyle) -> str:
    """sizes.csv."""
    columns = [one.name for one in fields(SizeClass)]
    return _text(columns, [asdict(one) for one in found.classes], made_with, style)


def _text(
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    made_with: Mapping[str, str],
    style: CsvStyle,
) -> str:
    cells = (
        [*(_cell(row[name], style) for name in columns), *(made_with[n] for n in MADE_WITH)]
        for row in rows
    )
    return style.text([*columns, *MADE_WITH], cells)


def _cell(value: object, style: CsvStyle) -> str:
    if value is None:
        return ""
    return style.number(f"{value:.9g}") if isinstance(value, float) else str(value)
