"""What stands in for pycuda and for cuda-python's driver module: their calls, on host memory.

So that every line of both layers runs without a card. Calls, arguments and results are those of
the libraries; work that is queued is done later, as on a card.
"""

from __future__ import annotations

import inspect
import sys
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hptl_deploy.engines.memory.host import HostEvent, HostMemory, HostStream
from hptl_deploy.errors import DeviceError, OutOfDeviceMemory

NAME = "NVIDIA Stand-in 4090"


class Card:
    """One card of host memory, and what was given out by address."""

    def __init__(self) -> None:
        self.memory = HostMemory(pause=0.002)
        self.held: dict[int, Any] = {}
        self.contexts: list[AbstractContextManager[None]] = []
        self.retained = 0

    def hold(self, address: int, resource: Any) -> int:
        self.held[address] = resource
        return address

    def free(self, address: int) -> None:
        self.held.pop(address).close()

    def push(self) -> None:
        assert self.retained
        self.contexts.append(self.memory.active())
        self.contexts[-1].__enter__()

    def pop(self) -> None:
        self.contexts.pop().__exit__(None, None, None)

    def info(self) -> tuple[int, int]:
        self.memory.check_active()
        properties = self.memory.properties()
        return properties.free_bytes, properties.total_bytes

    def left(self) -> bool:
        """Whether everything has been given back."""
        return not (self.held or self.contexts or self.retained or +self.memory.live)


class BindingsDriver:
    """`cuda.bindings.driver`: every function gives (status, results ...)."""

    def __init__(self, real: Any, card: Card) -> None:
        self._real, self._card = real, card
        for name in ("CUresult", "CUdevice_attribute", "CUevent_flags", "CUstream_flags"):
            setattr(self, name, getattr(real, name))

    def __getattr__(self, name: str) -> Any:
        work = getattr(_Calls, name)
        arguments = len(inspect.signature(getattr(self._real, name)).parameters)

        def function(*given: Any) -> tuple[Any, ...]:
            assert len(given) == arguments
            status = self._real.CUresult
            try:
                results = work(self._card, *given)
            except OutOfDeviceMemory:
                return status.CUDA_ERROR_OUT_OF_MEMORY, None
            except DeviceError:
                return status.CUDA_ERROR_LAUNCH_FAILED, None
            if name == "cuGetErrorString":
                return status.CUDA_SUCCESS, str(given[0].name).encode()
            return (status.CUDA_SUCCESS, *results)

        function.__name__ = name
        return function


class _Calls:
    """What each function does; a tuple of its results."""

    cuInit = staticmethod(lambda card, flags: ())  # noqa: N815
    cuGetErrorString = staticmethod(lambda card, status: ())  # noqa: N815
    cuDeviceGetCount = staticmethod(lambda card: (1,))  # noqa: N815
    cuDeviceGet = staticmethod(lambda card, index: (index,))  # noqa: N815
    cuDeviceGetName = staticmethod(  # noqa: N815
        lambda card, length, device: (NAME.encode().ljust(length, b"\0"),)
    )
    cuDeviceGetAttribute = staticmethod(  # noqa: N815
        lambda card, attribute, device: (8 if attribute.name.endswith("MAJOR") else 9,)
    )
    cuMemGetInfo = staticmethod(lambda card: card.info())  # noqa: N815
    cuCtxPushCurrent = staticmethod(lambda card, context: card.push() or ())  # noqa: N815
    cuCtxPopCurrent = staticmethod(lambda card: card.pop() or ("context",))  # noqa: N815

    @staticmethod
    def cuDevicePrimaryCtxRetain(card: Card, device: int) -> tuple[str]:  # noqa: N802
        card.retained += 1
        return ("context",)

    @staticmethod
    def cuDevicePrimaryCtxRelease(card: Card, device: int) -> tuple[()]:  # noqa: N802
        card.retained -= 1
        return ()

    @staticmethod
    def cuMemHostAlloc(card: Card, nbytes: int, flags: int) -> tuple[int]:  # noqa: N802
        buffer = card.memory.pinned(nbytes)
        return (card.hold(buffer.array.ctypes.data, buffer),)

    @staticmethod
    def cuMemAlloc(card: Card, nbytes: int) -> tuple[int]:  # noqa: N802
        buffer = card.memory.device_buffer(nbytes)
        return (card.hold(buffer.pointer, buffer),)

    @staticmethod
    def cuEventCreate(card: Card, flags: int) -> tuple[int]:  # noqa: N802
        event = card.memory.event()
        return (card.hold(id(event), event),)

    @staticmethod
    def cuStreamCreate(card: Card, flags: int) -> tuple[int]:  # noqa: N802
        stream = card.memory.stream()
        return (card.hold(stream.handle, stream),)

    @staticmethod
    def _free(card: Card, address: int) -> tuple[()]:
        card.free(address)
        return ()

    cuMemFreeHost = cuMemFree = cuEventDestroy = cuStreamDestroy = _free  # noqa: N815

    @staticmethod
    def _wait(card: Card, address: int) -> tuple[()]:
        card.held[address].synchronize()
        return ()

    cuEventSynchronize = cuStreamSynchronize = _wait  # noqa: N815

    @staticmethod
    def cuEventElapsedTime(card: Card, start: int, end: int) -> tuple[float]:  # noqa: N802
        return (card.held[end].milliseconds_since(card.held[start]),)

    @staticmethod
    def cuEventRecord(card: Card, event: int, stream: int) -> tuple[()]:  # noqa: N802
        card.held[stream].record(card.held[event])
        return ()

    @staticmethod
    def cuStreamWaitEvent(card: Card, stream: int, event: int, flags: int) -> tuple[()]:  # noqa: N802
        card.held[stream].wait(card.held[event])
        return ()

    @staticmethod
    def cuMemcpyHtoDAsync(  # noqa: N802
        card: Card, target: int, source: int, nbytes: int, stream: int
    ) -> tuple[()]:
        card.held[stream].copy_in(card.held[target], card.held[source], nbytes)
        return ()

    @staticmethod
    def cuMemcpyDtoHAsync(  # noqa: N802
        card: Card, target: int, source: int, nbytes: int, stream: int
    ) -> tuple[()]:
        card.held[stream].copy_out(card.held[target], card.held[source], nbytes)
        return ()


class PycudaError(Exception):
    """pycuda.driver.Error."""


class PycudaMemoryError(PycudaError):
    """pycuda.driver.MemoryError."""


def pycuda_driver(card: Card) -> SimpleNamespace:
    """`pycuda.driver`, as far as its documentation describes what the layer calls."""

    class Allocation:
        def __init__(self, address: int) -> None:
            self._address = address

        def free(self) -> None:
            card.free(self._address)

        def __int__(self) -> int:
            return self._address

    class Pagelocked(Allocation):
        def __init__(self, array: NDArray[np.uint8], address: int) -> None:
            super().__init__(address)
            self.__array_interface__ = array.__array_interface__

    class Event:
        def __init__(self, flags: int) -> None:
            self.event: HostEvent = card.memory.event()

        def record(self, stream: Stream) -> None:
            stream.stream.record(self.event)

        def synchronize(self) -> None:
            self.event.synchronize()

        def time_since(self, event: Event) -> float:
            return self.event.milliseconds_since(event.event)

        def __del__(self) -> None:
            self.event.close()

    class Stream:
        def __init__(self, flags: int) -> None:
            self.stream: HostStream = card.memory.stream()
            self.handle = self.stream.handle

        def synchronize(self) -> None:
            self.stream.synchronize()

        def wait_for_event(self, event: Event) -> None:
            self.stream.wait(event.event)

        def __del__(self) -> None:
            self.stream.close()

    class Context:
        push = staticmethod(card.push)
        pop = staticmethod(card.pop)

        def detach(self) -> None:
            card.retained -= 1

    class Device:
        count = staticmethod(lambda: 1)

        def __init__(self, number: int) -> None: ...

        def name(self) -> str:
            return NAME

        def compute_capability(self) -> tuple[int, int]:
            return (8, 9)

        def retain_primary_context(self) -> Context:
            card.retained += 1
            return Context()

    def mem_alloc(nbytes: int) -> Allocation:
        try:
            buffer = card.memory.device_buffer(nbytes)
        except OutOfDeviceMemory as exc:
            raise PycudaMemoryError("cuMemAlloc failed: out of memory") from exc
        except DeviceError as exc:
            raise PycudaError(str(exc)) from exc
        return Allocation(card.hold(buffer.pointer, buffer))

    def pagelocked_empty(shape: int, dtype: type) -> NDArray[np.uint8]:
        buffer = card.memory.pinned(shape)
        address = card.hold(buffer.array.ctypes.data, buffer)
        return np.asarray(Pagelocked(buffer.array, address), dtype)

    def memcpy_htod_async(dest: int, src: NDArray[np.uint8], stream: Stream) -> None:
        stream.stream.copy_in(card.held[dest], card.held[src.ctypes.data], src.size)

    def memcpy_dtoh_async(dest: NDArray[np.uint8], src: int, stream: Stream) -> None:
        stream.stream.copy_out(card.held[dest.ctypes.data], card.held[src], dest.size)

    return SimpleNamespace(
        Error=PycudaError, MemoryError=PycudaMemoryError, init=lambda: None, Device=Device,
        Context=Context, Stream=Stream, Event=Event, event_flags=SimpleNamespace(BLOCKING_SYNC=1),
        mem_get_info=card.info, mem_alloc=mem_alloc, pagelocked_empty=pagelocked_empty,
        memcpy_htod_async=memcpy_htod_async, memcpy_dtoh_async=memcpy_dtoh_async,
    )  # fmt: skip


def install(monkeypatch: pytest.MonkeyPatch, layer: str) -> Card:
    """Replace the layer's library; until the test ends."""
    card = Card()
    if layer == "pycuda":
        package = SimpleNamespace(VERSION_TEXT="2025.1")
        monkeypatch.setitem(sys.modules, "pycuda", package)
        monkeypatch.setitem(sys.modules, "pycuda.driver", pycuda_driver(card))
    else:
        real = pytest.importorskip("cuda.bindings.driver", reason="needs cuda-python")
        monkeypatch.setitem(sys.modules, "cuda.bindings.driver", BindingsDriver(real, card))
    return card
