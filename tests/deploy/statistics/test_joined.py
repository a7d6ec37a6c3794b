"""The tables over all fields, read back."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.csv
import pytest
from pyarrow import parquet

from hptl_deploy.csv_text import read_table
from hptl_deploy.errors import ResultsError
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.results import JOINED_FILES
from hptl_deploy.statistics import particles
from hptl_deploy.statistics.findings import Findings
from hptl_deploy.statistics.joined import JoinedTables
from hptl_deploy.statistics.table_options import TableOptions
from hptl_deploy.statistics.validation import Validation
from support.field_rows import row
from support.particle_tables import write_particle_table

COLUMNS = list(row("a.tif"))
SCORES = {
    "al": Validation(),
    "mg2si": Validation(0.8, -0.0003),
    "fe": Validation(0.7, 0.0002, 0.001),
}


def joined(folder: Path, **options: Any) -> JoinedTables:
    return JoinedTables(folder, PAPER_PHASES, SCORES, TableOptions(**options))


def write(folder: Path, rows: list[dict[str, Any]], **options: Any) -> Findings:
    return joined(folder, **options).write(rows, COLUMNS)


def test_statistics_csv_holds_every_group_phase_and_quantity(
    tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    write(tmp_path, rows)
    lines = read_table(tmp_path / "statistics.csv")
    (line,) = (x for x in lines if (x["group"], x["phase"]) == ("A", "mg2si"))
    # Of 0.01 and 0.03: s = sqrt(2 x 0.01^2) = 0.0141421; CI = 12.7062 s / sqrt(2) = 0.127062.
    # 10 %: n = (t s / 0.002)^2 = 50 t^2; t(193) = 1.9723 gives 194.5, so 195.
    assert {name: line[name] for name in list(line)[:13]} == {
        "group": "A", "phase": "mg2si", "quantity": "area_fraction", "unit": "fraction",
        "n_fields": "2", "mean": "0.02", "s": "0.0141421356", "ci95": "0.127062047",
        "ra_percent": "635.310237", "fields_for_10_percent": "195", "more_fields_needed": "193",
        "minimum": "0.01", "maximum": "0.03",
    }  # fmt: skip
    assert (line["validation_iou"], line["validation_area_fraction_error"]) == ("0.8", "-0.0003")
    assert line["validation_mean_absolute_area_error"] == ""
    assert list(line.values())[-4:] == ["m", "0" * 64, "fp32", "0.1.0"]
    assert [x["group"] for x in lines] == ["(all)"] * 3 + ["A"] * 3 + ["B"] * 3
    (one,) = (x for x in lines if (x["group"], x["phase"]) == ("B", "fe"))
    assert [one[x] for x in ("s", "ci95", "ra_percent", "fields_for_10_percent")] == [""] * 4


def test_errors_of_areas_stand_beside_areas_alone(
    tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    more = {"fe_number_per_mm2": 7.0, "fe_mean_free_path_um": 90.0}
    write(tmp_path, [one | more for one in rows])
    names = [f"validation_{name}" for name in (
        "iou", "area_fraction_error", "mean_absolute_area_error"
    )]  # fmt: skip
    wanted = {
        "area_fraction": ["0.7", "0.0002", "0.001"],
        "number_per_mm2": [""] * 3,
        "mean_free_path": [""] * 3,
    }
    lines = [x for x in read_table(tmp_path / "statistics.csv") if x["phase"] == "fe"]
    assert [[x[name] for name in names] for x in lines] == [wanted[x["quantity"]] for x in lines]
    assert len(lines) == 9
    book = openpyxl.load_workbook(tmp_path / "summary.xlsx")
    header, *cells = book["Summary"].iter_rows(values_only=True)
    of = header.index("quantity"), header.index(names[0])
    found = {line[of[0]]: line[of[1] : of[1] + 3] for line in cells}
    assert found["number_per_mm2"] == found["mean_free_path"] == (None, None, None)
    assert found["area_fraction"] == (0.7, 0.0002, 0.001)


def test_particle_tables_are_joined(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    write(tmp_path, rows)
    table = parquet.read_table(tmp_path / "particles.parquet")
    apart = [parquet.read_table(tmp_path / one["particles_file"]) for one in rows]
    assert table.to_pylist() == pa.concat_tables(apart).to_pylist()
    assert table.num_rows == 6
    text = pyarrow.csv.read_csv(tmp_path / "particles.csv")
    assert text.column_names == table.column_names
    assert text["file"].to_pylist() == table["file"].to_pylist()
    assert text["area_px"].to_pylist() == [100, 400, 150, 225, 9, 121]
    np.testing.assert_allclose(
        text["equivalent_diameter_px"], table["equivalent_diameter_px"], atol=1e-6
    )
    assert text["area_um2"].to_pylist() == [25, 100, 37.5, 56.25, None, None]


def test_sizes_and_needles(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    write(tmp_path, rows)
    lines = {(x["group"], x["unit"]): x for x in read_table(tmp_path / "particle_statistics.csv")}
    assert list(lines) == [("(all)", "um"), ("(all)", "px"), ("A", "um"), ("B", "px")]
    line = lines["A", "um"]
    assert (line["pages"], line["particles"], line["with_shape"]) == ("2", "4", "4")
    assert float(line["needle_shaped_by_number"]) == 0.5
    assert float(line["needle_shaped_by_area"]) == pytest.approx(550 / 875)
    # 150 px of 0.25 um2 are the second of four by size: sqrt(4 x 37.5 / pi) = 6.910 um.
    assert float(line["d50_by_number"]) == pytest.approx(6.910, abs=5e-4)
    classes = [x for x in read_table(tmp_path / "sizes.csv") if x["group"] == "B"]
    # sqrt(4 x 9 / pi) = 3.385, sqrt(4 x 121 / pi) = 12.41 px.
    assert (classes[0]["lower"], classes[0]["upper"], classes[0]["particles"]) == ("3.15", "4", "1")
    assert (classes[-1]["lower"], classes[-1]["upper"]) == ("10", "12.5")
    assert float(classes[-1]["area_share"]) == pytest.approx(121 / 130)
    assert {x["unit"] for x in classes} == {"px"}
    write(tmp_path, rows, needle_aspect=3.6)
    (line,) = (x for x in read_table(tmp_path / "particle_statistics.csv") if x["group"] == "A")
    assert (line["needle_aspect"], line["needle_shaped_by_number"]) == ("3.6", "0.25")


def test_decimal_comma_in_every_csv_table(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    above = [one | {"particles_file": f"../{one['particles_file']}"} for one in rows]
    write(tmp_path / "point", above)
    write(tmp_path, rows, decimal_comma=True)
    for name in JOINED_FILES:
        if not name.endswith(".csv"):
            continue
        with_comma = list(
            csv.reader(io.StringIO((tmp_path / name).read_text("utf-8")), delimiter=";")
        )
        plain = list(csv.reader(io.StringIO((tmp_path / "point" / name).read_text("utf-8"))))
        assert [[_pointed(cell) for cell in line] for line in with_comma] == plain
        assert any("," in cell for line in with_comma for cell in line)
    read = pyarrow.csv.read_csv(
        tmp_path / "particles.csv",
        parse_options=pyarrow.csv.ParseOptions(delimiter=";"),
        convert_options=pyarrow.csv.ConvertOptions(decimal_point=","),
    )
    assert read["area_um2"].to_pylist() == [25, 100, 37.5, 56.25, None, None]


def _pointed(cell: str) -> str:
    """A number with its decimal point again; versions and names are none."""
    pointed = cell.replace(",", ".")
    try:
        float(pointed)
    except ValueError:
        return cell
    return pointed


def test_the_same_fields_give_the_same_bytes(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    def content() -> dict[str, bytes]:
        return {name: (tmp_path / name).read_bytes() for name in JOINED_FILES}

    write(tmp_path, rows)
    first = content()
    joined(tmp_path).remove()
    assert not [name for name in JOINED_FILES if (tmp_path / name).exists()]
    write(tmp_path, rows)
    assert content() == first


def test_without_particle_tables_there_are_none_of_particles(tmp_path: Path) -> None:
    found = write(tmp_path, [row("a.tif"), row("b.tif")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["statistics.csv", "summary.xlsx"]
    assert openpyxl.load_workbook(tmp_path / "summary.xlsx").sheetnames == [
        "Summary", "Fields", "About",
    ]  # fmt: skip
    assert found.particles == ()


def test_pages_without_particles_join_to_an_empty_table(tmp_path: Path) -> None:
    write_particle_table(tmp_path / "a_particles.parquet", "a.tif", [])
    write(tmp_path, [row("a.tif") | {"particles_file": "a_particles.parquet"}])
    assert parquet.read_table(tmp_path / "particles.parquet").num_rows == 0
    assert read_table(tmp_path / "particles.csv") == []
    assert (tmp_path / "particles.csv").read_text("utf-8").startswith('"file","page"')
    assert read_table(tmp_path / "sizes.csv") == []


def test_more_particles_than_go_together(
    tmp_path: Path, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, rows)
    at_once = (tmp_path / "particles.csv").read_bytes()
    monkeypatch.setattr(particles, "_TOGETHER", 3)
    write(tmp_path, rows)
    assert (tmp_path / "particles.csv").read_bytes() == at_once
    file = parquet.ParquetFile(tmp_path / "particles.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [3, 3]
    assert file.read()["area_px"].to_pylist() == [100, 400, 150, 225, 9, 121]


def test_finding_writes_nothing(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    before = sorted(tmp_path.rglob("*"))
    found = joined(tmp_path).find(rows)
    assert sorted(tmp_path.rglob("*")) == before
    assert found == write(tmp_path, rows)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "{path}: the particle table is missing"),
        (lambda path: path.write_bytes(b"PAR1"), "{path}: is no particle table ("),
    ],
)
def test_a_particle_table_that_cannot_be_read(
    tmp_path: Path, rows: list[dict[str, Any]], damage: Any, said: str
) -> None:
    path = tmp_path / rows[1]["particles_file"]
    damage(path)
    with pytest.raises(ResultsError) as caught:
        write(tmp_path, rows)
    assert str(caught.value).startswith(said.format(path=path))
    assert str(caught.value).endswith(
        ". Delete it, if it is there, and run again: its micrograph is done anew"
    )
    assert not (tmp_path / "particles.parquet").exists()
    assert not list(tmp_path.glob(".*"))


def test_sizes_are_whole_where_the_join_breaks_off(
    tmp_path: Path, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, rows)
    names = ("particle_statistics.csv", "sizes.csv")
    whole = [(tmp_path / name).read_bytes() for name in names]
    joined(tmp_path).remove()
    add, calls = particles.Joined.add, Counter[str]()

    def full(self: particles.Joined, table: pa.Table) -> None:
        calls["add"] += 1
        if calls["add"] == 2:
            raise OSError(28, "No space left on device")
        add(self, table)

    monkeypatch.setattr(particles.Joined, "add", full)
    with pytest.raises(ResultsError) as caught:
        write(tmp_path, rows)
    assert caught.value.message == (
        f"{tmp_path}: cannot be written: particles.parquet and particles.csv (No space left on "
        "device)"
    )
    assert [(tmp_path / name).read_bytes() for name in names] == whole
    assert not (tmp_path / "particles.parquet").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_table_that_is_open_elsewhere_does_not_keep_the_others(
    tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    (tmp_path / "summary.xlsx" / "held").mkdir(parents=True)  # cannot be replaced by a file
    with pytest.raises(ResultsError) as caught:
        write(tmp_path, rows)
    assert str(caught.value) == (
        f"{tmp_path}: cannot be written: summary.xlsx (Is a directory). Close the program that "
        "holds it open, such as Excel, or make room, and run again; class maps and all other "
        "tables are kept"
    )
    assert all((tmp_path / name).is_file() for name in JOINED_FILES if name != "summary.xlsx")
    assert not list(tmp_path.glob(".*"))
