"""Model files that keep, or break, the model file's contract on purpose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from support.threshold_model import write_threshold_model


def edited(folder: Path, edit: Callable[[onnx.ModelProto], None]) -> Path:
    """The threshold model after `edit`."""
    path = write_threshold_model(folder)
    model = onnx.load(str(path))
    edit(model)
    onnx.save(model, str(path))
    return path


def with_graph(folder: Path, graph: onnx.GraphProto) -> Path:
    """The threshold model's card on another graph."""
    return edited(folder, lambda model: model.graph.CopyFrom(graph))


def value(name: str, shape: list[str | int], kind: int = TensorProto.UINT8) -> onnx.ValueInfoProto:
    """An input or output, uint8 unless said otherwise."""
    return helper.make_tensor_value_info(name, kind, shape)


def argmax_graph(scores: list[list[float]]) -> onnx.GraphProto:
    """Class scores [K] that are a weighted sum of R, G, B, and their argmax."""
    constants: dict[str, np.ndarray[Any, Any]] = {
        "weights": np.array(scores, np.float32)[..., None, None],  # [K, 3, 1, 1]
        "full": np.array(255, np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["micrograph"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["levels"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["nchw", "weights"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["index"], axis=1, keepdims=0),
        helper.make_node("Cast", ["index"], ["classes"], to=TensorProto.UINT8),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=1),
        helper.make_node("ReduceMax", ["shares"], ["winner"], axes=[1], keepdims=0),
        helper.make_node("Mul", ["winner", "full"], ["sure"]),
        helper.make_node("Cast", ["sure"], ["confidence"], to=TensorProto.UINT8),
    ]
    return helper.make_graph(
        nodes,
        "argmax",
        [value("micrograph", ["N", "H", "W", 3])],
        [value("classes", ["N", "H", "W"]), value("confidence", ["N", "H", "W"])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
