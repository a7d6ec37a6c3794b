"""Static 8-bit quantisation in the ONNX graph, in the form each target runs fastest. No torch.

    picture --Q-DQ--> conv -> ReLU --Q-DQ--> conv -> ReLU -> pool --Q-DQ--> ... -> scores
    fp32              S8 per channel         S8 per channel                        fp32

Only convolutions that a ReLU follows are quantised: the trunk and fc6, fc7, nearly all of the work.
Normalisation and enlargement before them, and the scores, their sums, the decision and the
confidence behind them, stay fp32.

`cpu`: unsigned activations, from 0 to the largest, which after a ReLU loses no step to numbers that
never come, and is what ONNX Runtime's kernels are fastest with. `tensorrt`: signed and symmetric
round a zero point of 0, the only form TensorRT takes.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from hptl_deploy.engines.onnxruntime import first_line, load_onnxruntime, session_options
from hptl_deploy.errors import ModelError, VerificationError
from hptl_deploy.model import INPUT

if TYPE_CHECKING:
    from numpy.typing import NDArray


HEADROOM = 1.25
"""Ranges reach so much beyond what the calibration pictures show. Numbers beyond a range are cut
off, and it is the rare, bright or dark places that have them: measured on the bundled model,
ranges without headroom cost a rare phase 0.017 of its IoU, narrower ones 0.1 and more, and this
0.002, while 8 bits over a range wider by a quarter lose next to nothing."""


def quantisable(graph: onnx.GraphProto) -> list[str]:
    """Names of the convolutions that a ReLU follows, in the graph's order."""
    activated = {node.input[0] for node in graph.node if node.op_type == "Relu"}
    return [
        node.name for node in graph.node if node.op_type == "Conv" and node.output[0] in activated
    ]


def quantise(
    model: onnx.ModelProto,
    pictures: Sequence[NDArray[np.uint8]],
    target: str,
    kept: int = 0,
) -> onnx.ModelProto:
    """`model` with 8-bit convolutions; the first `kept` of them stay in fp32.

    `pictures` (uint8 [H, W, 3], sides multiples of the stride) say which range every tensor needs.
    `target` is one of INT8_TARGETS. Inputs and outputs stay as they are, weights inside. Raises
    ModelError where there is nothing to quantise and VerificationError where it fails.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    convolutions = quantisable(model.graph)[kept:]
    if not convolutions:
        raise ModelError("the model has no convolution followed by a ReLU that could be quantised")
    others = ["MaxPool"] if target == "tensorrt" else ["Relu", "MaxPool"]
    nodes = convolutions + [node.name for node in model.graph.node if node.op_type in others]
    symmetric = target == "tensorrt"
    options: dict[str, Any] = {
        "WeightSymmetric": True,
        "ActivationSymmetric": symmetric,
        "TensorQuantOverrides": _overrides(_ranges(model, convolutions, pictures), symmetric),
    }
    if symmetric:
        # TensorRT fuses a convolution with its ReLU only where nothing stands between them.
        options["OpTypesToExcludeOutputQuantization"] = ["Conv"]
        # It takes a bias in fp32 and refuses ONNX Runtime's 32-bit integers.
        options["QuantizeBias"] = False
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, _silent():
        source, result = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(model.SerializeToString())
        try:
            quantize_static(
                source,
                result,
                _reader(pictures[0]),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=nodes,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options=options,
            )
        except Exception as exc:
            raise VerificationError(
                f"ONNX Runtime cannot quantise the model ({first_line(exc)})"
            ) from exc
        proto = onnx.load(result, load_external_data=False)
    del proto.metadata_props[:]
    del proto.graph.value_info[:]
    proto.producer_name, proto.producer_version = model.producer_name, model.producer_version
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _ranges(
    model: onnx.ModelProto, convolutions: Sequence[str], pictures: Sequence[NDArray[np.uint8]]
) -> dict[str, tuple[float, float]]:
    """(smallest, largest) number of every tensor that may be quantised, over all `pictures`.

    Measured inside the graph, so that no tensor leaves it.
    """
    nodes = model.graph.node
    tensors = [node.input[0] for node in nodes if node.name in convolutions]
    tensors += [node.output[0] for node in nodes if node.op_type in ("Relu", "MaxPool")]
    measuring = onnx.ModelProto()
    measuring.CopyFrom(model)
    del measuring.graph.output[:]
    names = []
    for tensor in dict.fromkeys(tensors):
        for kind in ("ReduceMin", "ReduceMax"):
            name = f"{kind}:{tensor}"
            measuring.graph.node.append(
                onnx.helper.make_node(kind, [tensor], [name], keepdims=0, name=name)
            )
            value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [])
            measuring.graph.output.append(value)
            names.append(name)
    ort = load_onnxruntime()
    session = ort.InferenceSession(
        measuring.SerializeToString(), session_options(ort), providers=["CPUExecutionProvider"]
    )
    found = np.array([session.run(names, {INPUT: picture[None]}) for picture in pictures])
    smallest, largest = found[:, ::2].min(0), found[:, 1::2].max(0)
    return {
        tensor: (float(low), float(high))
        for tensor, low, high in zip(dict.fromkeys(tensors), smallest, largest, strict=True)
    }


def _overrides(
    ranges: dict[str, tuple[float, float]], symmetric: bool
) -> dict[str, list[dict[str, Any]]]:
    """The ranges with headroom, as ONNX Runtime's quantiser takes them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for tensor, (low, high) in ranges.items():
        far = max(-low, high)
        least, most = (-far, far) if symmetric else (low, high)
        found[tensor] = [
            {"rmin": np.float32(HEADROOM * least), "rmax": np.float32(HEADROOM * most)}
        ]
    return found


def _reader(picture: NDArray[np.uint8]) -> Any:  # noqa: ANN401 (their class, loaded late)
    """What ONNX Runtime's own calibration insists on looking at; our ranges override its."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """One picture, then None."""

        def __init__(self) -> None:
            self._inputs = iter([{INPUT: picture[None]}])

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            """The model's next input."""
            return next(self._inputs, None)

    return Reader()


@contextmanager
def _silent() -> Iterator[None]:
    """Without ONNX Runtime's advice to its developers, which it gives the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
