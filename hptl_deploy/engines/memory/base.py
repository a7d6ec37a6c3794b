"""The memory of a card and the queues that work on it: one small interface.

    PinnedBuffer  --copy_in-->  DeviceBuffer      queued on a Stream, in order
    PinnedBuffer  <--copy_out-- DeviceBuffer
    Event                                         a place in a stream: waited for, timed

`pycuda.py`, `cuda_python.py` and `host.py` implement it. What is queued is done later: a
buffer may be read, reused or freed only behind an event or a `synchronize`. Public methods
check, the layers only do the work. Whatever a layer gives out is freed by `close`, once.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hptl_deploy.closing import Closes
from hptl_deploy.errors import DeviceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ALIGNMENT = 256
"""Bytes; every device buffer starts at a multiple, as TensorRT wants its tensors."""


@dataclass(frozen=True)
class DeviceProperties:
    """What one card is, and how much of its memory is free now."""

    name: str
    capability: str
    """Compute capability, such as `8.9`; `none` where there is no card."""
    total_bytes: int
    free_bytes: int
    driver: str
    """Version of the display driver, such as `580.65.06`; `none` where there is no card."""


class Resource(Closes):
    """Something of the card's that is given back once."""

    def __init__(self) -> None:
        self.open = True

    def close(self) -> None:
        """Give it back; a second call does nothing. Raises DeviceError."""
        if self.open:
            self.open = False
            self._free()

    @abstractmethod
    def _free(self) -> None:
        """Give it back to the card. Called once."""


class PinnedBuffer(Resource):
    """Host memory that the card can copy to and from while the host does other work."""

    array: NDArray[np.uint8]
    """[bytes]; invalid once the buffer is closed."""


class DeviceBuffer(Resource):
    """Memory of the card."""

    pointer: int
    nbytes: int


class Event(Resource):
    """A place in a stream."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until the stream has come to where the event was last recorded.

        Returns at once where it was never recorded. Raises DeviceError when something
        queued before it failed.
        """

    @abstractmethod
    def milliseconds_since(self, earlier: Event) -> float:
        """Time between two events that the card has reached."""


class Stream(Resource):
    """A queue of work that the card does in order. Used by one thread at a time."""

    handle: int
    """What other libraries know it by."""

    def copy_in(self, target: DeviceBuffer, source: PinnedBuffer, nbytes: int) -> None:
        """Queue a copy of the first `nbytes` to the card. Raises DeviceError."""
        _check_copy(nbytes, source.array.size, target.nbytes)
        self._copy_in(target, source, nbytes)

    def copy_out(self, target: PinnedBuffer, source: DeviceBuffer, nbytes: int) -> None:
        """Queue a copy of the first `nbytes` from the card. Raises DeviceError."""
        _check_copy(nbytes, source.nbytes, target.array.size)
        self._copy_out(target, source, nbytes)

    @abstractmethod
    def record(self, event: Event) -> None:
        """Let `event` stand for the work queued so far. Raises DeviceError."""

    @abstractmethod
    def wait(self, event: Event) -> None:
        """Let what is queued from now on wait for `event`. Raises DeviceError."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until all that is queued is done. Raises DeviceError when some of it failed."""

    @abstractmethod
    def _copy_in(self, target: DeviceBuffer, source: PinnedBuffer, nbytes: int) -> None: ...

    @abstractmethod
    def _copy_out(self, target: PinnedBuffer, source: DeviceBuffer, nbytes: int) -> None: ...


class Memory(Closes):
    """One card, through one layer.

    Every call but `properties` and `close`, on it and on what it gives out, is made inside
    a `with memory.active():` block of the calling thread.
    """

    layer: str
    """`pycuda`, `cuda-python` or `host`."""
    version: str
    """Of the layer's package."""
    device: str
    """`cuda:N`, or `cpu`."""

    def __init__(self) -> None:
        self._closed = False

    @abstractmethod
    def active(self) -> AbstractContextManager[None]:
        """Make the card the calling thread's own until the end of the block. Nests."""

    @abstractmethod
    def properties(self) -> DeviceProperties:
        """What the card is. Raises DeviceError."""

    def pinned(self, nbytes: int) -> PinnedBuffer:
        """Host memory for copies. Raises OutOfDeviceMemory and DeviceError."""
        _check_size(nbytes)
        return self._pinned(nbytes)

    def device_buffer(self, nbytes: int) -> DeviceBuffer:
        """Memory of the card. Raises OutOfDeviceMemory and DeviceError."""
        _check_size(nbytes)
        return self._device_buffer(nbytes)

    @abstractmethod
    def stream(self) -> Stream:
        """A queue that waits for no other. Raises DeviceError."""

    @abstractmethod
    def event(self) -> Event:
        """An event that takes the time. Raises DeviceError."""

    @abstractmethod
    def _pinned(self, nbytes: int) -> PinnedBuffer: ...

    @abstractmethod
    def _device_buffer(self, nbytes: int) -> DeviceBuffer: ...

    def close(self) -> None:
        """Let go of the card, after all that it gave out is closed; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._release()

    @abstractmethod
    def _release(self) -> None:
        """Let go of the card. Called once."""


def mib(nbytes: int) -> str:
    """For messages."""
    return f"{nbytes / 2**20:,.1f} MiB"


def _check_size(nbytes: int) -> None:
    if nbytes < 1:
        raise DeviceError(f"expected a buffer of at least 1 byte, found {nbytes}")


def _check_copy(nbytes: int, source: int, target: int) -> None:
    if not 0 < nbytes <= min(source, target):
        raise DeviceError(
            f"expected a copy of 1 to {min(source, target)} bytes, found {nbytes} "
            f"(from {source} to {target})"
        )
