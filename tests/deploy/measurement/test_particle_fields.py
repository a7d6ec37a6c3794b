"""Number per area, mean free path and fields of mosaics: closed forms, counts by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hptl_deploy.measurement.particle_fields import (
    FieldGrid,
    field_figures,
    mean_free_path,
    no_figures,
)
from hptl_deploy.measurement.runs import row_runs
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.quality.counts import count
from hptl_deploy.quality.judging import focus_of
from support.edges import edges
from support.particles import measured

SIZE_UM = 0.5


def squares(side: int, period: int, count: int, index: int = 1) -> NDArray[np.uint8]:
    """`count` x `count` squares on a grid, none at the border."""
    cell = np.zeros((period, period), np.uint8)
    begin = (period - side) // 2
    cell[begin : begin + side, begin : begin + side] = index
    return np.tile(cell, (count, count))


def known(classes: NDArray[np.uint8]) -> int:
    return int((classes != 255).sum())


def test_mean_free_path_of_a_grid_of_squares() -> None:
    # A line meets a square with probability side / period, once per period.
    side, period = 6, 20
    classes = squares(side, period, 5)
    expected = (1 - side**2 / period**2) / (side / period / period)
    assert mean_free_path(measured(classes), 1, known(classes)) == pytest.approx(expected)


def test_mean_free_path_of_strips_that_the_border_cuts() -> None:
    # Columns of 4 in every 10: 1 per 10 px along rows, none along columns.
    classes = np.tile(np.repeat(np.array([1, 0, 1], np.uint8), [2, 6, 2]), (50, 10))
    found = mean_free_path(measured(classes), 1, classes.size)
    crossings_per_row = 2 * 10
    expected = (1 - 0.4) / (crossings_per_row / 2 * 50 / (2 * classes.size))
    assert found == pytest.approx(expected)


def test_mean_free_path_does_not_depend_on_where_a_frame_is_cut() -> None:
    """Frames cut anywhere out of a large pattern: unbiased, as the mean of 1 / path shows."""
    rng = np.random.default_rng(2)
    classes = squares(7, 19, 40)
    whole = mean_free_path(measured(classes), 1, classes.size)
    assert whole is not None
    intercepts = []
    for _ in range(200):
        y, x = rng.integers(0, classes.shape[0] - 70, 2)
        part = classes[y : y + 67, x : x + 67]
        found = mean_free_path(measured(part), 1, part.size)
        assert found is not None
        intercepts.append((1 - part.mean()) / found)
    # A crossing is seen between two pixels, and of 67 in a line there are 66 such places.
    expected = (1 - classes.mean()) / whole * 66 / 67
    assert np.mean(intercepts) == pytest.approx(expected, rel=0.005)


def test_mean_free_path_leaves_out_what_is_left_out() -> None:
    classes = squares(6, 20, 5)
    wide = np.concatenate([classes, np.full((100, 40), 255, np.uint8)], axis=1)
    assert mean_free_path(measured(wide), 1, known(wide)) == mean_free_path(
        measured(classes), 1, known(classes)
    )


def test_particles_that_are_cut_count_half_per_area() -> None:
    classes = np.zeros((100, 200), np.uint8)
    classes[0:20, 10:30] = 1
    classes[50:60, 50:60] = 1
    classes[80:90, 180:200] = 1
    classes[40:50, 100:120] = 2
    found = field_figures(measured(classes), classes.size, PAPER_PHASES, SIZE_UM)
    mm2 = 100 * 200 * (SIZE_UM / 1000) ** 2
    assert found["mg2si_particles"] == 3
    assert found["mg2si_number_per_mm2"] == pytest.approx(2 / mm2)
    assert found["fe_particles"] == 1
    assert found["fe_number_per_mm2"] == pytest.approx(1 / mm2)
    # 10 rows and 20 columns meet it.
    assert found["fe_mean_free_path_um"] == pytest.approx(
        (1 - 200 / 20000) / (30 / (2 * 20000)) * SIZE_UM
    )


def test_counting_cut_particles_half_is_unbiased() -> None:
    rng = np.random.default_rng(4)
    classes = squares(7, 19, 40)
    counted = []
    for _ in range(200):
        y, x = rng.integers(0, classes.shape[0] - 260, 2)
        part = classes[y : y + 247, x : x + 247]
        found = field_figures(measured(part), part.size, PAPER_PHASES, 1.0)
        counted.append(found["mg2si_number_per_mm2"])
    assert np.mean(np.array(counted, float)) == pytest.approx(1e6 / 19**2, rel=0.01)


def test_without_a_pixel_size_there_are_only_numbers() -> None:
    classes = squares(6, 20, 5)
    found = field_figures(measured(classes), classes.size, PAPER_PHASES, None)
    assert found == {
        "mg2si_particles": 25,
        "mg2si_number_per_mm2": None,
        "mg2si_mean_free_path_um": None,
        "fe_particles": 0,
        "fe_number_per_mm2": None,
        "fe_mean_free_path_um": None,
    }
    assert list(no_figures(PAPER_PHASES)) == list(found)
    assert set(no_figures(PAPER_PHASES).values()) == {None}


def test_a_page_that_is_left_out_altogether() -> None:
    found = field_figures(measured(np.full((9, 9), 255, np.uint8)), 0, PAPER_PHASES, 1.0)
    assert found["mg2si_particles"] is None
    assert found["mg2si_number_per_mm2"] is None
    assert found["mg2si_mean_free_path_um"] is None


def picture_of(classes: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A micrograph and the confidence for a class map; some saturated, some unsure."""
    rng = np.random.default_rng(9)
    levels = np.array([0, 90, 100, 110, 120, 130, 254, 255], np.uint8)
    return rng.choice(levels, (*classes.shape, 3)), rng.integers(140, 170, classes.shape, np.uint8)


def grid_of(classes: NDArray[np.uint8], bands: int) -> FieldGrid:
    """From bands that are counted apart and stored."""
    height, width = classes.shape
    picture, confidence = picture_of(classes)
    grid = FieldGrid(height, width)
    for rows in np.array_split(np.arange(height), bands):
        top, part = int(rows[0]), classes[rows[0] : rows[-1] + 1]
        band = FieldGrid(height, width)
        seen = slice(top, top + len(part))
        band.add(picture[seen], part, confidence[seen], top)
        grid.join(json.loads(json.dumps(band.to_json())))
        runs = row_runs(part, np.zeros_like(part), 255, part.size)
        assert runs is not None
        grid.cross(runs.lower_by(top), top + len(part))
    return grid


@pytest.fixture
def small_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of about 40 x 30 px."""
    monkeypatch.setattr("hptl_deploy.measurement.particle_fields.FIELD_WIDTH", 40)
    monkeypatch.setattr("hptl_deploy.measurement.particle_fields.FIELD_HEIGHT", 30)


def coarse_map() -> NDArray[np.uint8]:
    """Squares of all phases and of what is left out, one field left out: [97, 133]."""
    rng = np.random.default_rng(3)
    coarse = rng.choice(np.array([0, 0, 0, 1, 2, 255], np.uint8), (25, 34))
    classes = np.kron(coarse, np.ones((4, 4), np.uint8))[:97, :133]
    classes[0:40, 0:50] = 255
    return classes


def cut_out(classes: NDArray[np.uint8], field: dict[str, Any]) -> NDArray[np.uint8]:
    x, y = field["x_px"], field["y_px"]
    return classes[y : y + field["height_px"], x : x + field["width_px"]]


@pytest.mark.parametrize("bands", [1, 4, 97])
@pytest.mark.parametrize("piece", [1, 700, 1 << 20])
@pytest.mark.parametrize("pixels", [1, 4])
def test_free_paths_of_a_mosaics_fields_are_those_of_the_fields_cut_out(
    monkeypatch: pytest.MonkeyPatch, small_fields: None, bands: int, piece: int, pixels: int
) -> None:
    """To the last digit, whatever is counted together; single pixels end at every border."""
    monkeypatch.setattr("hptl_deploy.measurement.crossings._PIECE", piece)
    classes = coarse_map()
    if pixels == 1:
        drawn = np.random.default_rng(6).choice(np.array([0, 0, 1, 2, 255], np.uint8), (97, 133))
        classes[40:], classes[:, 50:] = drawn[40:], drawn[:, 50:]
    fields = grid_of(classes, bands).fields(PAPER_PHASES, measured(classes), SIZE_UM)
    assert len(fields) == 3 * 3 - 1
    for field in fields:
        part = cut_out(classes, field)
        alone = field_figures(measured(part), known(part), PAPER_PHASES, SIZE_UM)
        for key in ("mg2si", "fe"):
            name = f"{key}_mean_free_path_um"
            assert field[name] == alone[name] is not None


def test_the_page_as_one_field_has_the_pages_free_path() -> None:
    classes = coarse_map()
    (field,) = grid_of(classes, 5).fields(PAPER_PHASES, measured(classes), SIZE_UM)
    whole = field_figures(measured(classes), known(classes), PAPER_PHASES, SIZE_UM)
    assert field["fe_mean_free_path_um"] == whole["fe_mean_free_path_um"] is not None


def test_a_field_without_a_phase_or_without_a_pixel_size_has_no_free_path(
    small_fields: None,
) -> None:
    classes = np.zeros((30, 80), np.uint8)
    classes[:, 40:][5:9, 5:9] = 1
    particles = measured(classes)
    empty, full = grid_of(classes, 2).fields(PAPER_PHASES, particles, SIZE_UM)
    assert empty["mg2si_mean_free_path_um"] is None
    assert full["mg2si_mean_free_path_um"] == pytest.approx(
        (1 - 16 / 1200) / (8 / (2 * 1200)) * SIZE_UM
    )
    for field in grid_of(classes, 2).fields(PAPER_PHASES, particles, None):
        assert field["mg2si_mean_free_path_um"] is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_free_paths_of_pages_of_one_line(shape: tuple[int, int]) -> None:
    classes = np.zeros(shape, np.uint8)
    classes.ravel()[2:4] = 1
    (field,) = grid_of(classes, shape[0]).fields(PAPER_PHASES, measured(classes), SIZE_UM)
    alone = field_figures(measured(classes), classes.size, PAPER_PHASES, SIZE_UM)
    assert field["mg2si_mean_free_path_um"] == alone["mg2si_mean_free_path_um"]


def test_fields_of_a_mosaic_are_counted_pixel_by_pixel(small_fields: None) -> None:
    classes = coarse_map()
    (picture, confidence), particles = picture_of(classes), measured(classes)
    fields = grid_of(classes, 4).fields(PAPER_PHASES, particles, SIZE_UM)
    assert len(fields) == 3 * 3 - 1  # one is left out
    for field in fields:
        x, y, part = field["x_px"], field["y_px"], cut_out(classes, field)
        there = known(part)
        assert field["known_px"] == there >= part.size / 2
        counted = count(*(cut_out(one, field) for one in (picture, classes, confidence)))
        assert field["saturated_fraction"] == counted.saturated_fraction
        assert field["unsure_fraction"] == counted.unsure_fraction
        for index, key in enumerate(("al", "mg2si", "fe")):
            assert field[f"{key}_area_fraction"] == pytest.approx((part == index).sum() / there)
        for index, key in ((1, "mg2si"), (2, "fe")):
            inside = (particles.phase == index) & (x <= particles.x) & (y <= particles.y)
            inside &= (particles.x < x + part.shape[1]) & (particles.y < y + part.shape[0])
            assert field[f"{key}_particles"] == inside.sum()
            halves = (inside & ~particles.cut).sum() + (inside & particles.cut).sum() / 2
            area = there * (SIZE_UM / 1000) ** 2
            assert field[f"{key}_number_per_mm2"] == pytest.approx(halves / area)
    assert {field["width_px"] for field in fields} == {44, 45}
    assert {field["height_px"] for field in fields} == {32, 33}


def test_fields_without_particles_have_fractions_alone() -> None:
    (field,) = grid_of(squares(6, 20, 5), 1).fields(PAPER_PHASES, None, 0.5)
    assert field == {
        "x_px": 0,
        "y_px": 0,
        "width_px": 100,
        "height_px": 100,
        "known_px": 10000,
        "focus": None,
        "saturated_fraction": pytest.approx(1 - 0.75**3, abs=0.02),
        "unsure_fraction": pytest.approx(13 / 30, abs=0.02),
        "al_area_fraction": pytest.approx(0.91),
        "mg2si_area_fraction": pytest.approx(0.09),
        "fe_area_fraction": 0.0,
        "mg2si_particles": None,
        "mg2si_number_per_mm2": None,
        "mg2si_mean_free_path_um": None,
        "fe_particles": None,
        "fe_number_per_mm2": None,
        "fe_mean_free_path_um": None,
    }


@pytest.mark.parametrize(
    "document",
    [
        None, {"a": 1}, [[0, 0, 1, 1]],
        {"pixels": [[0, 0, 1]], "doubtful": [], "focus": []},
        {"pixels": [[0, 0, 1, -1]], "doubtful": [], "focus": []},
        {"pixels": [[9, 9, 9, 9]], "doubtful": [], "focus": []},
        {"pixels": []}, {"pixels": [], "doubtful": [[0, 0, 2, 1]], "focus": []},
        {"pixels": [], "doubtful": []}, {"pixels": [], "doubtful": [], "focus": [[0, 0]]},
    ],
)  # fmt: skip
def test_what_is_no_count_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match="no counts of fields"):
        FieldGrid(10, 10).join(document)


@pytest.mark.parametrize("left_out", [False, True])
@pytest.mark.parametrize("bands", [[700], [256, 512, 700], [512, 700], [256, 700]])
def test_the_focus_of_a_field_is_that_of_its_middle_rows_whatever_the_bands(
    monkeypatch: pytest.MonkeyPatch, bands: list[int], left_out: bool
) -> None:
    """Two fields of 600 x 700 px, the right one less sharp, in bands that end at these rows."""
    monkeypatch.setattr("hptl_deploy.measurement.particle_fields.FIELD_WIDTH", 600)
    drawn = [edges(blur, low=60, high=190, size=(700, 600)) for blur in (1.2, 3.5)]
    pixels, middle = np.concatenate(drawn, axis=1), slice(256, 512)
    classes = np.zeros(pixels.shape[:2], np.uint8)
    classes[260:500, 600:900] = 255 * left_out
    height, width = 700, 1200
    grid, top = FieldGrid(height, width), 0
    for bottom in bands:
        band, seen = FieldGrid(height, width), slice(top, bottom)
        band.add(pixels[seen], classes[seen], np.full_like(classes[seen], 250), top)
        grid.join(json.loads(json.dumps(band.to_json())))
        top = bottom
    sharp, blurred = (field["focus"] for field in grid.fields(PAPER_PHASES, None, None))
    assert sharp == focus_of(drawn[0][middle]) == pytest.approx(1.2, rel=0.05)
    assert blurred == focus_of(drawn[1][middle], classes[middle, 600:]) == pytest.approx(3.5, 0.05)
