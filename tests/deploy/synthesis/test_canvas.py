from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import label
from skimage.morphology import remove_small_objects

from hptl_deploy.synthesis.canvas import FE, MATRIX, MG2SI, Canvas, without_specks

SQUARE = np.array([[20.0, 10.0], [59.0, 10.0], [59.0, 29.0], [20.0, 29.0]])
STILL = np.random.default_rng(0)


def test_particles_lie_where_they_were_filled() -> None:
    canvas = Canvas(50, 90)
    number = canvas.particle(MG2SI)
    canvas.fill(SQUARE, number)
    other = canvas.particle(FE)
    canvas.fill(SQUARE + np.array([20, 10]), other)
    canvas.hole(np.array([[30.0, 15.0], [33.0, 15.0], [33.0, 18.0], [30.0, 18.0]]))
    expected = np.zeros((50, 90), np.uint8)
    expected[10:30, 20:60] = MG2SI
    expected[20:40, 40:80] = FE
    expected[15:19, 30:34] = MATRIX
    np.testing.assert_array_equal(canvas.phases()[canvas.numbers(STILL, [])], expected)
    assert canvas.drawn == [0, 39 * 19, 39 * 19]  # the overlap counted, the hole not taken off
    assert canvas.phase_at(21.4, 10) == MG2SI
    assert canvas.phase_at(59, 21) == FE
    assert canvas.phase_at(31, 16) == MATRIX
    for outside in ((-1, 10), (90, 10), (20, -3), (20, 50)):
        assert canvas.phase_at(*outside) == MATRIX


@pytest.mark.parametrize("width", [3.0, 8.0, 15.0])
def test_a_stroke_is_a_band_with_round_ends(width: float) -> None:
    canvas = Canvas(120, 300)
    path = np.stack([np.linspace(40, 250, 9), np.linspace(30, 80, 9)], axis=1)
    canvas.stroke(path, np.full(9, width), canvas.particle(FE))
    length = float(np.hypot(210, 50))
    assert canvas.drawn[FE] == pytest.approx(length * width)
    covered = canvas.numbers(STILL, []) > 0
    # Pillow fills pixels that an outline touches, too.
    expected = length * width + np.pi * width**2 / 4
    assert expected < covered.sum() < 1.06 * expected
    assert label(covered).max() == 1


def test_a_bent_stroke_has_no_gaps() -> None:
    canvas = Canvas(200, 200)
    turns = np.linspace(0, 5.5, 25)
    path = 100 + 70 * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    canvas.stroke(path, np.linspace(12, 2, 25), canvas.particle(MG2SI))
    covered = canvas.numbers(STILL, []) > 0
    assert label(covered).max() == 1
    assert covered.sum() == pytest.approx(70 * 5.5 * 7, rel=0.15)


def test_outlines_are_roughened_by_as_much_as_asked() -> None:
    """The displaced edge of a half-plane has the deviation of the displacement."""
    canvas = Canvas(600, 400)
    half = np.array([[-9.0, -9.0], [199.0, -9.0], [199.0, 700.0], [-9.0, 700.0]])
    canvas.fill(half, canvas.particle(FE))
    edges = []
    for seed in range(6):
        covered = canvas.numbers(np.random.default_rng(seed), [(3.0, 12.0)]) > 0
        edges.append(covered.sum(axis=1) - 200)
    assert abs(np.mean(edges)) < 0.6
    assert np.std(edges) == pytest.approx(3.0, rel=0.15)
    together = [
        (canvas.numbers(np.random.default_rng(s), [(3.0, 12.0), (4.0, 20.0)]) > 0).sum(axis=1)
        for s in range(6)
    ]
    assert np.std(together) == pytest.approx(5.0, rel=0.2)  # in quadrature


@pytest.mark.parametrize("smallest", [2, 9, 30])
def test_specks_become_matrix(smallest: int) -> None:
    """Against scikit-image, phase by phase, so that touching phases are two pieces."""
    classes = np.random.default_rng(1).choice(3, (120, 160), p=[0.5, 0.25, 0.25]).astype(np.uint8)
    classes[:40] = np.kron(classes[:5, :20], np.ones((8, 8), np.uint8))
    expected = np.zeros_like(classes)
    for phase in (MG2SI, FE):
        kept = remove_small_objects(classes == phase, max_size=smallest - 1, connectivity=1)
        expected[kept] = phase
    before = classes.copy()
    found = without_specks(classes, smallest)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(classes, before)
    assert found.dtype == np.uint8
    assert (found != classes).any()
    assert (found[:40] > 0).any()
