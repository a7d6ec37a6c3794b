"""Small models in the three precisions, as TensorRT is to meet them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from hptl_deploy.engines.flavour import Flavour
from hptl_deploy.engines.machine import Machine
from hptl_deploy.engines.record import Fit
from hptl_deploy.engines.wanted import profiles_for, wanted
from hptl_deploy.files import sha256_file
from hptl_deploy.model import CARD_KEY, Model, ModelCard
from support.onnx_models import edited, value

Constants = dict[str, np.ndarray[Any, Any]]

_CHANNELS, _PHASES = 8, 3
_FILES = {"fp32": "model.onnx", "fp16": "model.fp16.onnx", "int8": "model.int8.onnx"}

MISFIT: tuple[list[NodeProto], Constants] = (
    [helper.make_node("Conv", ["levels", "w"], ["x"])],
    {"w": np.zeros((2, 5, 3, 3), np.float32)},
)
"""For `hostile_model`: weights for five channels where there are three."""


NO_CARD = Machine(None, None, "linux-x86_64")


def fit(model: Model, flavour: Flavour, target: str | None = None) -> Fit:
    """What a machine without a card wants for `model`, for frames of 120 x 160."""
    profiles = profiles_for(model.card, (120, 160))
    return wanted(model, flavour, NO_CARD, profiles, target)


def small_model(folder: Path, precision: str = "fp32", *, seed: int = 0) -> Model:
    """A convolution, a pooling, a deconvolution and the decision; stride 8 on its card."""
    random = np.random.default_rng(seed)
    kind = np.float16 if precision == "fp16" else np.float32
    constants: Constants = {
        "w1": random.normal(0, 0.02, (_CHANNELS, 3, 3, 3)).astype(kind),
        "w2": random.normal(0, 0.2, (_CHANNELS, _PHASES, 16, 16)).astype(kind),
    }
    # The exporter moves the channels first and converts then.
    nodes = [
        helper.make_node("Transpose", ["micrograph"], ["moved"], name="move", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["moved"], ["levels"], to=_onnx_type(kind)),
    ]
    source, weights = "levels", "w1"
    if precision == "int8":
        source = _quantised(nodes, constants, source, scale=2.0)
        weights = _quantised_weights(nodes, constants, weights)
    nodes += [
        helper.make_node("Conv", [source, weights], ["c1"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node(
            "ConvTranspose", ["p1", "w2"], ["scores"], strides=[8, 8], pads=[4, 4, 4, 4]
        ),
    ]
    scores = "scores"
    if precision == "fp16":
        nodes.append(helper.make_node("Cast", ["scores"], ["wide"], to=TensorProto.FLOAT))
        scores = "wide"
    _decide(nodes, constants, scores)
    return written(folder, nodes, constants, precision)


def written(
    folder: Path, nodes: Sequence[NodeProto], constants: Constants, precision: str = "fp32"
) -> Model:
    """`folder/threshold/model[.precision].onnx` of these nodes, opened."""
    graph = helper.make_graph(
        list(nodes),
        "small",
        [value("micrograph", ["N", "H", "W", 3])],
        [value("classes", ["N", "H", "W"]), value("confidence", ["N", "H", "W"])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )

    def become(model: onnx.ModelProto) -> None:
        model.graph.CopyFrom(graph)
        (entry,) = (entry for entry in model.metadata_props if entry.key == CARD_KEY)
        entry.value = json.dumps({**json.loads(entry.value), "precision": precision})

    path = edited(folder, become)
    return unchecked(path.rename(path.with_name(_FILES[precision])))


def unchecked(path: Path) -> Model:
    """As `load_model`, but of any graph: for what must not rely on its refusals."""
    (text,) = (e.value for e in onnx.load(str(path)).metadata_props if e.key == CARD_KEY)
    return Model(path, ModelCard.from_json(text, str(path)), sha256_file(path))


def hostile_model(
    folder: Path, nodes: Sequence[NodeProto], constants: Constants | None = None
) -> Model:
    """`nodes` take `levels` (float32 [N, 3, H, W]) to `x`, whose first channel is the answer."""
    around = [
        helper.make_node("Cast", ["micrograph"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["wide"], ["levels"], perm=[0, 3, 1, 2]),
        *nodes,
        helper.make_node("Gather", ["x", "zero"], ["answer"], axis=1),
        helper.make_node("Cast", ["answer"], ["classes"], to=TensorProto.UINT8),
        helper.make_node("Cast", ["answer"], ["confidence"], to=TensorProto.UINT8),
    ]
    return written(folder, around, {"zero": np.array(0, np.int64), **(constants or {})})


def _onnx_type(kind: type[np.floating[Any]]) -> int:
    return int(TensorProto.FLOAT16 if kind is np.float16 else TensorProto.FLOAT)


def _quantised(nodes: list[NodeProto], constants: Constants, name: str, scale: float) -> str:
    """Symmetric int8 and back: one scale, zero point 0."""
    constants["scale"] = np.array(scale, np.float32)
    constants["zero"] = np.array(0, np.int8)
    nodes += [
        helper.make_node("QuantizeLinear", [name, "scale", "zero"], [f"{name}_q"]),
        helper.make_node("DequantizeLinear", [f"{name}_q", "scale", "zero"], [f"{name}_d"]),
    ]
    return f"{name}_d"


def _quantised_weights(nodes: list[NodeProto], constants: Constants, name: str) -> str:
    """int8 with a scale for every output channel."""
    weights = constants.pop(name)
    scales = np.abs(weights).max(axis=(1, 2, 3)) / 127
    constants[f"{name}_q"] = np.round(weights / scales[:, None, None, None]).astype(np.int8)
    constants[f"{name}_s"] = scales.astype(np.float32)
    constants[f"{name}_z"] = np.zeros(len(scales), np.int8)
    names = [f"{name}_{part}" for part in "qsz"]
    nodes.append(helper.make_node("DequantizeLinear", names, [f"{name}_d"], axis=0))
    return f"{name}_d"


def _decide(nodes: list[NodeProto], constants: Constants, scores: str) -> None:
    """Pairwise comparisons, as the exporter's; the confidence is any function of the scores."""
    for index in range(_PHASES):
        constants[f"index{index}"] = np.array(index, np.int64)
        constants[f"class{index}"] = np.array(index, np.float32)
        nodes.append(
            helper.make_node("Gather", [scores, f"index{index}"], [f"score{index}"], axis=1)
        )
    best, classes = "score0", "class0"
    for index in range(1, _PHASES):
        nodes += [
            helper.make_node("Greater", [f"score{index}", best], [f"larger{index}"]),
            helper.make_node(
                "Where", [f"larger{index}", f"class{index}", classes], [f"winner{index}"]
            ),
            helper.make_node("Where", [f"larger{index}", f"score{index}", best], [f"best{index}"]),
        ]
        best, classes = f"best{index}", f"winner{index}"
    constants["full"] = np.array(255, np.float32)
    nodes += [
        helper.make_node("Cast", [classes], ["classes"], to=TensorProto.UINT8),
        helper.make_node("Sigmoid", [best], ["sure"]),
        helper.make_node("Mul", ["sure", "full"], ["level"]),
        helper.make_node("Cast", ["level"], ["confidence"], to=TensorProto.UINT8),
    ]
