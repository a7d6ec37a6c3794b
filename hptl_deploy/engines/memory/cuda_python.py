"""Device memory through cuda-python's bindings of the driver API, in the primary context.

Other libraries in the process (TensorRT, ONNX Runtime) use the primary context, too, so their
pointers and streams are ours. Importing this needs no driver; opening a card does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from hptl_deploy.engines.machine import this_machine
from hptl_deploy.engines.memory.base import (
    DeviceBuffer,
    DeviceProperties,
    Event,
    Memory,
    PinnedBuffer,
    Stream,
    mib,
)
from hptl_deploy.errors import DeviceError, EnvironmentLacks, OutOfDeviceMemory


class CudaPythonMemory(Memory):
    """Card `index`, through cuda-python."""

    layer = "cuda-python"

    def __init__(self, index: int) -> None:
        """Retain the card's primary context.

        Raises EnvironmentLacks where cuda-python, the driver or the card is missing.
        """
        super().__init__()
        self._index = index
        self.device = f"cuda:{index}"
        self.version, self.cu = _bindings()
        cu = self.cu
        try:
            self.call(cu.cuInit, 0)
            (count,) = self.call(cu.cuDeviceGetCount)
        except DeviceError as exc:
            raise EnvironmentLacks(f"cuda-python finds no NVIDIA card ({exc.message})") from exc
        except RuntimeError as exc:  # how the bindings say that the driver's library is missing
            raise EnvironmentLacks("cuda-python finds no NVIDIA driver") from exc
        if index >= count:
            raise EnvironmentLacks(
                f"cuda-python finds {count} NVIDIA card(s), none of number {index}"
            )
        (self._card,) = self.call(cu.cuDeviceGet, index)
        (self._context,) = self.call(cu.cuDevicePrimaryCtxRetain, self._card)

    def call(self, function: Callable[..., Any], *arguments: object) -> tuple[Any, ...]:
        """What `function` returns behind its status.

        Raises OutOfDeviceMemory and DeviceError, which name the function.
        """
        status, *results = function(*arguments)
        if status == self.cu.CUresult.CUDA_SUCCESS:
            return tuple(results)
        told, text = self.cu.cuGetErrorString(status)
        reason = text.decode() if told == self.cu.CUresult.CUDA_SUCCESS else "unknown error"
        kind = (
            OutOfDeviceMemory
            if status == self.cu.CUresult.CUDA_ERROR_OUT_OF_MEMORY
            else DeviceError
        )
        raise kind(f"{function.__name__}: {reason}")

    @contextmanager
    def active(self) -> Iterator[None]:
        """Push the primary context, and pop it again."""
        self.call(self.cu.cuCtxPushCurrent, self._context)
        try:
            yield
        finally:
            self.call(self.cu.cuCtxPopCurrent)

    def properties(self) -> DeviceProperties:
        """Asked of the driver."""
        cu, of = self.cu, self.cu.CUdevice_attribute
        (name,) = self.call(cu.cuDeviceGetName, 256, self._card)
        (major,) = self.call(
            cu.cuDeviceGetAttribute, of.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, self._card
        )
        (minor,) = self.call(
            cu.cuDeviceGetAttribute, of.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, self._card
        )
        with self.active():
            free, total = self.call(cu.cuMemGetInfo)
        return DeviceProperties(
            name.split(b"\0")[0].decode(),
            f"{major}.{minor}",
            total,
            free,
            this_machine(self._index).driver or "unknown",
        )

    def stream(self) -> _Stream:
        """One that does not wait for the default stream."""
        return _Stream(self)

    def event(self) -> _Event:
        """One that lets the thread sleep while it waits: decoding needs the core."""
        return _Event(self)

    def _pinned(self, nbytes: int) -> _PinnedBuffer:
        return _PinnedBuffer(self, nbytes)

    def _device_buffer(self, nbytes: int) -> _DeviceBuffer:
        return _DeviceBuffer(self, nbytes)

    def _release(self) -> None:
        self.call(self.cu.cuDevicePrimaryCtxRelease, self._card)


class _PinnedBuffer(PinnedBuffer):
    def __init__(self, memory: CudaPythonMemory, nbytes: int) -> None:
        super().__init__()
        self._memory = memory
        (pointer,) = memory.call(memory.cu.cuMemHostAlloc, nbytes, 0)
        self._pointer = int(pointer)
        room = (ctypes.c_uint8 * nbytes).from_address(self._pointer)
        self.array = np.ctypeslib.as_array(room)

    def _free(self) -> None:
        self._memory.call(self._memory.cu.cuMemFreeHost, self._pointer)


class _DeviceBuffer(DeviceBuffer):
    def __init__(self, memory: CudaPythonMemory, nbytes: int) -> None:
        super().__init__()
        self._memory = memory
        try:
            (pointer,) = memory.call(memory.cu.cuMemAlloc, nbytes)
        except OutOfDeviceMemory as exc:
            free, _ = memory.call(memory.cu.cuMemGetInfo)
            raise OutOfDeviceMemory(f"{mib(nbytes)} asked for, {mib(free)} free") from exc
        self.pointer, self.nbytes = int(pointer), nbytes

    def _free(self) -> None:
        self._memory.call(self._memory.cu.cuMemFree, self.pointer)


class _Event(Event):
    def __init__(self, memory: CudaPythonMemory) -> None:
        super().__init__()
        self._memory = memory
        flags = memory.cu.CUevent_flags.CU_EVENT_BLOCKING_SYNC
        (self.event,) = memory.call(memory.cu.cuEventCreate, int(flags))

    def synchronize(self) -> None:
        self._memory.call(self._memory.cu.cuEventSynchronize, self.event)

    def milliseconds_since(self, earlier: Event) -> float:
        assert isinstance(earlier, _Event)
        (passed,) = self._memory.call(self._memory.cu.cuEventElapsedTime, earlier.event, self.event)
        return float(passed)

    def _free(self) -> None:
        self._memory.call(self._memory.cu.cuEventDestroy, self.event)


class _Stream(Stream):
    def __init__(self, memory: CudaPythonMemory) -> None:
        super().__init__()
        self._memory = memory
        flags = memory.cu.CUstream_flags.CU_STREAM_NON_BLOCKING
        (self._stream,) = memory.call(memory.cu.cuStreamCreate, int(flags))
        self.handle = int(self._stream)

    def record(self, event: Event) -> None:
        assert isinstance(event, _Event)
        self._memory.call(self._memory.cu.cuEventRecord, event.event, self._stream)

    def wait(self, event: Event) -> None:
        assert isinstance(event, _Event)
        self._memory.call(self._memory.cu.cuStreamWaitEvent, self._stream, event.event, 0)

    def synchronize(self) -> None:
        self._memory.call(self._memory.cu.cuStreamSynchronize, self._stream)

    def _copy_in(self, target: DeviceBuffer, source: PinnedBuffer, nbytes: int) -> None:
        pinned = source.array.ctypes.data
        self._memory.call(
            self._memory.cu.cuMemcpyHtoDAsync, target.pointer, pinned, nbytes, self._stream
        )

    def _copy_out(self, target: PinnedBuffer, source: DeviceBuffer, nbytes: int) -> None:
        pinned = target.array.ctypes.data
        self._memory.call(
            self._memory.cu.cuMemcpyDtoHAsync, pinned, source.pointer, nbytes, self._stream
        )

    def _free(self) -> None:
        self._memory.call(self._memory.cu.cuStreamDestroy, self._stream)


def _bindings() -> tuple[str, ModuleType]:
    """Version and driver module. Raises EnvironmentLacks where they are not installed."""
    try:
        return str(import_module("cuda.bindings").__version__), import_module(
            "cuda.bindings.driver"
        )
    except (ImportError, OSError) as exc:
        raise EnvironmentLacks(
            f"cuda-python cannot be loaded ({exc})", hint="Install it: pip install cuda-python"
        ) from exc
