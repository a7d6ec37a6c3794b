from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hptl_deploy.errors import EngineError
from hptl_deploy.measurement import fields, measure_field
from hptl_deploy.measurement.fields import Tally
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
    assert set(field.area_fractions.values()) == {None}
    assert field.mean_confidence is None
    assert field.left_out_px == classes.size


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


def drawn(seed: int, height: int, width: int) -> tuple[np.ndarray[Any, Any], ...]:
    random = np.random.default_rng(seed)
    classes = random.choice(np.array([0, 1, 2, 255], np.uint8), (height, width))
    return classes, random.integers(0, 256, (height, width), np.uint8)


def counted(classes: np.ndarray[Any, Any], confidence: np.ndarray[Any, Any]) -> Tally:
    tally = Tally()
    tally.add(classes, confidence)
    return tally


@settings(max_examples=40)
@given(
    seed=st.integers(0, 999), height=st.integers(1, 40), width=st.integers(1, 40),
    piece=st.integers(1, 500),
)  # fmt: skip
def test_a_tally_is_what_counting_by_hand_gives(
    seed: int, height: int, width: int, piece: int
) -> None:
    classes, confidence = drawn(seed, height, width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fields, "_PIECE", piece)
        tally = counted(classes, confidence)
    assert tally.pixels.tolist() == [int((classes == index).sum()) for index in range(256)]
    assert tally.sure == int(confidence.astype(int)[classes != 255].sum())


@settings(max_examples=30)
@given(seed=st.integers(0, 999), cuts=st.lists(st.integers(0, 50), max_size=4))
def test_parts_joined_are_the_whole(seed: int, cuts: list[int]) -> None:
    classes, confidence = drawn(seed, 50, 30)
    whole, joined = counted(classes, confidence), Tally()
    borders = [0, *sorted(cuts), 50]
    for top, bottom in pairwise(borders):
        part = counted(classes[top:bottom], confidence[top:bottom])
        joined.join(Tally.from_json(json.loads(json.dumps(part.to_json()))))
    assert joined.pixels.tolist() == whole.pixels.tolist()
    assert joined.sure == whole.sure
    assert joined.field(PAPER_PHASES) == measure_field(classes, confidence, PAPER_PHASES)


def test_a_tally_as_json() -> None:
    tally = counted(np.array([[0, 2, 255]], np.uint8), np.array([[7, 8, 9]], np.uint8))
    assert tally.to_json() == {"pixels": {"0": 1, "2": 1, "255": 1}, "sure": 15}


@pytest.mark.parametrize(
    "document",
    [
        None, [], {}, {"pixels": {}}, {"pixels": [1], "sure": 0}, {"pixels": {"x": 1}, "sure": 0},
        {"pixels": {"256": 1}, "sure": 0}, {"pixels": {"-1": 1}, "sure": 0},
        {"pixels": {"0": -1}, "sure": 0}, {"pixels": {"0": 10**30}, "sure": 0},
        {"pixels": {"0": 1}, "sure": -1}, {"pixels": {"0": float("inf")}, "sure": 0},
        {"pixels": {"0": None}, "sure": 0},
    ],
)  # fmt: skip
def test_what_is_no_tally(document: Any) -> None:
    with pytest.raises(ValueError, match=r"^no tally$"):
        Tally.from_json(document)
