"""An 8-bit model whose sums saturate where they are kept in 16 bits, and what it answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from hptl_deploy.model import CARD_KEY, Model, load_model
from hptl_deploy.probe import Probe
from support.engine_models import Constants, written

_RED_GREEN = 127
_BLUE_SCALE = 1.5
_MOST_16_BIT = 32767


def white_and_grey() -> NDArray[np.uint8]:
    """uint8 [16, 16, 3]: a white half and a dark one."""
    frame = np.full((16, 16, 3), 40, np.uint8)
    frame[:, 8:] = 255
    return frame


def answer(frame: NDArray[np.uint8], *, saturating: bool) -> NDArray[np.uint8]:
    """Class 1 where 1.5 x 127 x B is above 127 R + 127 G: nowhere in grey, if sums are exact."""
    levels = frame.astype(np.int64)
    pair = _RED_GREEN * (levels[..., 0] + levels[..., 1])
    if saturating:
        pair = np.minimum(pair, _MOST_16_BIT)
    return (_BLUE_SCALE * _RED_GREEN * levels[..., 2] > pair).astype(np.uint8)


def saturating_model(folder: Path, probe: Probe | None) -> Model:
    """The model with `probe` in its card; unsigned activations, signed weights."""
    weights = np.zeros((2, 3, 1, 1), np.int8)
    weights[0, :2], weights[1, 2] = _RED_GREEN, _RED_GREEN
    constants: Constants = {
        "one": np.array(1, np.float32),
        "zero": np.array(0, np.uint8),
        "weights": weights,
        "scales": np.array([1, _BLUE_SCALE], np.float32),
        "zeros": np.zeros(2, np.int8),
        "bias": np.zeros(2, np.int32),
        "step": np.array(300, np.float32),  # 255 steps reach 76 500, the sums 64 770
        "first": np.array(0, np.int64),
        "second": np.array(1, np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["micrograph"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["wide"], ["levels"], perm=[0, 3, 1, 2]),
        helper.make_node("QuantizeLinear", ["levels", "one", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "one", "zero"], ["d"]),
        helper.make_node("DequantizeLinear", ["weights", "scales", "zeros"], ["w"], axis=0),
        helper.make_node("DequantizeLinear", ["bias", "scales"], ["b"], axis=0),
        helper.make_node("Conv", ["d", "w", "b"], ["sums"]),
        helper.make_node("QuantizeLinear", ["sums", "step", "zero"], ["sums_q"]),
        helper.make_node("DequantizeLinear", ["sums_q", "step", "zero"], ["scores"]),
        helper.make_node("Gather", ["scores", "first"], ["score0"], axis=1),
        helper.make_node("Gather", ["scores", "second"], ["score1"], axis=1),
        helper.make_node("Greater", ["score1", "score0"], ["larger"]),
        helper.make_node("Cast", ["larger"], ["classes"], to=TensorProto.UINT8),
        helper.make_node("Cast", ["larger"], ["confidence"], to=TensorProto.UINT8),
    ]
    model = written(folder, nodes, constants, "int8")
    proto = onnx.load(str(model.path))
    (entry,) = (entry for entry in proto.metadata_props if entry.key == CARD_KEY)
    entry.value = replace(model.card, probe=probe).to_json()
    onnx.save(proto, str(model.path))
    return load_model(model.path)
