"""The exported graph says what the network says, in the form of the contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from hptl_deploy.engines.onnxruntime import OnnxRuntimeEngine
from hptl_export.graph import decide
from support.exported import Exported


def test_logits_classes_and_confidence_are_torchs(exported: Exported) -> None:
    session = ort.InferenceSession(
        exported.shown.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    stride = exported.model.card.stride
    rng = np.random.default_rng(0)
    for count, rows, columns in ((1, 1, 1), (1, 4, 7), (3, 2, 3)):
        shape = (count, rows * stride, columns * stride, 3)
        batch = rng.integers(0, 256, shape, np.uint8)
        classes, confidence, logits = session.run(None, {"micrograph": batch})
        with torch.inference_mode():
            expected = exported.segmenter(torch.from_numpy(batch))
        shares = torch.softmax(expected.double(), dim=1).numpy()
        worst = np.abs(logits - expected.numpy()).max() / np.abs(expected.numpy()).max()
        assert worst < 1e-4
        assert classes.dtype == confidence.dtype == np.uint8
        assert classes.shape == confidence.shape == shape[:3]
        assert np.mean(classes != shares.argmax(1)) < 1e-4
        assert np.abs(confidence - 255 * shares.max(1)).max() <= 0.51


def test_a_batch_is_its_micrographs(exported: Exported) -> None:
    stride = exported.model.card.stride
    batch = np.random.default_rng(1).integers(0, 256, (3, 3 * stride, 4 * stride, 3), np.uint8)
    with OnnxRuntimeEngine(exported.model) as engine:
        together = engine.infer(batch).classes
        alone = [engine.infer(one[None]).classes[0] for one in batch]
    assert np.mean(together != np.stack(alone)) < 1e-4


def test_the_file_is_whole_and_carries_nothing_of_this_machine(exported: Exported) -> None:
    path = exported.model.path
    content = path.read_bytes()
    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]  # no external data
    for trace in (b"site-packages", b".py", str(Path.home()).encode(), b"stack_trace"):
        assert trace not in content
    dims = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*onnx.load(path).graph.input, *onnx.load(path).graph.output)
    ]
    assert dims == [["N", "H", "W", 3], ["N", "H", "W"], ["N", "H", "W"]]
    assert "ArgMax" not in {node.op_type for node in onnx.load(path).graph.node}


@pytest.mark.parametrize("phases", [2, 3, 5])
def test_ties_go_to_the_lowest_index(phases: int) -> None:
    logits = torch.randint(0, 3, (2, phases, 16, 16)).float()  # full of ties
    classes, best = decide(logits)
    assert np.array_equal(classes.numpy(), logits.numpy().argmax(axis=1))
    assert torch.equal(best, logits.amax(dim=1))
