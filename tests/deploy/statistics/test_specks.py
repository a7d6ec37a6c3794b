from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest

from hptl_deploy.csv_text import read_table
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.statistics.joined import JoinedTables
from hptl_deploy.statistics.sizes import PageParticles, SizeTally
from hptl_deploy.statistics.specks import speck_notes
from hptl_deploy.statistics.table_options import TableOptions
from hptl_deploy.statistics.validation import Validation
from support.field_rows import row
from support.particle_tables import write_particle_table

KEYS = [phase.key for phase in PAPER_PHASES]


def page(areas: list[int], cut: int = 0) -> PageParticles:
    """Uncut particles of these areas, and `cut` of 3 px that a border cuts."""
    sizes = np.array([*areas, *[3] * cut], np.int64)
    return PageParticles(sizes, np.arange(sizes.size) >= len(areas), np.full(sizes.size, math.nan))


def notes(*pages: tuple[float | None, list[int]]) -> list[str]:
    tally = SizeTally(3.0)
    for size, areas in pages:
        tally.add("A", size, {"mg2si": page(areas, cut=5)})
    return speck_notes(tally.lines(KEYS), PAPER_PHASES)


def test_specks_are_counted_in_pixels_whatever_their_size_in_um() -> None:
    # 9 px are a speck, 10 are none; what is cut is no speck. Of 0.25 um2 and of 4 um2 a pixel:
    # (1 + 9) / 4 + 9 x 4 of (1 + 9 + 10 + 80) / 4 + (9 + 91) x 4 um2: 38.5 of 425.
    tally = SizeTally(3.0)
    tally.add("A", 0.5, {"fe": page([1, 9, 10, 80], cut=2)})
    tally.add("B", 2.0, {"fe": page([9, 91], cut=1)})
    lines = {line.group: line for line in tally.lines(KEYS)}
    assert {group: (x.under_10_px, x.measured, x.particles) for group, x in lines.items()} == {
        "(all)": (3, 6, 9), "A": (2, 4, 6), "B": (1, 2, 3),
    }  # fmt: skip
    assert lines["(all)"].under_10_px_area_share == pytest.approx(38.5 / 425)
    assert lines["B"].under_10_px_area_share == pytest.approx(0.09)


def test_more_than_a_fifth_is_said() -> None:
    # 2 of 10 are a fifth, 3 of 10 are more: 3 x 4 px of 12 + 7 x 400.
    assert notes((0.5, [4] * 2 + [400] * 8)) == []
    assert notes((0.5, [4] * 3 + [400] * 7)) == [
        "numbers and sizes by number of Mg2Si rest on specks of under 10 px (3 of 10 uncut "
        "particles); look at the overlays. Specks are 0.43 % of these particles' area: area "
        "fractions hardly depend on them"
    ]


def test_a_phase_of_specks_alone_is_not_said_to_be_safe_by_area() -> None:
    (said,) = notes((None, [4, 9]))
    assert said.endswith("Specks are 100 % of these particles' area: area fractions depend on them")


def test_pages_with_and_without_a_pixel_size_are_told_apart() -> None:
    (said,) = notes((0.5, [400] * 5), (None, [4, 400]))
    assert "of Mg2Si (without a pixel size) rest on" in said
    assert "(1 of 2 uncut particles)" in said


def test_what_is_cut_alone_gives_no_sentence() -> None:
    assert notes((0.5, [])) == []


def test_table_workbook_and_notes_hold_them(tmp_path: Path) -> None:
    write_particle_table(tmp_path / "p.parquet", "a.tif", [3, 5, 992], pixel_size_um=0.5)
    rows: list[dict[str, Any]] = [
        row("a.tif") | {"pixel_size_um": 0.5, "particles_file": "p.parquet"}
    ]
    scores = {key: Validation() for key in KEYS}
    tables = JoinedTables(tmp_path, PAPER_PHASES, scores, TableOptions())
    found = tables.write(rows, list(rows[0]))
    (line,) = read_table(tmp_path / "particle_statistics.csv")
    assert (line["measured"], line["under_10_px"]) == ("3", "2")
    assert line["under_10_px_area_share"] == "0.008"
    assert [note for note in found.notes if "2 of 3 uncut particles" in note]
    book = openpyxl.load_workbook(tmp_path / "summary.xlsx")
    about = [line[:2] for line in book["About"].iter_rows(values_only=True)]
    assert ("note", found.notes[-1]) in about
    assert "less than 10 px" in str(dict(about)["under_10_px"])
