"""The network of the ring on host memory: ONNX Runtime, on the stream's own thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hptl_deploy.engines.memory.base import Stream
from hptl_deploy.engines.memory.host import HostDeviceBuffer, HostMemory, HostStream
from hptl_deploy.engines.onnxruntime import load_onnxruntime, session_options
from hptl_deploy.engines.record import Shape
from hptl_deploy.engines.ring import Slot
from hptl_deploy.engines.tensorrt import SLOTS, TensorRTEngine
from hptl_deploy.engines.tensorrt_executor import Profile
from hptl_deploy.model import INPUT, OUTPUTS, load_model

PROFILES = (Profile((1, 24, 32), (1, 24, 32)), Profile((1, 8, 8), (4, 136, 200)))
"""Enough for the conformance suite."""


class OnnxExecutor:
    """Answers with the model's own answers, as late as its stream comes to it."""

    def __init__(self, path: Path, profiles: tuple[Profile, ...] = PROFILES) -> None:
        ort = load_onnxruntime()
        self.profiles = profiles
        self.closed = 0
        self.refuse: Callable[[Slot], None] = lambda slot: None
        """Called before a batch is queued; a test may let it raise."""
        self._session = ort.InferenceSession(
            str(path), session_options(ort), providers=["CPUExecutionProvider"]
        )

    def enqueue(self, slot: Slot, stream: Stream) -> None:
        assert isinstance(stream, HostStream)
        self.refuse(slot)
        shape, offset = slot.shape, slot.confidence_offset
        stream.call(lambda: self._run(slot, shape, offset))

    def _run(self, slot: Slot, shape: Shape, offset: int) -> None:
        assert isinstance(slot.input, HostDeviceBuffer)
        assert isinstance(slot.output, HostDeviceBuffer)
        count, height, width = shape
        pixels = count * height * width
        batch = slot.input.array[: 3 * pixels].reshape(*shape, 3)
        classes, confidence = self.run(batch)
        slot.output.array[:pixels] = classes.ravel()
        slot.output.array[offset : offset + pixels] = confidence.ravel()

    def run(self, batch: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """(classes, confidence) of a batch, at once."""
        classes, confidence = self._session.run(list(OUTPUTS), {INPUT: batch})
        return classes, confidence

    def close(self) -> None:
        self.closed += 1


def ring_engine(
    path: Path,
    memory: HostMemory | None = None,
    executor: OnnxExecutor | None = None,
    slots: int = SLOTS,
) -> TensorRTEngine:
    """TensorRT's streaming form on host memory."""
    memory = memory or HostMemory(pause=0.001)
    executor = executor or OnnxExecutor(path)
    versions = {"host": memory.version}
    return TensorRTEngine(
        load_model(path), executor, memory, backend="ring", versions=versions, slots=slots
    )
