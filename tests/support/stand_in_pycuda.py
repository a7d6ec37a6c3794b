"""What stands in for pycuda: its calls, on host memory, and its two stacks of contexts."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hptl_deploy.engines.memory.host import HostEvent, HostStream
from hptl_deploy.errors import DeviceError, OutOfDeviceMemory

if TYPE_CHECKING:
    from support.stand_in_cuda import Card


class PycudaError(Exception):
    """pycuda.driver.Error."""


class PycudaMemoryError(PycudaError):
    """pycuda.driver.MemoryError."""


def pycuda_driver(card: Card) -> SimpleNamespace:
    """`pycuda.driver`, as far as its documentation describes what the layer calls.

    Its contexts follow its sources: a stack of its own for each thread, of which the driver's
    holds the topmost alone, and a `detach` that pops nothing from the driver's.
    """
    stacks = threading.local()

    def stack() -> list[Context]:
        own: list[Context] = vars(stacks).setdefault("stack", [])
        return own

    def current(but: Context | None = None) -> Context | None:
        while stack() and (stack()[-1] is but or not stack()[-1].valid):
            stack().pop()
        return stack()[-1] if stack() else None

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
        def __init__(self) -> None:
            self.valid = True
            self._thread = threading.get_ident()

        def push(self) -> None:
            if stack():
                card.pop()
            card.push()
            stack().append(self)

        @staticmethod
        def pop() -> None:
            if not stack():
                raise PycudaError("cannot pop non-current context")
            card.pop()
            if current() is None:
                raise PycudaError("cannot pop context from empty stack")
            stack().pop()
            if current():
                card.push()

        def detach(self) -> None:
            if not self.valid:
                raise PycudaError("cannot detach from invalid context")
            active = current() is self
            if active or self._thread == threading.get_ident():
                if not active:
                    card.push()
                card.retained -= 1
            self.valid = False
            if active and current(self):
                card.push()

    class Device:
        count = staticmethod(lambda: 1)

        def __init__(self, number: int) -> None: ...

        def name(self) -> str:
            return card.name

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
