"""Screen, JSON, CSV, Excel and report say the same, and what the class maps say to other libraries.

Everything that is compared is worked out here once more, from the class maps and nothing else, with
numpy, scipy and scikit-image.
"""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from openpyxl import load_workbook
from scipy import stats
from skimage.measure import label

from hptl_deploy.cli.main import run
from hptl_deploy.phases import PAPER_PHASES
from support.drawings import blobs, save
from support.pages import Page
from support.threshold_model import write_threshold_model

UM = 0.25
CROP = 17
KEYS = [phase.key for phase in PAPER_PHASES]
NAMES = {phase.key: phase.name for phase in PAPER_PHASES}
QUANTITIES = ("area_fraction", "number_per_mm2", "mean_free_path")


@dataclass(frozen=True)
class Story:
    """A results folder, and what was said while it was made."""

    out: Path
    said: str
    document: dict[str, Any]

    def table(self, name: str) -> list[dict[str, str]]:
        with (self.out / name).open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))

    def maps(self, group: str = "") -> list[NDArray[np.uint8]]:
        return [tifffile.imread(p) for p in sorted(self.out.rglob(f"{group}*/*_classes.tif"))]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("story")
    write_threshold_model(folder / "models")
    for seed, name in enumerate(["A/a", "A/b", "A/c", "B/a", "B/b"]):
        save(folder / "in" / f"{name}.png", blobs(200, 260, seed=seed))
    command = [
        "segment", str(folder / "in"), "--models", str(folder / "models"), "--device", "cpu",
        "--pixel-size", str(UM), "--rescale", "off", "--crop-bottom", str(CROP),
    ]  # fmt: skip
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout.write", said.append)
        assert run(command) == 0
        text = "".join(said)
        said.clear()
        assert run([*command, "--json"]) == 0
        document = json.loads("".join(said))
    return Story(folder / "in-segmented", text, document)


def figures_of(classes: NDArray[np.uint8], index: int) -> dict[str, float]:
    """The quantities of one field, from its class map."""
    known, inside = classes != 255, classes == index
    area = known.sum()
    found = {"area_fraction": inside.sum() / area}
    if index:
        # Cut: at the border of the picture, or beside what is left out.
        numbers = label(inside, connectivity=2)
        around = np.pad(known, 1)
        near = [np.roll(around, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        open_ = np.all(near, axis=0)[1:-1, 1:-1]
        cut = len(set(numbers[inside & ~open_].tolist()))
        found["number_per_mm2"] = (numbers.max() - cut / 2) / (area * UM**2) * 1e6
        both = [known[1:] & known[:-1], known[:, 1:] & known[:, :-1]]
        met = [
            np.count_nonzero((np.diff(inside.astype(int), axis=axis) != 0) & both[axis]) / 2
            for axis in (0, 1)
        ]
        per_um = np.mean(met) / (area * UM)
        found["mean_free_path"] = (1 - found["area_fraction"]) / per_um
    return found


Lines = dict[tuple[str, str, str], dict[str, float]]
"""By group, phase and quantity."""


def expected(story: Story) -> Lines:
    found: Lines = {}
    for group in ("(all)", "A", "B"):
        maps = story.maps("" if group == "(all)" else group)
        assert len(maps) == {"(all)": 5, "A": 3, "B": 2}[group]
        for index, key in enumerate(KEYS):
            fields = [figures_of(classes, index) for classes in maps]
            for quantity in QUANTITIES[: 3 if index else 1]:
                x = np.array([field[quantity] for field in fields])
                found[group, key, quantity] = interval(x)
    return found


def interval(x: NDArray[np.float64]) -> dict[str, float]:
    mean, s, n = x.mean(), x.std(ddof=1), len(x)
    low, _ = stats.t.interval(0.95, n - 1, loc=mean, scale=stats.sem(x))
    needed = next(
        m for m in range(2, 10_000) if stats.t.ppf(0.975, m - 1) * s / math.sqrt(m) <= 0.1 * mean
    )
    return {
        "n_fields": n, "mean": mean, "s": s, "ci95": mean - low,
        "ra_percent": 100 * (mean - low) / mean, "fields_for_10_percent": needed,
        "more_fields_needed": max(0, needed - n), "minimum": x.min(), "maximum": x.max(),
    }  # fmt: skip


def check(found: Lines, wanted: Lines, rel: float) -> None:
    assert found.keys() == wanted.keys()
    for place, figures in wanted.items():
        for name, figure in figures.items():
            assert found[place][name] == pytest.approx(figure, rel=rel), (place, name)


def read(rows: list[dict[str, Any]]) -> Lines:
    return {
        (row["group"], row["phase"].rpartition("(")[2].rstrip(")"), row["quantity"]): {
            name: float(value) for name, value in row.items()
            if name in interval(np.array([1.0, 2.0]))
        }
        for row in rows
    }  # fmt: skip


def test_fields_are_the_class_maps(story: Story) -> None:
    rows = story.table("fields.csv")
    assert [row["file"] for row in rows] == ["A/a.png", "A/b.png", "A/c.png", "B/a.png", "B/b.png"]
    for row, classes in zip(rows, story.maps(), strict=True):
        assert (classes[-CROP:] == 255).all()
        assert int(row["left_out_px"]) == (classes == 255).sum() == CROP * 260
        for index, key in enumerate(KEYS):
            for name, figure in figures_of(classes, index).items():
                unit = "_um" if name == "mean_free_path" else ""
                assert float(row[f"{key}_{name}{unit}"]) == pytest.approx(figure, rel=1e-7)


def test_intervals_in_every_form(story: Story) -> None:
    wanted = expected(story)
    check(read(story.table("statistics.csv")), wanted, 1e-8)
    check(read(story.document["statistics"]["fields"]), wanted, 1e-12)
    head, *cells = load_workbook(story.out / "summary.xlsx")["Summary"].iter_rows(values_only=True)
    check(read([dict(zip(map(str, head), row, strict=True)) for row in cells]), wanted, 1e-12)
    run_json = json.loads((story.out / "run.json").read_text(encoding="utf-8"))
    assert run_json["model"]["sha256"] == story.document["model"]["sha256"]


def test_the_screen_and_the_report_round_the_same_figures(story: Story) -> None:
    wanted = expected(story)
    lines = story.said.partition("area fraction in %")[2].splitlines()[2:5]
    screen = {name: cells for name, *cells in (re.split(r" {2,}", line.strip()) for line in lines)}
    page = Page((story.out / "report.html").read_text(encoding="utf-8"))
    (table,) = (table for table in page.tables if "area fraction mean, %" in table[0])
    report = {row[0]: row[1:] for row in table[1:]}
    for key in KEYS:
        figures = wanted["(all)", key, "area_fraction"]
        mean, s, ci95, ra = (figures[name] for name in ("mean", "s", "ci95", "ra_percent"))
        assert screen[NAMES[key]][:5] == [
            f"{100 * mean:.3f}", f"{100 * s:.3f}", f"{100 * ci95:.3f}", f"{ra:.1f}",
            f"{figures['fields_for_10_percent']} ({figures['more_fields_needed']} more)",
        ]  # fmt: skip
        assert report[NAMES[key]][:3] == [f"{100 * x:.2f}" for x in (mean, ci95, s)]
        assert report[NAMES[key]][4:] == ["5", str(figures["more_fields_needed"])]


def test_particles_in_every_form(story: Story) -> None:
    lines = {(row["group"], row["phase"]): row for row in story.table("particle_statistics.csv")}
    stated = {
        (row["group"], row["phase"]): row for row in story.document["statistics"]["particles"]
    }
    sizes = story.table("sizes.csv")
    assert lines.keys() == stated.keys() == {(g, k) for g in ("(all)", "A", "B") for k in KEYS[1:]}
    for (group, key), line in lines.items():
        numbers, uncut = 0, []
        for classes in story.maps("" if group == "(all)" else group):
            found = label(classes == KEYS.index(key), connectivity=2)
            # What touches the border of the picture, or the last row that is not left out.
            edge = np.r_[found[0], found[-CROP - 1], found[:, 0], found[:, -1]]
            areas = np.bincount(found.ravel(), minlength=found.max() + 1)
            areas[[0, *set(edge.tolist())]] = 0
            numbers += found.max()
            uncut += areas[areas > 0].tolist()
        diameters = np.sort(np.sqrt(4 * np.array(uncut) / math.pi) * UM)
        assert (int(line["particles"]), int(line["measured"])) == (numbers, len(uncut))
        assert int(line["touching_border"]) == numbers - len(uncut)
        figures = {
            "mean_diameter": diameters.mean(), "s_diameter": diameters.std(ddof=1),
            "d50_by_number": np.quantile(diameters, 0.5, method="inverted_cdf"),
            "d90_by_number": np.quantile(diameters, 0.9, method="inverted_cdf"),
            "d50_by_area": diameters[np.searchsorted(np.cumsum(diameters**2),
                                                     0.5 * (diameters**2).sum())],
        }  # fmt: skip
        for name, figure in figures.items():
            assert float(line[name]) == pytest.approx(figure, rel=1e-8), (group, key, name)
            assert stated[group, key][name] == pytest.approx(figure, rel=1e-12), (group, key, name)
        own = [row for row in sizes if (row["group"], row["phase"]) == (group, key)]
        limits = [float(row["lower"]) for row in own] + [float(own[-1]["upper"])]
        counted, _ = np.histogram(diameters, limits)
        assert [int(row["particles"]) for row in own] == counted.tolist()
        assert counted.sum() == len(uncut)


def test_the_table_of_all_particles_is_the_pages_tables(story: Story) -> None:
    rows = story.table("particles.csv")
    whole: dict[str, list[dict[str, str]]] = {row["file"]: [] for row in story.table("fields.csv")}
    for row in rows:
        whole[row["file"]].append(row)
    for field in story.table("fields.csv"):
        assert len(whole[field["file"]]) == sum(int(field[f"{key}_particles"]) for key in KEYS[1:])
        area = sum(int(row["area_px"]) for row in whole[field["file"]])
        known = 200 * 260 - int(field["left_out_px"])
        matrix = float(field[f"{KEYS[0]}_area_fraction"])
        assert area == pytest.approx(known * (1 - matrix), abs=1e-3)
