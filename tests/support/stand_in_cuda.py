"""What stands in for a card and for cuda-python's driver module: its calls, on host memory.

So that every line of both layers runs without a card. Calls, arguments and results are those of
the libraries; work that is queued is done later, as on a card.
"""

from __future__ import annotations

import inspect
import sys
import threading
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

import pytest

from hptl_deploy.engines.memory.host import HostMemory
from hptl_deploy.errors import DeviceError, OutOfDeviceMemory
from support.stand_in_pycuda import pycuda_driver

NAME = "NVIDIA Stand-in 4090"


class Card:
    """One card of host memory, and what was given out by address."""

    name = NAME

    def __init__(self) -> None:
        self.memory = HostMemory(pause=0.002)
        self.held: dict[int, Any] = {}
        self.retained = 0
        self._threads = threading.local()

    @property
    def contexts(self) -> list[AbstractContextManager[None]]:
        """What the calling thread has pushed; it goes with the thread."""
        stack: list[AbstractContextManager[None]] = vars(self._threads).setdefault("stack", [])
        return stack

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
