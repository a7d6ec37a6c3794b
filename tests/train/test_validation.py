"""Scores in torch: large frames in tiles say what the whole says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, jaccard_score, log_loss

from hptl_deploy.phases import PAPER_PHASES
from hptl_train import predictor
from hptl_train.predictor import Predictor
from hptl_train.validation import score
from support.labelled import draw
from support.tiny import segmenter


def test_scores_are_those_of_the_whole_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    model = segmenter(input_scale=4)
    pixels, labels = draw((200, 260), np.random.default_rng(0))
    labels[:5] = 255
    padded = np.pad(pixels, ((0, 0), (0, 4), (0, 0)), mode="edge")  # the stride is 8
    with torch.inference_mode():
        logits = model(torch.from_numpy(padded[None]))[0, :, :, :260].double()
    shares = torch.softmax(logits, 0).numpy()
    kept = labels != 255
    monkeypatch.setattr(predictor, "_CORE", 4 * 64)  # cores of 64 micrograph pixels
    tiled = Predictor(model, "fcn8s", 4, torch.device("cpu"))
    found = score(tiled, [(pixels, labels)], PAPER_PHASES)
    assert np.count_nonzero(tiled.classes(pixels) != shares.argmax(0)) == 0
    expected = log_loss(labels[kept], shares[:, kept].T, labels=range(3))
    assert found["loss"] == pytest.approx(expected, rel=1e-5)
    classes = shares.argmax(0)[kept]
    assert found["accuracy"] == pytest.approx(accuracy_score(labels[kept], classes), abs=1e-5)
    ious = jaccard_score(labels[kept], classes, average=None, labels=range(3))
    assert [phase["iou"] for phase in found["phases"]] == pytest.approx(ious.tolist(), abs=1e-4)


def test_without_a_labelled_pixel_there_is_no_loss() -> None:
    whole = Predictor(segmenter(), "fcn8s", 1, torch.device("cpu"))
    pixels, labels = draw((64, 64), np.random.default_rng(0))
    found = score(whole, [(pixels, np.full_like(labels, 255))], PAPER_PHASES)
    assert (found["loss"], found["accuracy"], found["mean_iou"]) == (None, None, None)


def test_how_far_one_micrograph_is_off_is_not_what_all_together_are() -> None:
    whole = Predictor(segmenter(), "fcn8s", 1, torch.device("cpu"))
    frames = [draw((64, 64), np.random.default_rng(seed)) for seed in range(3)]
    frames[1][1][:40] = 255
    frames.append((frames[0][0], np.full((64, 64), 255, np.uint8)))
    found = score(whole, frames, PAPER_PHASES)
    assert found["micrographs"] == 3  # the last has no labels
    apart = [
        [(whole.classes(pixels)[labels != 255] == index).mean()
         - (labels[labels != 255] == index).mean() for index in range(3)]
        for pixels, labels in frames[:3]
    ]  # fmt: skip
    expected = np.abs(apart).mean(axis=0)
    errors = [phase["mean_absolute_area_error"] for phase in found["phases"]]
    assert errors == pytest.approx(expected.tolist(), abs=1e-12)
    pooled = [abs(phase["area_fraction_error"]) for phase in found["phases"]]
    assert max(np.subtract(errors, pooled)) > 1e-4
