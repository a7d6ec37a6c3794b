"""What TensorRT is given says what the model file says, and nothing hostile gets that far."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from hptl_deploy.bundled import BUNDLED, bundled_models_folder
from hptl_deploy.model import INPUT, MODEL_FILE, Model, load_model
from hptl_export.engine.graph import graph_for_tensorrt
from support.engine_models import hostile_model, small_model, unchecked, written
from support.model_errors import sentence
from support.threshold_model import write_threshold_model

Make = Callable[[Path], Model]
_KINDS = {TensorProto.UINT8: "uint8"}


def bundled(_: Path) -> Model:
    folder = bundled_models_folder()
    assert folder is not None
    return load_model(folder / BUNDLED / MODEL_FILE)


def threshold(folder: Path) -> Model:
    return load_model(write_threshold_model(folder, smoothing=2))


def chained(folder: Path) -> Model:
    """Several movers on both sides, one of which needs axes made in between."""
    node = helper.make_node
    return written(
        folder,
        [
            node("Identity", [INPUT], ["a"]),
            node("Transpose", ["a"], ["b"], perm=[0, 3, 1, 2]),
            node("Cast", ["b"], ["c"], to=TensorProto.FLOAT),
            node("Mul", ["c", "half"], ["d"]),
            node("ReduceMax", ["d"], ["e"], axes=[1], keepdims=1),
            node("Cast", ["e"], ["f"], to=TensorProto.UINT8),
            node("Identity", ["one"], ["axis"]),
            node("Squeeze", ["f", "axis"], ["g"]),
            node("Identity", ["g"], ["classes"]),
            node("Cast", ["e"], ["h"], to=TensorProto.UINT8),
            node("Squeeze", ["h", "one"], ["confidence"]),
        ],
        {"half": np.array(0.5, np.float32), "one": np.array([1], np.int64)},
    )


def answers(content: bytes, batch: NDArray[np.uint8]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    # As written: its optimiser would move operators about as well.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        content, options, providers=["CPUExecutionProvider"], enable_fallback=0
    )
    return list(session.run(None, {INPUT: batch}))


@pytest.mark.parametrize(
    "make", [bundled, threshold, chained, small_model], ids=lambda make: str(make.__name__)
)
def test_uint8_stays_at_the_border_and_the_answer_what_it_was(tmp_path: Path, make: Make) -> None:
    model = make(tmp_path)
    content = graph_for_tensorrt(model)
    proto = onnx.load_from_string(content)
    onnx.checker.check_model(proto, full_check=True)
    for node in proto.graph.node:
        narrow = {INPUT, "classes", "confidence"} & {*node.input, *node.output}
        assert not narrow or node.op_type == "Cast"
    # Patches of 16 px: to a trained network, noise is all one phase.
    coarse = np.random.default_rng(5).integers(0, 256, (2, 6, 8, 3), np.uint8)
    batch = coarse.repeat(16, axis=1).repeat(16, axis=2)
    before, after = answers(model.path.read_bytes(), batch), answers(content, batch)
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
    assert [len(np.unique(array)) > 1 for array in before] == [True, True]


def test_a_graph_that_needs_no_change_keeps_its_nodes(tmp_path: Path) -> None:
    model = hostile_model(tmp_path, [helper.make_node("Relu", ["levels"], ["x"])])
    before = onnx.load(model.path)
    after = onnx.load_from_string(graph_for_tensorrt(model))
    assert list(after.graph.node) == list(before.graph.node)


def test_two_readers_of_a_moved_input_are_left_to_the_parser(tmp_path: Path) -> None:
    node = helper.make_node
    model = written(
        tmp_path,
        [
            node("Transpose", [INPUT], ["moved"], perm=[0, 3, 1, 2]),
            node("Cast", ["moved"], ["a"], to=TensorProto.FLOAT),
            node("Gather", ["moved", "zero"], ["confidence"], axis=1),
            node("Gather", ["a", "zero"], ["b"], axis=1),
            node("Cast", ["b"], ["classes"], to=TensorProto.UINT8),
        ],
        {"zero": np.array(0, np.int64)},
    )
    before = onnx.load(model.path)
    after = onnx.load_from_string(graph_for_tensorrt(model))
    assert list(after.graph.node) == list(before.graph.node)


def test_a_file_that_was_exchanged(tmp_path: Path) -> None:
    model = small_model(tmp_path)
    content = model.path.read_bytes()
    assert hashlib.sha256(content).hexdigest() == model.sha256
    model.path.write_bytes(content + b" ")
    assert sentence(lambda: graph_for_tensorrt(model)) == (
        f"{model.path}: has changed since it was opened. Run the command again"
    )
    model.path.unlink()
    assert sentence(lambda: graph_for_tensorrt(model)) == (
        f"{model.path}: cannot be read (No such file or directory)"
    )


def _branch() -> NodeProto:
    inner = helper.make_graph(
        [helper.make_node("Identity", ["levels"], ["y"])],
        "inner",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    return helper.make_node("If", ["yes"], ["x"], then_branch=inner, else_branch=inner)


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([helper.make_node("EfficientNMS_TRT", ["levels"], ["x"], domain="trt.plugins")],
         "operator EfficientNMS_TRT is not ONNX's own but of 'trt.plugins'. Export the model "
         "again with this version"),
        ([_branch()], "operator If holds a graph of its own, which no exported model does"),
        ([helper.make_node("Wish", ["levels"], ["x"])],
         "operator Wish is none that a network for micrographs is made of"),
        ([helper.make_node("Relu", ["nowhere"], ["x"])], "is not a sound ONNX model ("),
        ([helper.make_node("Add", ["levels", "y"], ["x"]), helper.make_node("Relu", ["x"], ["y"])],
         "is not a sound ONNX model ("),
    ],
)  # fmt: skip
def test_what_is_not_given_to_tensorrt(tmp_path: Path, nodes: list[NodeProto], reason: str) -> None:
    model = hostile_model(tmp_path, nodes, {"yes": np.array(True)})
    assert sentence(lambda: graph_for_tensorrt(model)).startswith(f"{model.path}: {reason}")


def test_operators_of_its_own(tmp_path: Path) -> None:
    model = small_model(tmp_path)
    proto = onnx.load(model.path)
    proto.functions.append(
        helper.make_function(
            "", "Relu", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])],
            [helper.make_opsetid("", 17)],
        )
    )  # fmt: skip
    onnx.save(proto, str(model.path))
    assert sentence(lambda: graph_for_tensorrt(unchecked(model.path))) == (
        f"{model.path}: defines operators of its own (Relu), which no exported model does. Export "
        "the model again with this version"
    )


def test_a_model_is_left_as_it_was(tmp_path: Path) -> None:
    model = small_model(tmp_path)
    before = model.path.read_bytes()
    graph_for_tensorrt(model)
    assert model.path.read_bytes() == before
    assert load_model(model.path) == replace(model)
