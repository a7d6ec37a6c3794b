"""ONNX Runtime with its inputs and outputs bound to memory of the device.

Without it, every call takes new memory there and copies through it in pieces of its own choice.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.engines.base import Prediction
from hptl_deploy.model import INPUT, OUTPUTS

if TYPE_CHECKING:
    import onnxruntime
    from numpy.typing import NDArray


class Binding:
    """Buffers for batches of one shape on one device, used again by every call."""

    def __init__(
        self,
        ort: ModuleType,
        session: onnxruntime.InferenceSession,
        device: str,
        index: int,
        shape: tuple[int, int, int],
    ) -> None:
        """`device` is ONNX Runtime's name, `cuda` or `cpu`; `shape` (N, H, W).

        Raises what ONNX Runtime raises where there is no room.
        """

        def buffer(*dimensions: int) -> onnxruntime.OrtValue:
            return ort.OrtValue.ortvalue_from_shape_and_type(
                list(dimensions), np.uint8, device, index
            )

        self.shape = shape
        self._session = session
        self._input = buffer(*shape, 3)
        self._outputs = [buffer(*shape) for _ in OUTPUTS]
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(INPUT, self._input)
        for name, value in zip(OUTPUTS, self._outputs, strict=True):
            self._binding.bind_ortvalue_output(name, value)

    def run(self, batch: NDArray[np.uint8]) -> Prediction:
        """The answer to a batch, uint8 [N, H, W, 3], in arrays of the caller's own."""
        self._input.update_inplace(batch)
        self._session.run_with_iobinding(self._binding)
        # On the CPU `numpy` shows the buffer itself, which the next call writes to.
        classes, confidence = (np.array(value.numpy()) for value in self._outputs)
        return Prediction(classes, confidence)
