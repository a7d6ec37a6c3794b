"""Number per area, mean free path and fields of mosaics: closed forms, counts by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from hptl_deploy.measurement.particle_fields import (
    FieldGrid,
    field_figures,
    mean_free_path,
    no_figures,
)
from hptl_deploy.phases import PAPER_PHASES
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


def grid_of(classes: NDArray[np.uint8], bands: int) -> FieldGrid:
    """From bands that are counted apart and stored."""
    height, width = classes.shape
    grid = FieldGrid(height, width)
    for rows in np.array_split(np.arange(height), bands):
        band = FieldGrid(height, width)
        band.add(classes[rows[0] : rows[-1] + 1], int(rows[0]))
        grid.join(json.loads(json.dumps(band.to_json())))
    return grid


def test_fields_of_a_mosaic_are_counted_pixel_by_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hptl_deploy.measurement.particle_fields.FIELD_WIDTH", 40)
    monkeypatch.setattr("hptl_deploy.measurement.particle_fields.FIELD_HEIGHT", 30)
    rng = np.random.default_rng(3)
    coarse = rng.choice(np.array([0, 0, 0, 1, 2, 255], np.uint8), (25, 34))
    classes = np.kron(coarse, np.ones((4, 4), np.uint8))[:97, :133]
    classes[0:40, 0:50] = 255
    particles = measured(classes)
    fields = grid_of(classes, 4).fields(PAPER_PHASES, particles, SIZE_UM)
    assert len(fields) == 3 * 3 - 1  # one is left out
    for field in fields:
        x, y = field["x_px"], field["y_px"]
        part = classes[y : y + field["height_px"], x : x + field["width_px"]]
        there = known(part)
        assert field["known_px"] == there >= part.size / 2
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
        "al_area_fraction": pytest.approx(0.91),
        "mg2si_area_fraction": pytest.approx(0.09),
        "fe_area_fraction": 0.0,
        "mg2si_particles": None,
        "mg2si_number_per_mm2": None,
        "fe_particles": None,
        "fe_number_per_mm2": None,
    }


@pytest.mark.parametrize("document", [None, [[0, 0, 1]], [[0, 0, 1, -1]], [[9, 9, 9, 9]], {"a": 1}])
def test_what_is_no_count_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match="no counts of fields"):
        FieldGrid(10, 10).join(document)
