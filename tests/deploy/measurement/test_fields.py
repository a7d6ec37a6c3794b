from __future__ import annotations

import numpy as np
import pytest

from hptl_deploy.errors import EngineError
from hptl_deploy.measurement import measure_field
from hptl_deploy.phases import PAPER_PHASES


def test_area_fractions_and_confidence() -> None:
    classes = np.zeros((100, 200), np.uint8)
    classes[:10, :50] = 1  # 500 of 20000
    classes[50:, 100:] = 2  # 5000 of 20000
    confidence = np.full(classes.shape, 255, np.uint8)
    confidence[:, :100] = 51
    field = measure_field(classes, confidence, PAPER_PHASES)
    assert field.area_fractions == {"al": 0.725, "mg2si": 0.025, "fe": 0.25}
    assert field.mean_confidence == pytest.approx(0.6)


def test_ignored_pixels_leave_the_denominator() -> None:
    classes = np.array([[0, 1], [255, 255]], np.uint8)
    confidence = np.array([[255, 0], [9, 9]], np.uint8)
    field = measure_field(classes, confidence, PAPER_PHASES)
    assert field.area_fractions == {"al": 0.5, "mg2si": 0.5, "fe": 0.0}
    assert field.mean_confidence == 0.5


def test_a_field_of_nothing_but_ignored_pixels() -> None:
    classes = np.full((2, 2), 255, np.uint8)
    field = measure_field(classes, classes, PAPER_PHASES)
    assert set(field.area_fractions.values()) == {0.0}
    assert field.mean_confidence == 0.0


def test_large_fields_are_counted_in_pieces() -> None:
    classes = np.tile(np.array([0, 1, 2, 2], np.uint8), (3000, 1000))
    field = measure_field(classes, classes, PAPER_PHASES)
    assert field.area_fractions == {"al": 0.25, "mg2si": 0.25, "fe": 0.5}
    assert field.mean_confidence == pytest.approx(1.25 / 255)


def test_an_index_that_is_no_phase_is_refused() -> None:
    classes = np.array([[0, 7]], np.uint8)
    with pytest.raises(EngineError) as caught:
        measure_field(classes, classes, PAPER_PHASES)
    assert str(caught.value) == (
        "the class map holds index 7, the model's card lists 3 phases (0 to 2). "
        "Export the model again"
    )
