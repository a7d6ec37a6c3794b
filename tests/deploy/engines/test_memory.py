"""The memory layers: host memory in full, the others as far as a machine without a card goes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from hptl_deploy.engines.machine import count_cards
from hptl_deploy.engines.memory import LAYERS, Memory, base, open_memory
from hptl_deploy.engines.memory.base import mib
from hptl_deploy.engines.memory.host import HostMemory
from hptl_deploy.errors import DeviceError, EnvironmentLacks, OutOfDeviceMemory
from support import stand_in_cuda
from support.streams import host_threads

NO_CARD = pytest.mark.skipif(count_cards() > 0, reason="needs a machine without an NVIDIA card")


@pytest.fixture(
    params=[
        "host",
        *(f"{layer}-stand-in" for layer in LAYERS),
        *(pytest.param(layer, marks=pytest.mark.gpu) for layer in LAYERS),
    ]
)
def memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Memory]:
    """Every layer that can be had here; the fixture sees to it that nothing is left."""
    name: str = request.param
    card = None
    if name == "host":
        opened: Memory = HostMemory(pause=0.002)
    elif name.endswith("-stand-in"):
        layer = name.removesuffix("-stand-in")
        card = stand_in_cuda.install(monkeypatch, layer)
        opened = open_memory(0, layer)
    else:
        if not count_cards():
            pytest.skip("needs an NVIDIA card")
        try:
            opened = open_memory(0, name)
        except EnvironmentLacks as exc:
            pytest.skip(str(exc))
    with opened:
        yield opened
    opened.close()
    assert card is None or card.left()
    assert not host_threads()


def test_what_goes_to_the_card_comes_back(memory: Memory) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 100_000, dtype=np.uint8)
    with (
        memory.active(),
        memory.pinned(100_000) as there,
        memory.pinned(100_001) as back,
        memory.device_buffer(100_000) as on_card,
        memory.stream() as stream,
        memory.event() as begun,
        memory.event() as done,
    ):
        assert on_card.pointer % base.ALIGNMENT == 0
        assert stream.handle != 0
        there.array[:] = noise
        back.array[:] = 7
        stream.record(begun)
        stream.copy_in(on_card, there, 100_000)
        stream.copy_out(back, on_card, 99_999)
        stream.record(done)
        done.synchronize()
        assert np.array_equal(back.array[:99_999], noise[:-1])
        assert back.array[99_999:].tolist() == [7, 7]
        assert 0 <= done.milliseconds_since(begun) < 60_000


def test_one_stream_waits_for_another(memory: Memory) -> None:
    with (
        memory.active(),
        memory.pinned(4096) as there,
        memory.pinned(4096) as back,
        memory.device_buffer(4096) as on_card,
        memory.stream() as first,
        memory.stream() as second,
        memory.event() as copied,
    ):
        for value in range(1, 20):
            there.array[:] = value
            first.copy_in(on_card, there, 4096)
            first.record(copied)
            second.wait(copied)
            second.copy_out(back, on_card, 4096)
            second.synchronize()
            assert (back.array == value).all()


def test_an_event_that_was_never_recorded_keeps_nobody_waiting(memory: Memory) -> None:
    with memory.active(), memory.stream() as stream, memory.event() as event:
        event.synchronize()
        stream.wait(event)
        stream.synchronize()


def test_a_card_says_what_it_is(memory: Memory) -> None:
    properties = memory.properties()
    assert properties.name
    assert 0 < properties.free_bytes <= properties.total_bytes
    assert (properties.driver == "none") == (memory.layer == "host")
    assert memory.device == ("cpu" if memory.layer == "host" else "cuda:0")
    assert memory.version
    if properties.name == stand_in_cuda.NAME:
        assert properties.capability == "8.9"
    with memory.active(), memory.device_buffer(64 << 20):
        assert memory.properties().free_bytes < properties.free_bytes


def test_more_than_the_card_has(memory: Memory) -> None:
    total = memory.properties().total_bytes
    with memory.active(), pytest.raises(OutOfDeviceMemory) as caught:
        memory.device_buffer(total + 1)
    assert str(caught.value).startswith(f"{mib(total + 1)} asked for, ")
    assert str(caught.value).endswith(" MiB free")


@pytest.mark.parametrize(
    ("nbytes", "reason"),
    [
        (0, "expected a copy of 1 to 8 bytes, found 0 (from 16 to 8)"),
        (-1, "expected a copy of 1 to 8 bytes, found -1 (from 16 to 8)"),
        (9, "expected a copy of 1 to 8 bytes, found 9 (from 16 to 8)"),
    ],
)
def test_a_copy_that_does_not_fit(memory: Memory, nbytes: int, reason: str) -> None:
    with (
        memory.active(),
        memory.pinned(16) as pinned,
        memory.device_buffer(8) as on_card,
        memory.stream() as stream,
    ):
        with pytest.raises(DeviceError) as caught:
            stream.copy_in(on_card, pinned, nbytes)
        assert str(caught.value) == reason
        with pytest.raises(DeviceError) as caught:
            stream.copy_out(pinned, on_card, nbytes)
        assert str(caught.value) == reason.replace("from 16 to 8", "from 8 to 16")


def test_a_buffer_of_no_size(memory: Memory) -> None:
    with memory.active():
        for make in (memory.pinned, memory.device_buffer):
            with pytest.raises(
                DeviceError, match=r"^expected a buffer of at least 1 byte, found 0$"
            ):
                make(0)


# What host memory catches so that a card need not.


def test_the_host_notices_a_thread_that_is_not_active() -> None:
    with HostMemory() as memory:
        with memory.active():
            stream, event = memory.stream(), memory.event()
            with memory.active():
                pass
            stream.record(event)  # still active behind the inner block
            event.synchronize()
            never = memory.event()
        for attempt in (
            lambda: memory.device_buffer(1),
            memory.stream,
            stream.synchronize,
            lambda: stream.record(event),
            event.synchronize,
            lambda: event.milliseconds_since(event),
            lambda: stream.wait(never),
        ):
            with pytest.raises(DeviceError) as caught:
                attempt()
            assert str(caught.value) == "this thread has not made the card its own"
        with memory.active():
            stream.close()
            event.close()
            never.close()


def test_the_host_does_queued_work_late() -> None:
    with (
        HostMemory(pause=0.05) as memory,
        memory.active(),
        memory.pinned(8) as there,
        memory.device_buffer(8) as on_card,
        memory.pinned(8) as back,
        memory.stream() as stream,
    ):
        there.array[:] = 1
        stream.copy_in(on_card, there, 8)
        stream.copy_out(back, on_card, 8)
        assert (back.array == 0xA5).all()  # who does not wait reads noise
        stream.synchronize()
        assert (back.array == 1).all()


def test_an_error_stays_with_the_stream() -> None:
    done: list[int] = []
    with HostMemory() as memory, memory.active():
        stream, other, event = memory.stream(), memory.stream(), memory.event()
        stream.call(lambda: done.append(1))
        stream.call(lambda: done.append(1 // 0))
        stream.call(lambda: done.append(3))
        stream.record(event)
        other.wait(event)
        for wait in (stream.synchronize, event.synchronize, other.synchronize, stream.synchronize):
            with pytest.raises(DeviceError) as caught:
                wait()
            assert str(caught.value).startswith("ZeroDivisionError: ")
        assert done == [1]
        for each in (stream, other, event):
            each.close()
    assert not host_threads()


def test_the_host_notices_a_copy_from_a_freed_buffer() -> None:
    with (
        HostMemory(pause=0.02) as memory,
        memory.active(),
        memory.device_buffer(8) as on_card,
        memory.stream() as stream,
    ):
        pinned = memory.pinned(8)
        stream.copy_in(on_card, pinned, 8)
        pinned.close()
        with pytest.raises(DeviceError, match=r"^a copy came to a buffer that had been freed$"):
            stream.synchronize()


def test_the_host_notices_what_is_still_held() -> None:
    memory = HostMemory()
    with memory.active():
        buffer, event = memory.device_buffer(10), memory.event()
        event.close()
        event.close()
    with pytest.raises(DeviceError) as caught:
        memory.close()
    assert str(caught.value) == "closed while something is still held: {'HostDeviceBuffer': 1}"
    memory.close()  # a second call does nothing
    with memory.active():
        buffer.close()
    assert not +memory.live


def test_an_event_takes_the_time_of_its_stream() -> None:
    with (
        HostMemory() as memory,
        memory.active(),
        memory.stream() as stream,
        memory.event() as before,
        memory.event() as after,
        memory.event() as never,
    ):
        stream.record(before)
        stream.call(lambda: time.sleep(0.05))
        stream.record(after)
        after.synchronize()
        assert after.milliseconds_since(before) >= 50
        with pytest.raises(DeviceError, match=r"^the event has not been recorded$"):
            after.milliseconds_since(never)
