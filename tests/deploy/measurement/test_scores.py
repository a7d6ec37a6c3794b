from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score

from hptl_deploy.measurement.scores import Confusion
from hptl_deploy.phases import Phase


def phases(count: int) -> tuple[Phase, ...]:
    return tuple(Phase(f"p{index}", f"phase {index}", (index, 0, 0)) for index in range(count))


def random_maps(
    seed: int, kinds: int, absent: int | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Truth and prediction that agree half of the time, a tenth of each ignored."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, kinds, (31, 47)).astype(np.uint8)
    other = generator.integers(0, kinds, truth.shape).astype(np.uint8)
    predicted = np.where(generator.random(truth.shape) < 0.5, truth, other).astype(np.uint8)
    for one in (truth, predicted):
        if absent is not None:
            one[one == absent] = 0
        one[generator.random(truth.shape) < 0.1] = 255
    return truth, predicted


@pytest.mark.parametrize("kinds", [2, 3, 7, 250])
@pytest.mark.parametrize("absent", [None, 1])
def test_against_scikit_learn(kinds: int, absent: int | None) -> None:
    confusion = Confusion(phases(kinds))
    maps = [random_maps(seed, kinds, absent) for seed in range(3)]
    for truth, predicted in maps:
        confusion.add(truth, predicted)
    truth = np.concatenate([one.ravel() for one, _ in maps])
    predicted = np.concatenate([one.ravel() for _, one in maps])
    counted = (truth != 255) & (predicted != 255)
    truth, predicted = truth[counted], predicted[counted]
    labels = list(range(kinds))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        iou = jaccard_score(truth, predicted, labels=labels, average=None, zero_division=0)
        expected = confusion_matrix(truth, predicted, labels=labels)
    assert np.array_equal(confusion.matrix, expected)
    assert confusion.pixels == counted.sum()
    assert confusion.accuracy == pytest.approx(accuracy_score(truth, predicted))
    occurs = np.isin(labels, truth) | np.isin(labels, predicted)
    assert occurs.all() == (absent is None)
    assert np.array_equal(np.isnan(confusion.iou), ~occurs)
    assert np.array(confusion.iou)[occurs] == pytest.approx(iou[occurs])
    assert confusion.mean_iou == pytest.approx(iou[occurs].mean())
    for index in labels:
        assert confusion.area_fraction_true[index] == pytest.approx((truth == index).mean())
        found = confusion.area_fraction_predicted[index]
        assert found == pytest.approx((predicted == index).mean())


def test_a_phase_found_where_there_is_none_counts_as_zero() -> None:
    confusion = Confusion(phases(3))
    confusion.add(np.zeros((1, 4), np.uint8), np.array([[0, 0, 0, 1]], np.uint8))
    assert confusion.iou[:2] == (0.75, 0.0)
    assert math.isnan(confusion.iou[2])
    assert confusion.mean_iou == 0.375


def test_nothing_but_ignored_pixels_has_no_scores() -> None:
    confusion = Confusion(phases(2))
    confusion.add(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8))
    assert confusion.pixels == 0
    document = confusion.to_json()
    assert document["accuracy"] is None
    assert document["mean_iou"] is None
    assert document["phases"][0] == {
        "key": "p0", "iou": None, "area_fraction_true": None,
        "area_fraction_predicted": None, "area_fraction_error": None,
    }  # fmt: skip


def test_maps_that_cannot_be_compared() -> None:
    confusion = Confusion(phases(2))
    with pytest.raises(ValueError, match=r"^shapes differ: truth \(1, 2\), predicted \(2, 1\)$"):
        confusion.add(np.zeros((1, 2), np.uint8), np.zeros((2, 1), np.uint8))
    for truth, predicted in (([[0, 2]], [[0, 0]]), ([[0, 0]], [[2, 0]])):
        with pytest.raises(ValueError, match=r"^class index 2 with 2 phases$"):
            confusion.add(np.array(truth, np.uint8), np.array(predicted, np.uint8))
    assert confusion.pixels == 0
