"""Device memory through pycuda, in the primary context, which other libraries use, too.

pycuda compiles against a CUDA toolkit and imports only where there is a driver. Its streams and
events are freed when the last reference to them goes.

pycuda keeps a stack of contexts for each thread beside the driver's own. `detach` takes a primary
context off the first alone, or, where it is not current, puts it on the second alone: either way
what was released stays current in the driver.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING, for which pycuda has no name


class PycudaMemory(Memory):
    """Card `index`, through pycuda."""

    layer = "pycuda"

    def __init__(self, index: int) -> None:
        """Retain the card's primary context.

        Raises EnvironmentLacks where pycuda, the driver or the card is missing.
        """
        super().__init__()
        self._index = index
        self._blocks = threading.local()
        self._leaving = False
        self.device = f"cuda:{index}"
        self.version, self.drv = _driver()
        try:
            self.drv.init()
            count = self.drv.Device.count()
        except self.drv.Error as exc:
            raise EnvironmentLacks(f"pycuda finds no NVIDIA card ({exc})") from exc
        if index >= count:
            raise EnvironmentLacks(f"pycuda finds {count} NVIDIA card(s), none of number {index}")
        with self.translated():
            self._card = self.drv.Device(index)
            self._context = self._card.retain_primary_context()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turns pycuda's errors into OutOfDeviceMemory and DeviceError."""
        try:
            yield
        except self.drv.MemoryError as exc:
            raise OutOfDeviceMemory(str(exc)) from exc
        except self.drv.Error as exc:
            raise DeviceError(str(exc)) from exc

    @contextmanager
    def active(self) -> Iterator[None]:
        """Push the primary context, and pop it again."""
        depth = self._depth
        with self.translated():
            self._context.push()
        self._blocks.depth = depth + 1
        try:
            yield
        finally:
            self._blocks.depth = depth
            with self.translated():
                self.drv.Context.pop()
            if self._leaving and not depth:
                self._leaving = False
                self._detach()

    def properties(self) -> DeviceProperties:
        """Asked of the driver."""
        with self.active(), self.translated():
            free, total = self.drv.mem_get_info()
            major, minor = self._card.compute_capability()
            return DeviceProperties(
                self._card.name(),
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
        # What is on this thread's stack is let go of where the block ends that put it there.
        if self._depth:
            self._leaving = True
        else:
            self._detach()

    @property
    def _depth(self) -> int:
        """Blocks of `active` that the calling thread is in."""
        return getattr(self._blocks, "depth", 0)

    def _detach(self) -> None:
        def detach() -> None:
            self._context.push()  # pycuda releases in another thread only what is current there
            self._context.detach()

        # The thread takes its stack, with the dead context on it, to its end.
        with ThreadPoolExecutor(max_workers=1) as thread, self.translated():
            thread.submit(detach).result()


class _PinnedBuffer(PinnedBuffer):
    def __init__(self, memory: PycudaMemory, nbytes: int) -> None:
        super().__init__()
        self._memory = memory
        with memory.translated():
            self.array = memory.drv.pagelocked_empty(nbytes, np.uint8)

    def _free(self) -> None:
        allocation: Any = self.array.base
        with self._memory.translated():
            allocation.free()


class _DeviceBuffer(DeviceBuffer):
    def __init__(self, memory: PycudaMemory, nbytes: int) -> None:
        super().__init__()
        self._memory = memory
        try:
            with memory.translated():
                self._allocation = memory.drv.mem_alloc(nbytes)
        except OutOfDeviceMemory as exc:
            with memory.translated():
                free, _ = memory.drv.mem_get_info()
            raise OutOfDeviceMemory(f"{mib(nbytes)} asked for, {mib(free)} free") from exc
        self.pointer, self.nbytes = int(self._allocation), nbytes

    def _free(self) -> None:
        with self._memory.translated():
            self._allocation.free()


class _Event(Event):
    def __init__(self, memory: PycudaMemory) -> None:
        super().__init__()
        self._memory = memory
        with memory.translated():
            self.event = memory.drv.Event(memory.drv.event_flags.BLOCKING_SYNC)

    def synchronize(self) -> None:
        with self._memory.translated():
            self.event.synchronize()

    def milliseconds_since(self, earlier: Event) -> float:
        assert isinstance(earlier, _Event)
        with self._memory.translated():
            return float(self.event.time_since(earlier.event))

    def _free(self) -> None:
        del self.event


class _Stream(Stream):
    def __init__(self, memory: PycudaMemory) -> None:
        super().__init__()
        self._memory = memory
        with memory.translated():
            self._stream = memory.drv.Stream(_NON_BLOCKING)
        self.handle = int(self._stream.handle)

    def record(self, event: Event) -> None:
        assert isinstance(event, _Event)
        with self._memory.translated():
            event.event.record(self._stream)

    def wait(self, event: Event) -> None:
        assert isinstance(event, _Event)
        with self._memory.translated():
            self._stream.wait_for_event(event.event)

    def synchronize(self) -> None:
        with self._memory.translated():
            self._stream.synchronize()

    def _copy_in(self, target: DeviceBuffer, source: PinnedBuffer, nbytes: int) -> None:
        with self._memory.translated():
            self._memory.drv.memcpy_htod_async(target.pointer, source.array[:nbytes], self._stream)

    def _copy_out(self, target: PinnedBuffer, source: DeviceBuffer, nbytes: int) -> None:
        with self._memory.translated():
            self._memory.drv.memcpy_dtoh_async(target.array[:nbytes], source.pointer, self._stream)

    def _free(self) -> None:
        del self._stream


def _driver() -> tuple[str, ModuleType]:
    """Version and driver module. Raises EnvironmentLacks where they cannot be loaded."""
    try:
        return str(import_module("pycuda").VERSION_TEXT), import_module("pycuda.driver")
    except (ImportError, OSError) as exc:
        raise EnvironmentLacks(
            f"pycuda cannot be loaded ({exc})", hint='Install it: pip install "hptl-deploy[pycuda]"'
        ) from exc
