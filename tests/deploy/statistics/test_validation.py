from __future__ import annotations

import json
import math

import pytest

from hptl_deploy.measurement.scores import Confusion
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.statistics.validation import Validation, validation_from_json, validation_of


def test_scores_as_training_writes_them() -> None:
    confusion = Confusion(PAPER_PHASES)
    # True Mg2Si 30 pixels of 100, found 35: 25 in common, 40 in the union.
    confusion.matrix[:] = [[60, 10, 0], [5, 25, 0], [0, 0, 0]]
    found = validation_of({"loss": 0.1, **confusion.to_json()}, PAPER_PHASES)
    assert found["mg2si"].iou == pytest.approx(25 / 40)
    assert found["mg2si"].area_fraction_error == pytest.approx(0.05)
    assert found["mg2si"].mean_absolute_area_error is None
    assert found["fe"] == Validation(None, 0.0)
    kept = json.loads(json.dumps({key: one.to_json() for key, one in found.items()}))
    assert validation_from_json(kept, PAPER_PHASES) == found


def test_a_mean_absolute_error_that_a_card_states() -> None:
    scores = {"phases": [{"key": "fe", "iou": 1, "mean_absolute_area_error": 0.002}]}
    assert validation_of(scores, PAPER_PHASES)["fe"] == Validation(1.0, None, 0.002)


@pytest.mark.parametrize("iou", [True, "0.9", None, [0.9], math.nan, math.inf])
def test_what_is_no_number_is_not_stated(iou: object) -> None:
    scores = {"phases": [{"key": "fe", "iou": iou}, "al"]}
    assert validation_of(scores, PAPER_PHASES)["fe"] == Validation()


@pytest.mark.parametrize("document", [None, 3, [], {}, {"fe": 3}])
def test_a_record_that_says_nothing(document: object) -> None:
    assert validation_from_json(document, PAPER_PHASES) == {
        phase.key: Validation() for phase in PAPER_PHASES
    }
