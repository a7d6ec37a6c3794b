from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from hptl_deploy.measurement.rims import FalseRims, false_rims

MG2SI, FE, IGNORE = 1, 2, 255


def brute_force(truth: NDArray[np.uint8], found: NDArray[np.uint8]) -> FalseRims:
    """The definition, pixel by pixel."""
    places = list(itertools.product(*map(range, truth.shape)))
    particle = [p for p in places if truth[p] == MG2SI]
    rest = [p for p in places if truth[p] != MG2SI]
    true_fe = [p for p in places if truth[p] == FE]
    counted = called = 0
    for place in places:
        other_side = rest if truth[place] == MG2SI else particle
        near = any(math.dist(place, other) <= 4 for other in other_side)
        far = all(math.dist(place, other) > 8 for other in true_fe)
        if near and far and truth[place] != IGNORE and found[place] != IGNORE:
            counted += 1
            called += found[place] == FE
    return FalseRims(counted, int(called))


@pytest.mark.parametrize("seed", range(6))
def test_against_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.zeros((26, 31), np.uint8)
    for phase in (MG2SI, FE, MG2SI, IGNORE):
        y, x, h, w = rng.integers((20, 24, 8, 8))
        truth[y : y + h + 1, x : x + w + 1] = phase
    found = rng.choice(np.array([0, 1, 2, IGNORE], np.uint8), truth.shape)
    expected = brute_force(truth, found)
    assert expected.counted > 0
    assert false_rims(truth, found, around=MG2SI, mistaken_for=FE) == expected


def test_a_ring_round_a_half_plane() -> None:
    """Mg2Si left of a straight edge: the 4 columns on either side count."""
    truth = np.zeros((50, 60), np.uint8)
    truth[:, :30] = MG2SI
    found = truth.copy()
    found[:, 30] = FE
    rims = false_rims(truth, found, around=MG2SI, mistaken_for=FE)
    assert rims == FalseRims(50 * 8, 50)
    assert rims.share == 1 / 8


def test_true_fe_nearby_is_no_false_rim() -> None:
    truth = np.zeros((50, 60), np.uint8)
    truth[:, :30] = MG2SI
    truth[:, 34:] = FE
    found = np.full_like(truth, FE)
    # Columns 26 to 33 are near the edge; all but column 26 are within 8 px of column 34.
    assert false_rims(truth, found, around=MG2SI, mistaken_for=FE) == FalseRims(0, 0) + FalseRims(
        0, 0
    )
    truth[:, 34] = 0
    assert false_rims(truth, found, around=MG2SI, mistaken_for=FE) == FalseRims(50, 50)


@pytest.mark.parametrize("only", [0, MG2SI])
def test_without_an_edge_there_is_nothing_to_count(only: int) -> None:
    truth = np.full((20, 20), only, np.uint8)
    rims = false_rims(truth, truth, around=MG2SI, mistaken_for=FE)
    assert rims.counted == 0
    assert math.isnan(rims.share)
    assert rims.to_json() == {"counted": 0, "called": 0, "share": None}


def test_frames_add_up() -> None:
    assert (FalseRims(10, 1) + FalseRims(30, 3)).share == 0.1


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shapes differ: truth \(2, 3\), found \(3, 2\)"):
        false_rims(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), around=1, mistaken_for=2)
