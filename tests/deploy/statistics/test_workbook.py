from __future__ import annotations

from pathlib import Path
from typing import Any

import openpyxl
import pytest

from hptl_deploy.csv_text import read_table
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.statistics import workbook
from hptl_deploy.statistics.joined import JoinedTables
from hptl_deploy.statistics.table_options import TableOptions
from hptl_deploy.statistics.validation import Validation
from support.field_rows import row

COLUMNS = list(row("a.tif"))
SCORES = {"al": Validation(), "mg2si": Validation(0.8, -0.0003), "fe": Validation(0.7)}


def write(folder: Path, rows: list[dict[str, Any]]) -> None:
    JoinedTables(folder, PAPER_PHASES, SCORES, TableOptions()).write(rows, COLUMNS)


def test_the_workbook(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    write(tmp_path, rows)
    book = openpyxl.load_workbook(tmp_path / "summary.xlsx")
    assert book.sheetnames == ["Summary", "Particles", "Fields", "Sizes", "About"]
    header, *lines = book["Summary"].iter_rows(values_only=True)
    found = {(line[0], line[1]): dict(zip(header, line, strict=True)) for line in lines}
    assert found["A", "Mg2Si (mg2si)"]["mean"] == pytest.approx(0.02)
    assert found["A", "Mg2Si (mg2si)"]["validation_iou"] == 0.8
    assert found["A", "aluminium matrix (al)"]["validation_iou"] == "not stated"
    assert found["B", "Mg2Si (mg2si)"]["ci95"] is None
    assert book["Summary"].cell(2, header.index("mean") + 1).number_format == "0.00000"
    assert {line["unit"] for line in found.values()} == {"fraction"}
    assert book["Summary"].cell(2, header.index("ra_percent") + 1).number_format == "General"
    fields = list(book["Fields"].iter_rows(values_only=True))
    assert list(fields[0]) == COLUMNS
    assert [line[0] for line in fields[1:]] == ["A/a.tif", "A/b.tif", "B/=c.tif"]
    sizes = list(book["Sizes"].iter_rows(values_only=True))
    assert len(sizes) == 1 + len(read_table(tmp_path / "sizes.csv"))
    assert {line[1] for name in ("Particles", "Sizes") for line in book[name].values} == {
        "phase", "Fe-containing phase (fe)",
    }  # fmt: skip
    formats = {cell.number_format for sheet in book for line in sheet for cell in line}
    assert formats == {"General", "0.00000"}
    about = {line[0]: line[1] for line in book["About"].iter_rows(values_only=True)}
    assert about["model_sha256"] == "0" * 64
    assert "segmented area" in about["not in the interval"]
    assert "Shape alone" in about["needle_shaped_..."]


def test_a_long_sheet_is_cut_and_says_so(
    tmp_path: Path, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook, "MOST_ROWS", 2)
    write(tmp_path, rows)
    book = openpyxl.load_workbook(tmp_path / "summary.xlsx")
    assert book["Fields"].max_row == 3
    notes = [line[1] for line in book["About"].iter_rows(values_only=True) if line[0] == "note"]
    assert "Fields: the first 2 of 3 rows; the CSV table holds all" in notes
