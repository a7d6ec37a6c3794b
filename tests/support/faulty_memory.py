"""Host memory that fails where a test says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from hptl_deploy.engines.memory.base import DeviceBuffer, Event, PinnedBuffer, Resource
from hptl_deploy.engines.memory.host import (
    HostDeviceBuffer,
    HostEvent,
    HostMemory,
    HostPinnedBuffer,
    HostStream,
)
from hptl_deploy.errors import DeviceError


class FaultyMemory(HostMemory):
    """`faults["copy_in"] = (3, error)` raises `error` at the third copy in, and so on.

    Operations: `active`, `pinned`, `device_buffer`, `stream`, `event`, `copy_in`, `copy_out`,
    `record` and `milliseconds` when they are called; `late_copy_in` and `late_copy_out` when the
    stream comes to them; `free` when a buffer, stream or event has been given back.
    """

    def __init__(self, capacity: int = 1 << 30, pause: float = 0.001) -> None:
        super().__init__(capacity, pause)
        self.faults: dict[str, tuple[int, BaseException]] = {}
        self.calls: Counter[str] = Counter()

    def fail_if_wanted(self, operation: str) -> None:
        self.calls[operation] += 1
        at, error = self.faults.get(operation, (0, DeviceError("")))
        if self.calls[operation] == at:
            raise error

    def account(self, resource: Resource, device_bytes: int = 0) -> None:
        super().account(resource, device_bytes)
        if not resource.open:
            self.fail_if_wanted("free")

    @contextmanager
    def active(self) -> Iterator[None]:
        self.fail_if_wanted("active")
        with super().active():
            yield

    def stream(self) -> HostStream:
        self.fail_if_wanted("stream")
        return _FaultyStream(self, self._pause)

    def event(self) -> HostEvent:
        self.fail_if_wanted("event")
        return _FaultyEvent(self)

    def _pinned(self, nbytes: int) -> HostPinnedBuffer:
        self.fail_if_wanted("pinned")
        return super()._pinned(nbytes)

    def _device_buffer(self, nbytes: int) -> HostDeviceBuffer:
        self.fail_if_wanted("device_buffer")
        return super()._device_buffer(nbytes)


class _FaultyEvent(HostEvent):
    _memory: FaultyMemory

    def milliseconds_since(self, earlier: Event) -> float:
        self._memory.fail_if_wanted("milliseconds")
        return super().milliseconds_since(earlier)


class _FaultyStream(HostStream):
    _memory: FaultyMemory

    def record(self, event: Event) -> None:
        self._memory.fail_if_wanted("record")
        super().record(event)

    def _copy_in(self, target: DeviceBuffer, source: PinnedBuffer, nbytes: int) -> None:
        self._memory.fail_if_wanted("copy_in")
        self.call(lambda: self._memory.fail_if_wanted("late_copy_in"))
        super()._copy_in(target, source, nbytes)

    def _copy_out(self, target: PinnedBuffer, source: DeviceBuffer, nbytes: int) -> None:
        self._memory.fail_if_wanted("copy_out")
        self.call(lambda: self._memory.fail_if_wanted("late_copy_out"))
        super()._copy_out(target, source, nbytes)
