"""Device memory: `base.py` is the interface, and `open_memory` takes the layer that is there."""

from __future__ import annotations

from hptl_deploy.engines.memory.base import (
    DeviceBuffer,
    DeviceProperties,
    Event,
    Memory,
    PinnedBuffer,
    Stream,
)
from hptl_deploy.errors import EnvironmentLacks, UsageError

__all__ = [
    "LAYERS",
    "DeviceBuffer",
    "DeviceProperties",
    "Event",
    "Memory",
    "PinnedBuffer",
    "Stream",
    "open_memory",
]

LAYERS = ("pycuda", "cuda-python")
"""In the order in which they are tried."""


def open_memory(index: int = 0, wanted: str | None = None) -> Memory:
    """Card `index` through `wanted`, or else through the first of `LAYERS` that works.

    Raises UsageError for a layer that does not exist, and EnvironmentLacks where the wanted
    one, or every one, is missing or finds no such card; the message has a sentence for each.
    """
    if wanted is not None:
        return _opened(wanted, index)
    reasons = []
    for layer in LAYERS:
        try:
            return _opened(layer, index)
        except EnvironmentLacks as exc:
            reasons.append(exc.message)
    raise EnvironmentLacks(
        f"card {index} cannot be used: {'; '.join(reasons)}",
        hint="Check the driver with nvidia-smi, and install cuda-python: pip install cuda-python",
    )


def _opened(layer: str, index: int) -> Memory:
    if layer == "pycuda":
        from hptl_deploy.engines.memory.pycuda import PycudaMemory

        return PycudaMemory(index)
    if layer == "cuda-python":
        from hptl_deploy.engines.memory.cuda_python import CudaPythonMemory

        return CudaPythonMemory(index)
    raise UsageError(f"device memory through {layer}: expected {' or '.join(LAYERS)}")
