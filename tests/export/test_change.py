"""Figures of a precision beside fp32, worked by hand, and the sentences that refuse it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hptl_deploy.errors import VerificationError
from hptl_deploy.phases import PAPER_PHASES
from hptl_export.change import Change, refuse
from hptl_export.frames import Frames
from hptl_export.thresholds import FP16, Limits

WIDE = Limits(logits=10.0, classes_ppm=1e6, iou=1.0, area=1.0)
TRUTH = np.zeros((100, 100), np.uint8)
TRUTH[:50] = 1  # 5000 pixels each of al and mg2si, no fe


def logits(classes: NDArray[np.uint8], height: float = 4.0) -> NDArray[np.float32]:
    """[3, H, W] whose largest is `height` at the class of every pixel."""
    shown: NDArray[np.float32] = np.zeros((3, *classes.shape), np.float32)
    shown[np.arange(3)[:, None, None] == classes] = height
    return shown


def moved(rows: int) -> NDArray[np.uint8]:
    """The truth with so many rows of mg2si given to al."""
    found = TRUTH.copy()
    found[:rows] = 0
    return found


def change(now: NDArray[np.float32], *, labelled: bool = True) -> Change:
    picture = np.zeros((100, 100, 3), np.uint8)
    frames = Frames([picture], [TRUTH] if labelled else None, "a drawing")
    return Change(frames, PAPER_PHASES, [logits(TRUTH)], [now])


def test_the_figures_are_those_worked_by_hand() -> None:
    found = change(logits(moved(1)))
    assert found.logits == 1.0  # 4 became 0, of 4
    assert found.classes_ppm == 1e6 * 100 / 10_000
    # al: 5000 of 5100; mg2si: 4900 of 5000; fe is nowhere.
    assert found.iou == {
        "al": pytest.approx(5000 / 5100 - 1),
        "mg2si": pytest.approx(4900 / 5000 - 1),
    }
    assert found.area == {
        "al": pytest.approx(0.01),
        "mg2si": pytest.approx(-0.01),
        "fe": 0.0,
    }
    assert found.to_json() == {
        "logits against fp32": "1.0e+00 of the largest",
        "classes against fp32": "10000.0 ppm of 10000 px differ",
        "change of IoU against fp32": "al -0.01961, mg2si -0.02000",
        "change of area fraction against fp32": "al +0.010000, mg2si -0.010000, fe +0.000000",
        "compared on": "a drawing",
    }
    assert found.problems(WIDE) == []


def test_every_limit_that_is_passed_is_named_with_its_figure() -> None:
    limits = Limits(logits=0.5, classes_ppm=1000.0, iou=0.005, area=0.002)
    with pytest.raises(VerificationError) as raised:
        refuse("m in int8 for cpu", change(logits(moved(1))), limits)
    assert str(raised.value) == (
        "m in int8 for cpu, compared with fp32 on a drawing: its logits differ by 1 of the largest "
        "(at most 0.5); 10000 ppm of the pixels take another class (at most 1000); the IoU of al "
        "changes by -0.0196 (at most 0.005); the IoU of mg2si changes by -0.0200 (at most 0.005); "
        "the area fraction of al changes by +0.0100 (at most 0.002); the area fraction of mg2si "
        "changes by -0.0100 (at most 0.002). This precision was not published"
    )
    assert raised.value.exit_code == 1


def test_a_phase_that_appears_from_nowhere_counts() -> None:
    one = TRUTH.copy()
    one[-1] = 2
    assert change(logits(one)).iou["fe"] == 0.0  # it had no IoU before and has none now
    assert change(logits(one)).problems(FP16)


def test_logits_that_are_no_numbers_are_refused() -> None:
    broken = logits(TRUTH)
    broken[0, 0, 0] = np.nan
    assert change(broken).problems(WIDE) == ["its logits differ by nan of the largest (at most 10)"]


def test_a_few_pixels_of_a_rare_phase_are_chance() -> None:
    rare = TRUTH.copy()
    rare[0, :20] = 2  # 20 pixels
    one_less = rare.copy()
    one_less[0, 0] = 1
    frames = Frames([np.zeros((100, 100, 3), np.uint8)], [rare], "a drawing")
    tight = Limits(logits=10.0, classes_ppm=1e6, iou=0.001, area=1.0)
    found = Change(frames, PAPER_PHASES, [logits(rare)], [logits(one_less)])
    assert found.iou["fe"] == pytest.approx(-1 / 20)
    assert found.problems(tight) == []
    four_less = rare.copy()
    four_less[0, :4] = 1
    worse = Change(frames, PAPER_PHASES, [logits(rare)], [logits(four_less)])
    assert worse.problems(tight) == ["the IoU of fe changes by -0.2000 (at most 0.15)"]


def test_without_labels_only_fp32_is_compared_with() -> None:
    found = change(logits(moved(1)), labelled=False)
    assert found.iou == {}
    assert found.area["al"] == pytest.approx(0.01)
    assert "no labels" in found.to_json()["change of IoU against fp32"]
