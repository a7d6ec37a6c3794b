"""Host memory that behaves as a card's: what is queued on a stream is done later, by its thread.

So the ring and the streaming form run, and fail, on any machine. What is sloppy on a card is
caught here: a call without `active`, a result taken before its event (buffers begin as noise
and end as noise), a copy from a buffer that has been freed, something never freed.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.engines.memory.base import (
    ALIGNMENT,
    DeviceBuffer,
    DeviceProperties,
    Event,
    Memory,
    PinnedBuffer,
    Resource,
    Stream,
    mib,
)
from hptl_deploy.engines.onnxruntime import first_line
from hptl_deploy.errors import DeviceError, OutOfDeviceMemory

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEW, _FREED = 0xA5, 0xDD  # what nobody has written reads as

# Waits are cut into pieces this long because on Windows a thread that waits for a lock
# does not see Ctrl-C.
_POLL_SECONDS = 0.2


class HostMemory(Memory):
    """The host's memory as a card.

    `capacity` bounds the bytes of device buffers, pinned ones not counted; `pause` seconds
    pass before each piece of queued work, so that a missing wait shows.
    """

    layer = "host"
    version = np.__version__
    device = "cpu"

    def __init__(self, capacity: int = 1 << 30, pause: float = 0.0) -> None:
        super().__init__()
        self._capacity = capacity
        self._pause = pause
        self._taken = 0
        self._active = threading.local()
        self.live: Counter[str] = Counter()
        """What has been given out and not been freed, by class name."""
        self.streams: dict[int, HostStream] = {}
        """By handle."""
        self.buffers: dict[int, HostDeviceBuffer] = {}
        """Those that are not freed, by address."""

    @contextmanager
    def active(self) -> Iterator[None]:
        """Note that the calling thread may use this memory."""
        depth = getattr(self._active, "depth", 0)
        self._active.depth = depth + 1
        try:
            yield
        finally:
            self._active.depth = depth

    def properties(self) -> DeviceProperties:
        """No card."""
        free = self._capacity - self._taken
        return DeviceProperties("host memory", "none", self._capacity, free, "none")

    def stream(self) -> HostStream:
        """A queue with a thread of its own."""
        return HostStream(self, self._pause)

    def event(self) -> HostEvent:
        """An event; it takes the time at which its stream's thread reached it."""
        return HostEvent(self)

    def _pinned(self, nbytes: int) -> HostPinnedBuffer:
        return HostPinnedBuffer(self, nbytes)

    def _device_buffer(self, nbytes: int) -> HostDeviceBuffer:
        free = self._capacity - self._taken
        if nbytes > free:
            raise OutOfDeviceMemory(f"{mib(nbytes)} asked for, {mib(free)} free")
        return HostDeviceBuffer(self, nbytes)

    def _release(self) -> None:
        if held := {name: count for name, count in self.live.items() if count}:
            raise DeviceError(f"closed while something is still held: {held}")

    def check_active(self) -> None:
        """Raises DeviceError where the calling thread has not made the card its own."""
        if not getattr(self._active, "depth", 0):
            raise DeviceError("this thread has not made the card its own")

    def account(self, resource: Resource, device_bytes: int = 0) -> None:
        """Count `resource` in where it is open, and out where it has just been closed."""
        self.check_active()
        sign = 1 if resource.open else -1
        self.live[type(resource).__name__] += sign
        self._taken += sign * device_bytes


class HostPinnedBuffer(PinnedBuffer):
    """Plain memory."""

    def __init__(self, memory: HostMemory, nbytes: int) -> None:
        super().__init__()
        self._memory = memory
        self.array = np.full(nbytes, _NEW, np.uint8)
        memory.account(self)

    def _free(self) -> None:
        self._memory.account(self)
        self.array[:] = _FREED


class HostDeviceBuffer(DeviceBuffer):
    """Plain memory, aligned."""

    def __init__(self, memory: HostMemory, nbytes: int) -> None:
        super().__init__()
        self._memory = memory
        room = np.full(nbytes + ALIGNMENT, _NEW, np.uint8)
        start = -room.ctypes.data % ALIGNMENT
        self.array: NDArray[np.uint8] = room[start : start + nbytes]
        self.pointer, self.nbytes = self.array.ctypes.data, nbytes
        memory.account(self, nbytes)
        memory.buffers[self.pointer] = self

    def _free(self) -> None:
        self._memory.buffers.pop(self.pointer, None)
        self._memory.account(self, self.nbytes)
        self.array[:] = _FREED


class _Mark:
    """One recording of an event."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self.error: DeviceError | None = None
        self.seconds = 0.0

    def reach(self, error: DeviceError | None) -> None:
        self.error, self.seconds = error, time.perf_counter()
        self._reached.set()

    def wait(self) -> None:
        """Raises what failed before the mark."""
        while not self._reached.wait(_POLL_SECONDS):
            pass
        if self.error is not None:
            raise self.error


class HostEvent(Event):
    """The latest of its marks."""

    def __init__(self, memory: HostMemory) -> None:
        super().__init__()
        self._memory = memory
        self.mark: _Mark | None = None
        memory.account(self)

    def synchronize(self) -> None:
        """Wait for the latest mark."""
        self._memory.check_active()
        if self.mark is not None:
            self.mark.wait()

    def milliseconds_since(self, earlier: Event) -> float:
        """Wall time between the threads' reaching the marks."""
        assert isinstance(earlier, HostEvent)
        self._memory.check_active()
        if self.mark is None or earlier.mark is None:
            raise DeviceError("the event has not been recorded")
        return (self.mark.seconds - earlier.mark.seconds) * 1000

    def _free(self) -> None:
        self._memory.account(self)


class HostStream(Stream):
    """A thread that does what is queued, in order.

    As on a card, an error stays: what is queued behind it is not done, and whoever waits for
    the stream gets the error.
    """

    def __init__(self, memory: HostMemory, pause: float) -> None:
        super().__init__()
        self._memory = memory
        self._pause = pause
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._error: DeviceError | None = None
        memory.account(self)
        self.handle = id(self)
        memory.streams[self.handle] = self
        self._thread = threading.Thread(target=self._run, name="hptl-host-stream", daemon=True)
        self._thread.start()

    def call(self, work: Callable[[], None]) -> None:
        """Queue any work, as a kernel would be."""
        self._memory.check_active()

        def guarded() -> None:
            if self._error is not None:
                return
            time.sleep(self._pause)
            try:
                work()
            except DeviceError as exc:
                self._error = exc
            except Exception as exc:
                self._error = DeviceError(f"{type(exc).__name__}: {first_line(exc)}")

        self._queue.put(guarded)

    def record(self, event: Event) -> None:
        """A new mark of the event, here."""
        assert isinstance(event, HostEvent)
        self._memory.check_active()
        mark = event.mark = _Mark()
        self._queue.put(lambda: mark.reach(self._error))

    def wait(self, event: Event) -> None:
        """The event's mark of now, whatever is recorded later."""
        assert isinstance(event, HostEvent)
        self._memory.check_active()
        if event.mark is not None:
            self.call(event.mark.wait)

    def synchronize(self) -> None:
        """Wait for a mark at the end of the queue."""
        self._memory.check_active()
        mark = _Mark()
        self._queue.put(lambda: mark.reach(self._error))
        mark.wait()

    def _copy_in(self, target: DeviceBuffer, source: PinnedBuffer, nbytes: int) -> None:
        assert isinstance(target, HostDeviceBuffer)
        array = target.array
        self.call(lambda: _copy(target, array, source, source.array, nbytes))

    def _copy_out(self, target: PinnedBuffer, source: DeviceBuffer, nbytes: int) -> None:
        assert isinstance(source, HostDeviceBuffer)
        array = source.array
        self.call(lambda: _copy(target, target.array, source, array, nbytes))

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            work()

    def _free(self) -> None:
        self._queue.put(None)
        while self._thread.is_alive():
            self._thread.join(_POLL_SECONDS)
        del self._memory.streams[self.handle]
        self._memory.account(self)


def _copy(
    target: Resource,
    to: NDArray[np.uint8],
    source: Resource,
    origin: NDArray[np.uint8],
    nbytes: int,
) -> None:
    if not (target.open and source.open):
        raise DeviceError("a copy came to a buffer that had been freed")
    to[:nbytes] = origin[:nbytes]
