"""Saturated and unsure pixels, counted one by one."""

from __future__ import annotations

import numpy as np
import pytest

from hptl_deploy.quality import counts
from hptl_deploy.quality.counts import Counts, count


def test_against_counting_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "_PIECE", 500)
    rng = np.random.default_rng(0)
    pixels = rng.choice(np.array([0, 1, 100, 254, 255], np.uint8), (37, 53, 3))
    classes = rng.choice(np.array([0, 1, 2, 255], np.uint8), (37, 53))
    confidence = rng.integers(150, 157, (37, 53)).astype(np.uint8)
    saturated = unsure = known = 0
    for y in range(37):
        for x in range(53):
            if classes[y, x] == 255:
                continue
            known += 1
            saturated += any(int(value) in (0, 255) for value in pixels[y, x])
            unsure += int(confidence[y, x]) / 255 < 0.6
    whole = count(pixels, classes, confidence)
    assert whole == Counts(known, saturated, unsure)
    assert whole.saturated_fraction == saturated / known
    assert whole.unsure_fraction == unsure / known
    parts = [count(*(one[rows] for one in (pixels, classes, confidence)))
             for rows in (slice(11), slice(11, None))]  # fmt: skip
    assert parts[0] + parts[1] == whole
    assert Counts.from_json(whole.to_json()) == whole


def test_a_field_that_is_left_out_has_no_shares() -> None:
    nothing = count(
        np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 255, np.uint8), np.zeros((4, 4), np.uint8)
    )
    assert nothing.saturated_fraction is nothing.unsure_fraction is None


@pytest.mark.parametrize(
    "document",
    [None, 1, {}, {"pixels": 1, "saturated": 2, "unsure": 0},
     {"pixels": 1, "saturated": -1, "unsure": 0}, {"pixels": "x", "saturated": 0, "unsure": 0}],
)  # fmt: skip
def test_what_is_no_counts(document: object) -> None:
    with pytest.raises(ValueError, match="no counts"):
        Counts.from_json(document)
