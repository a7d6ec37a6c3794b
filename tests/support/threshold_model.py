"""A small model that keeps the model file's contract and whose answer is known beforehand.

It classifies by grey level, (R + 2 G + B) / 4: a pixel's class is the number of thresholds
above its level, so a bright matrix is class 0 and the darkest phase the last. With
`smoothing` it sees round a pixel, as a network does: 3 x 3 convolutions with zero padding,
an average pooling down to the stride, a convolution there, and back up. Every weight is a
power of two and every sum fits a float's 24 bits, so the answer does not depend on the order
of additions, and tiled must equal whole exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hptl_deploy.channel_blocks import WIDE
from hptl_deploy.model import CARD_KEY, MODEL_FILE, ModelCard
from hptl_deploy.phases import PAPER_PHASES, Phase

_BINOMIAL = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32)[None, None] / 16


def halo(stride: int, smoothing: int) -> int:
    """How far the model sees, rounded up to the stride.

    `smoothing` convolutions at full size reach that many pixels; the pooling window adds
    stride - 1; the one convolution behind it one window, `stride` pixels.
    """
    if not smoothing:
        return 0
    reach = smoothing + (stride - 1) + stride
    return -(-reach // stride) * stride


def write_threshold_model(
    folder: Path,
    *,
    thresholds: Sequence[float] = (145, 85),
    phases: Sequence[Phase] = PAPER_PHASES,
    stride: int = 8,
    smoothing: int = 0,
    bytes_per_pixel: float = 64.0,
    name: str = "threshold",
    synthetic: bool = False,
    pixel_size_um: float | None = None,
) -> Path:
    """Write `folder/<name>/model.onnx`, make it the folder's default, return its path."""
    card = ModelCard(
        name=name,
        network="threshold",
        channels=(1, 1, 1, 1, 1),
        fc=1,
        phases=tuple(phases),
        input_scale=1,
        stride=stride,
        halo=halo(stride, smoothing),
        bytes_per_pixel=bytes_per_pixel,
        channel_block=WIDE,  # so that every machine plans alike
        pixel_size_um=pixel_size_um,
        synthetic=synthetic,
    )
    model = helper.make_model(
        _graph(thresholds, stride, smoothing),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    entry = model.metadata_props.add()
    entry.key, entry.value = CARD_KEY, card.to_json()
    onnx.checker.check_model(model)
    path = folder / name / MODEL_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    (folder / "default").write_text(name + "\n", encoding="utf-8")
    return path


def _graph(thresholds: Sequence[float], stride: int, smoothing: int) -> onnx.GraphProto:
    constants: dict[str, np.ndarray[Any, Any]] = {
        "grey_weights": np.array([0.25, 0.5, 0.25], np.float32).reshape(1, 3, 1, 1),
        "binomial": _BINOMIAL,
        "half": np.array(0.5, np.float32),
        "full": np.array(255, np.float32),
        "axis": np.array([1], np.int64),
        "up": np.array([1, 1, stride, stride], np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["micrograph"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["levels"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["nchw", "grey_weights"], ["grey"]),
    ]
    level = "grey"
    if smoothing:
        for step in range(smoothing):
            nodes.append(_smooth(level, f"smooth{step}"))
            level = f"smooth{step}"
        window = [stride, stride]
        nodes += [
            helper.make_node(
                "AveragePool", [level], ["pooled"], kernel_shape=window, strides=window
            ),
            _smooth("pooled", "coarse"),
            helper.make_node("Resize", ["coarse", "", "up"], ["wide"], mode="nearest",
                             nearest_mode="floor",
                             coordinate_transformation_mode="asymmetric"),
            helper.make_node("Add", ["grey", "wide"], ["both"]),
            helper.make_node("Mul", ["both", "half"], ["mixed"]),
        ]  # fmt: skip
        level = "mixed"
    below = []
    for index, threshold in enumerate(thresholds):
        constants[f"threshold{index}"] = np.array(threshold, np.float32)
        nodes += [
            helper.make_node("Less", [level, f"threshold{index}"], [f"is_below{index}"]),
            helper.make_node("Cast", [f"is_below{index}"], [f"below{index}"], to=TensorProto.FLOAT),
        ]
        below.append(f"below{index}")
    nodes += [
        helper.make_node("Sum", below, ["index"]),
        helper.make_node("Cast", ["index"], ["index8"], to=TensorProto.UINT8),
        helper.make_node("Squeeze", ["index8", "axis"], ["classes"]),
        # Any function of the level will do: 255 for black, 128 for white.
        helper.make_node("Mul", [level, "half"], ["doubt"]),
        helper.make_node("Sub", ["full", "doubt"], ["sure"]),
        helper.make_node("Cast", ["sure"], ["sure8"], to=TensorProto.UINT8),
        helper.make_node("Squeeze", ["sure8", "axis"], ["confidence"]),
    ]

    def info(label: str, shape: list[str | int]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(label, TensorProto.UINT8, shape)

    return helper.make_graph(
        nodes,
        "threshold",
        [info("micrograph", ["N", "H", "W", 3])],
        [info("classes", ["N", "H", "W"]), info("confidence", ["N", "H", "W"])],
        [numpy_helper.from_array(value, label) for label, value in constants.items()],
    )


def _smooth(source: str, target: str) -> onnx.NodeProto:
    return helper.make_node("Conv", [source, "binomial"], [target], pads=[1, 1, 1, 1])
