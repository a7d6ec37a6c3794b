"""What a device can do at best: a big matrix product in one precision, by ONNX Runtime.

A network's convolutions are such products at heart, with their operands still to be fetched, so
the share of this rate says how much of the device a network uses.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy.closing import Closes
from hptl_deploy.engines.onnxruntime import first_line, load_onnxruntime, session_options
from hptl_deploy.errors import EnvironmentLacks

if TYPE_CHECKING:
    import onnx

_SIDES = {"cpu": 2048, "cuda": 8192}
"""2 x 2048^3 = 17 GFLOP are tens of milliseconds of a processor; 2 x 8192^3 = 1.1 TFLOP are more
than a millisecond of the largest cards."""
_WARM_UP = 2


class MatrixProduct(Closes):
    """A square product on one device, ready to be timed.

    fp32 and fp16 are products of that precision; int8 multiplies 8-bit numbers and adds in 32
    bits, unsigned by signed on a CPU, as the convolutions do there, and signed on a card.
    """

    def __init__(self, precision: str, device: str) -> None:
        """`device` is `cpu` or `cuda:N`. Raises EnvironmentLacks where it cannot run."""
        kind, _, index = device.partition(":")
        self.precision, self.device = precision, device
        self.side = _SIDES[kind]
        ort = load_onnxruntime()
        provider: tuple[str, dict[str, str]] = ("CPUExecutionProvider", {})
        if kind == "cuda":
            # As the engines: fp32 means fp32.
            provider = ("CUDAExecutionProvider", {"device_id": index, "use_tf32": "0"})
        try:
            self._session = ort.InferenceSession(
                _product(precision, kind, self.side).SerializeToString(),
                session_options(ort),
                providers=[provider],
                enable_fallback=0,
            )
            self._binding = self._session.io_binding()
            left = _numbers(precision, kind, self.side, 1)
            on_device = ort.OrtValue.ortvalue_from_numpy(left, kind, int(index or 0))
            self._binding.bind_ortvalue_input("left", on_device)
            self._binding.bind_output("product", kind, int(index or 0))
            for _ in range(_WARM_UP):
                self.seconds()
        except Exception as exc:
            raise EnvironmentLacks(
                f"{device} has no {precision} matrix product by ONNX Runtime ({first_line(exc)})"
            ) from exc

    @property
    def operations(self) -> int:
        """Of one product; a multiplication and an addition are two."""
        return 2 * self.side**3

    def seconds(self) -> float:
        """That one product takes; its operands lie on the device, and the result stays there."""
        begun = time.perf_counter()
        self._session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()
        return time.perf_counter() - begun

    def close(self) -> None:
        """Release the session and its memory; a second call does nothing."""
        self._binding = self._session = None


def _product(precision: str, kind: str, side: int) -> onnx.ModelProto:
    """Left [S, S] x a constant [S, S]."""
    from onnx import TensorProto, helper, numpy_helper

    right = _numbers(precision, kind, side, 2)
    types = {
        "fp32": (TensorProto.FLOAT, TensorProto.FLOAT),
        "fp16": (TensorProto.FLOAT16, TensorProto.FLOAT16),
        "int8": (TensorProto.UINT8 if kind == "cpu" else TensorProto.INT8, TensorProto.INT32),
    }
    taken, given = types[precision]
    name = "MatMulInteger" if precision == "int8" else "MatMul"
    graph = helper.make_graph(
        [helper.make_node(name, ["left", "right"], ["product"])],
        "product",
        [helper.make_tensor_value_info("left", taken, [side, side])],
        [helper.make_tensor_value_info("product", given, [side, side])],
        [numpy_helper.from_array(right.astype(np.int8) if precision == "int8" else right, "right")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _numbers(precision: str, kind: str, side: int, seed: int) -> np.ndarray[Any, Any]:
    """[S, S] in the operand's type; of a size that no sum of products overflows."""
    random = np.random.default_rng(seed)
    if precision == "int8":
        operand = np.uint8 if kind == "cpu" else np.int8
        return random.integers(0, 64, (side, side)).astype(operand)
    wide = random.normal(0, 0.1, (side, side))
    return wide.astype(np.float16 if precision == "fp16" else np.float32)
