from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.statistics.lines import Line, lines_of, made_with
from hptl_deploy.statistics.samples import (
    ALL,
    TOP,
    Row,
    group_of,
    in_order,
    mean_area_fractions,
    samples_of,
)
from hptl_deploy.statistics.validation import Validation
from support.field_rows import row

NOT_STATED = {phase.key: Validation() for phase in PAPER_PHASES}


def lines(rows: Sequence[Row]) -> list[Line]:
    return lines_of(samples_of(rows, PAPER_PHASES), PAPER_PHASES, NOT_STATED)


def mosaic(file: str, *mg2si: float, **more: Any) -> dict[str, Any]:
    parts = [
        {"x_px": 0, "y_px": 0, "width_px": 20, "height_px": 10, "al_area_fraction": 1 - one,
         "mg2si_area_fraction": one, "fe_area_fraction": 0.0}
        for one in mg2si
    ]  # fmt: skip
    return row(file, mg2si=0.9) | {"mosaic_fields": parts} | more


@pytest.mark.parametrize(
    ("file", "group"),
    [
        ("a.tif", TOP),
        ("A/a.tif", "A"),
        ("A/b/a.tif", "A/b"),
        ("(all)/a.tif", "./(all)"),
        ("(top)/a.tif", "./(top)"),
        ("x/(all)/a.tif", "x/(all)"),
    ],
)
def test_the_group_is_the_folder(file: str, group: str) -> None:
    assert group_of(file) == group


def test_groups_go_by_name_behind_those_in_no_folder() -> None:
    assert in_order(["b", TOP, "a", "b", "#"]) == [TOP, "#", "a", "b"]


def test_every_group_and_all_together() -> None:
    rows = [row("A/a.tif", mg2si=0.01), row("A/b.tif", mg2si=0.03), row("B/a.tif", mg2si=0.08)]
    found = [line for line in lines(rows) if line.phase.key == "mg2si"]
    assert [(line.group, line.estimate.n) for line in found] == [(ALL, 3), ("A", 2), ("B", 1)]
    assert [line.estimate.mean for line in found] == pytest.approx([0.04, 0.02, 0.08])
    assert [line.phase.key for line in lines(rows)] == ["al", "mg2si", "fe"] * 3


def test_of_one_group_only_the_whole_is_stated() -> None:
    assert {line.group for line in lines([row("A/a.tif"), row("A/b.tif")])} == {ALL}


def test_without_fields_there_are_no_lines() -> None:
    assert lines([]) == []
    assert mean_area_fractions(samples_of([], PAPER_PHASES), PAPER_PHASES) == {}


def test_a_field_that_is_left_out_whole_is_no_field() -> None:
    nothing = row("c.tif") | {f"{phase.key}_area_fraction": 0.0 for phase in PAPER_PHASES}
    samples = samples_of([row("a.tif", mg2si=0.2), row("b.tif", mg2si=0.1), nothing], PAPER_PHASES)
    assert mean_area_fractions(samples, PAPER_PHASES)["mg2si"] == pytest.approx(0.15)
    assert samples.notes() == ["1 field not counted, because all of it is left out"]
    samples.unmeasured = 2
    assert samples.notes() == ["2 fields not counted, because all of each is left out"]


def test_a_mosaic_counts_as_its_fields() -> None:
    found = lines([mosaic("m.tif", 0.1, 0.2, 0.3)])
    (line,) = (line for line in found if line.phase.key == "mg2si")
    assert line.estimate.n == 3
    assert line.estimate.mean == pytest.approx(0.2)
    samples = samples_of([mosaic("m.tif", 0.1, 0.2, 0.3)], PAPER_PHASES)
    assert samples.notes() == ["1 mosaic divided into 3 fields"]


def test_frames_beside_mosaics_are_told() -> None:
    rows = [mosaic("m.tif", 0.1, 0.2), mosaic("n.tif", 0.3), row("a.tif", mg2si=0.6)]
    samples = samples_of(rows, PAPER_PHASES)
    assert mean_area_fractions(samples, PAPER_PHASES)["mg2si"] == pytest.approx(0.3)
    assert samples.notes() == [
        "1 single frame and 2 mosaics divided into 3 fields; each counts the same"
    ]


def test_fields_of_unlike_size_are_told() -> None:
    rows = [row("a.tif"), row("b.tif") | {"width_px": 2000, "height_px": 1500}]
    assert samples_of(rows, PAPER_PHASES).notes() == [
        "fields differ in size, 0.0002 to 3 Mpx; each counts the same"
    ]
    assert samples_of(rows[:1] * 2, PAPER_PHASES).notes() == []


def test_fields_of_unlike_magnification_are_told() -> None:
    # 20 x 10 px of 0.5 um show 50 um2, of 0.8 um 128 um2; twice the area is not yet unlike.
    def notes(*sizes: float | None, **more: int) -> list[str]:
        rows = [row(f"{n}.tif") | {"pixel_size_um": size} for n, size in enumerate(sizes)]
        return samples_of([rows[0] | more, *rows[1:]], PAPER_PHASES).notes()

    assert notes(0.5, 0.5 * math.sqrt(2)) == []
    assert notes(0.5, 0.8) == ["fields differ in size, 5e-05 to 0.000128 mm2; each counts the same"]
    assert notes(0.5, 0.8, width_px=50) == [
        "fields differ in size, 0.0002 to 0.0005 Mpx; each counts the same"
    ]  # 125 and 128 um2
    assert notes(0.8, 0.5, width_px=50) == [
        "fields differ in size, 0.0002 to 0.0005 Mpx and 5e-05 to 0.00032 mm2; each counts the same"
    ]
    assert len(notes(0.5, None)) == 1  # only that a size is unknown


def test_mosaics_have_the_real_size_of_their_parts() -> None:
    rows = [
        mosaic("m.tif", 0.1, 0.2) | {"pixel_size_um": 0.5},
        mosaic("n.tif", 0.3) | {"pixel_size_um": 1.0},
    ]
    (said,) = (x for x in samples_of(rows, PAPER_PHASES).notes() if "differ" in x)
    assert said.endswith(" mm2; each counts the same")


def test_fields_without_a_pixel_size_are_told() -> None:
    known = {"pixel_size_um": 0.25}
    rows = [mosaic("m.tif", 0.1, 0.2), row("a.tif"), row("b.tif") | known]
    assert samples_of(rows, PAPER_PHASES).notes()[-1] == (
        "the pixel size of 3 of 4 fields is unknown: figures in um and mm2 are of the others"
    )
    assert not [x for x in samples_of(rows[:2], PAPER_PHASES).notes() if "pixel size" in x]
    assert samples_of(rows[2:], PAPER_PHASES).notes() == []


def test_pages_without_particles_are_told() -> None:
    noise = {"particles_note": "too many particles to be any"}
    rows = [row("a.tif") | noise, row("b.tif") | {"particles_note": None}, row("c.tif") | noise]
    assert samples_of(rows, PAPER_PHASES).notes() == [
        "2 pages without figures of particles: too many particles to be any"
    ]


def test_what_is_unknown_of_some_fields_is_estimated_over_the_others() -> None:
    known = {"mg2si_number_per_mm2": 1000.0, "mg2si_mean_free_path_um": 50.0}
    unknown = {"mg2si_number_per_mm2": None, "mg2si_mean_free_path_um": None}
    rows = [
        row("a.tif") | known,
        row("b.tif") | unknown,
        row("c.tif") | known | {"mg2si_number_per_mm2": 3000.0},
    ]
    found = {(line.quantity, line.unit): line.estimate for line in lines(rows)
             if line.phase.key == "mg2si"}  # fmt: skip
    assert found["area_fraction", "fraction"].n == 3
    assert found["number_per_mm2", "1/mm2"].n == 2
    assert found["number_per_mm2", "1/mm2"].mean == 2000
    assert found["mean_free_path", "um"].s == 0


def test_what_it_was_made_with() -> None:
    rows = [row("a.tif"), row("b.tif") | {"hptl_deploy_version": "9.9"}, row("c.tif")]
    assert made_with(rows) == {
        "model": "m", "model_sha256": "0" * 64, "precision": "fp32",
        "hptl_deploy_version": "0.1.0; 9.9",
    }  # fmt: skip
