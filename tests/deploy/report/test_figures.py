"""The figures of the page are those of the tables beside it, to the digits that are shown."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from hptl_deploy.csv_text import read_table
from hptl_deploy.report import write_report
from hptl_deploy.report.reading import read_results
from hptl_deploy.statistics.joined import JoinedTables
from support.made_up_results import made_up_row, write_made_up
from support.pages import Page

NAMES = {"al": "aluminium matrix", "mg2si": "Mg2Si", "fe": "Fe-containing phase"}


def particle_table(path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    count = 60
    table = {
        "phase": ["mg2si", "fe", "fe"] * (count // 3),
        "area_px": generator.lognormal(4, 1.5, count).astype(int) + 5,
        "touches_border": generator.random(count) < 0.1,
        "aspect_ratio": 1 + generator.gamma(2, 1, count),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(table), path)


def made_up(out: Path, count: int = 9, **row: Any) -> Path:
    """Three folders of fields with particles, and the tables of all of it."""
    generator = np.random.default_rng(5)
    rows = []
    for number in range(count):
        base = f"s{number % 3}/{number}"
        particle_table(out / f"{base}_particles.parquet", number)
        rows.append(
            made_up_row(
                f"{base}.tif",
                *generator.uniform(0.0002, 0.03, 2).tolist(),
                **{
                    "mg2si_number_per_mm2": float(generator.normal(3000, 300)),
                    "fe_number_per_mm2": float(generator.normal(500, 30)),
                    "mg2si_mean_free_path_um": float(generator.normal(80, 5)),
                    "fe_mean_free_path_um": float(generator.normal(400, 5)),
                    "particles_file": f"{base}_particles.parquet",
                    **row,
                },
            )
        )
    write_made_up(out, rows)
    results = read_results(out)
    JoinedTables.recorded(out, results.run).write(results.rows, list(results.rows[0]))
    return out


def page_of(out: Path) -> Page:
    return Page(write_report(out).read_text(encoding="utf-8"))


def statistics(out: Path, quantity: str, group: str = "(all)") -> dict[str, dict[str, str]]:
    """Lines of statistics.csv by the phase's name."""
    return {
        NAMES[row["phase"]]: row
        for row in read_table(out / "statistics.csv")
        if (row["quantity"], row["group"]) == (quantity, group)
    }


def agree(shown: str, stated: str, factor: float = 1.0, digits: int | None = None) -> None:
    """`shown` is `factor` times `stated`, rounded to its decimals, or to significant `digits`."""
    if stated == "":
        assert shown == "–"
        return
    text, wanted = shown.replace(" ", "").replace("−", "-"), factor * float(stated)
    last = -len(text.partition(".")[2])
    if digits is not None:
        last = max(last, math.floor(math.log10(abs(wanted))) - digits + 1)
    assert abs(float(text) - wanted) <= 0.5000001 * 10.0**last, (shown, stated)


def table_with(page: Page, head: str) -> list[list[str]]:
    (found,) = (table for table in page.tables if head in table[0])
    return found


def test_the_headline_is_statistics_csv(tmp_path: Path) -> None:
    out = made_up(tmp_path)
    header, *rows = table_with(page_of(out), "area fraction mean, %")
    assert header == [
        "phase", "area fraction mean, %", "95 % confidence ± %", "field to field s, %",
        "relative accuracy %RA", "fields", "more fields for 10 %RA",
    ]  # fmt: skip
    stated = statistics(out, "area_fraction")
    assert [row[0] for row in rows] == list(NAMES.values())
    for name, *cells in rows:
        line = stated[name]
        for cell, column in zip(cells[:3], ("mean", "ci95", "s"), strict=True):
            agree(cell, line[column], 100)
        agree(cells[3], line["ra_percent"])
        assert cells[4:] == [line["n_fields"], line["more_fields_needed"]]


def test_folders_are_those_of_statistics_csv(tmp_path: Path) -> None:
    out = made_up(tmp_path)
    header, *rows = table_with(page_of(out), "folder")
    assert header == ["folder", "fields", *(f"{name} %" for name in NAMES.values())]
    assert [row[:2] for row in rows] == [["s0", "3"], ["s1", "3"], ["s2", "3"]]
    for group, _, *cells in rows:
        stated = statistics(out, "area_fraction", group)
        for name, cell in zip(NAMES.values(), cells, strict=True):
            mean, half = cell.split(" ± ")
            agree(mean, stated[name]["mean"], 100)
            agree(half, stated[name]["ci95"], 100)


def test_particles_are_those_of_particle_statistics_csv(tmp_path: Path) -> None:
    out = made_up(tmp_path)
    page = page_of(out)
    header, *rows = table_with(page, "particles all / cut / specks")
    assert header[1:] == [
        "particles all / cut / specks", "number per mm²", "mean free path µm", "diameter mean, µm",
        "D10 / D50 / D90 by number, µm", "D10 / D50 / D90 by area, µm",
        "needle-shaped % by number",
    ]  # fmt: skip
    lines = {
        NAMES[row["phase"]]: row
        for row in read_table(out / "particle_statistics.csv")
        if row["group"] == "(all)"
    }
    assert [row[0] for row in rows] == list(lines)
    for name, counts, density, path, diameter, by_number, by_area, needles in rows:
        line = lines[name]
        count, cut, specks = counts.split(" / ")
        assert [count.replace(" ", ""), cut] == [line["particles"], line["touching_border"]]
        assert specks == line["under_10_px"] != "0"
        share = page.text.partition("by area they hold ")[2].partition(f" % of {name}")[0]
        agree(share.split(" ")[-1], line["under_10_px_area_share"], 100)
        for cell, quantity in ((density, "number_per_mm2"), (path, "mean_free_path")):
            mean, half = cell.split(" ± ")
            agree(mean, statistics(out, quantity)[name]["mean"], digits=3)
            agree(half, statistics(out, quantity)[name]["ci95"], digits=2)
        agree(diameter, line["mean_diameter"])
        for cell, kind in ((by_number, "number"), (by_area, "area")):
            for one, tenth in zip(cell.split(" / "), ("d10", "d50", "d90"), strict=True):
                agree(one, line[f"{tenth}_by_{kind}"])
        share, _, shaped = needles.partition(" of ")
        agree(share, line["needle_shaped_by_number"], 100)
        assert shaped == line["with_shape"]
    assert page.text.count("sizes of") == 2


def test_sizes_are_in_pixels_where_nothing_else_is_known(tmp_path: Path) -> None:
    unknown: dict[str, Any] = dict.fromkeys(
        ("pixel_size_um", "mg2si_number_per_mm2", "fe_number_per_mm2", "mg2si_mean_free_path_um",
         "fe_mean_free_path_um")
    )  # fmt: skip
    header = table_with(page_of(made_up(tmp_path, **unknown)), "particles all / cut / specks")[0]
    assert header[2] == "diameter mean, px"


def test_one_field_has_no_interval(tmp_path: Path) -> None:
    page = page_of(made_up(tmp_path, count=1))
    assert "One field gives no interval; two or more do." in page.text
    for row in table_with(page, "area fraction mean, %")[1:]:
        assert row[2:] == ["–", "–", "–", "1", "–"]
    assert "Mg2Si" in page.text
    assert "(1 field, no interval)" in page.text
    assert not [tag for tag, _ in page.tags if tag == "circle"]


def test_an_interval_that_holds_nothing_is_said(tmp_path: Path) -> None:
    rows = [made_up_row("a.tif", 0.001, 0.02), made_up_row("b.tif", 0.01, 0.02)]
    page = page_of(write_made_up(tmp_path, rows))
    assert "Mg2Si: the interval reaches below zero." in page.text
    # And every field is a dot: two phases of two fields.
    assert len([tag for tag, _ in page.tags if tag == "circle"]) == 4


def test_folders_whose_interval_holds_nothing_are_said(tmp_path: Path) -> None:
    # Of 0.1 and 1.0 %: t(0.975, 1) = 12.7, s / sqrt(2) = 0.45 %, so 0.55 +- 5.7 %. Folder b's
    # 2.00 and 2.01 % give 2.005 +- 0.064 %; that of one field, c, has none.
    rows = [
        made_up_row("a/1.tif", 0.001, 0.02), made_up_row("a/2.tif", 0.01, 0.0201),
        made_up_row("b/1.tif", 0.02, 0.02), made_up_row("b/2.tif", 0.0201, 0.0201),
        made_up_row("c/1.tif", 0.02, 0.02),
        made_up_row("d/1.tif", 0.001, 0.001), made_up_row("d/2.tif", 0.01, 0.01),
    ]  # fmt: skip
    page = page_of(write_made_up(tmp_path, rows))
    text = " ".join(page.text.split())
    assert (
        "a: Mg2Si; d: Mg2Si, Fe-containing phase: the interval reaches below zero. With these"
    ) in text.replace(" ;", ";").replace(" :", ":")
    assert "b: " not in text
    assert "c: " not in text


def test_a_field_of_which_all_is_left_out_counts_nowhere(tmp_path: Path) -> None:
    nothing: dict[str, Any] = dict.fromkeys(
        ("al_area_fraction", "mg2si_area_fraction", "fe_area_fraction", "mean_confidence")
    )
    rows = [made_up_row("a.tif"), made_up_row("b.tif"), made_up_row("c.tif", **nothing)]
    page = page_of(write_made_up(tmp_path, rows))
    assert table_with(page, "area fraction mean, %")[1][5] == "2"
    assert table_with(page, "size px")[3][4:8] == ["–"] * 4
    assert "1 field not counted, because all of it is left out" in page.text


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, "Particles were not measured: these results are of an earlier version."),
        ({"particles_file": None}, "Particles were not measured, because --no-particles"),
        (
            {"particles_file": None, "particles_note": "too many to be any"},
            "No field has figures of particles: too many to be any.",
        ),
    ],
)
def test_without_particles_it_is_said(tmp_path: Path, row: dict[str, Any], words: str) -> None:
    page = page_of(write_made_up(tmp_path, [made_up_row(f"{n}.tif", **row) for n in range(3)]))
    assert words in page.text


def test_the_citation_has_the_figures_with_their_intervals(tmp_path: Path) -> None:
    rows = [made_up_row(f"{n}.tif", 0.01 + n / 1000, 0.02) for n in range(3)]
    page = page_of(write_made_up(tmp_path, rows))
    # s = 0.1 %, t(0.975, 2) = 4.303 from a printed table, / sqrt(3)
    assert (
        "Mg2Si (1.10 ± 0.25) % (mean and 95 % confidence interval over 3 fields); "
        "Fe-containing phase 2.00 % (3 fields, no interval)"
    ) in page.text
    assert "in the manner of ASTM E562 and E1245" in page.text
