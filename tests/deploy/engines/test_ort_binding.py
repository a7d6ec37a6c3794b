"""Bound buffers on the CPU, where ONNX Runtime takes the same calls as on a card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hptl_deploy.engines.onnxruntime import load_onnxruntime, session_options
from hptl_deploy.engines.ort_binding import Binding
from hptl_deploy.model import INPUT, OUTPUTS
from support.threshold_model import write_threshold_model


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 24)])
def test_answers_are_those_of_a_plain_call(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    ort = load_onnxruntime()
    session = ort.InferenceSession(
        str(write_threshold_model(tmp_path)),
        session_options(ort),
        providers=["CPUExecutionProvider"],
    )
    binding = Binding(ort, session, "cpu", 0, shape)
    random = np.random.default_rng(0)
    batches = [random.integers(0, 256, (*shape, 3), np.uint8) for _ in range(3)]
    answers = [binding.run(batch) for batch in batches]  # each call uses the buffers again
    assert binding.shape == shape
    for batch, answer in zip(batches, answers, strict=True):
        classes, confidence = session.run(list(OUTPUTS), {INPUT: batch})
        assert np.array_equal(answer.classes, classes)
        assert np.array_equal(answer.confidence, confidence)
    assert len({answer.classes.tobytes() for answer in answers}) == 3
