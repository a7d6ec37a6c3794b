"""The ring on host memory: order, bounds, and every way in which it can fail."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hptl_deploy.engines.memory.host import HostMemory
from hptl_deploy.engines.ring import Ring, Slot
from hptl_deploy.errors import DeviceError, EngineError, OutOfDeviceMemory
from support.faulty_memory import FaultyMemory
from support.host_executor import OnnxExecutor
from support.streams import batch, host_threads
from support.threshold_model import write_threshold_model

BROKEN = DeviceError("the copy was lost")
FULL = OutOfDeviceMemory("9.0 MiB asked for, 1.0 MiB free")
GIVEN_UP = "given up after an earlier error: the copy was lost"


@pytest.fixture
def executor(tmp_path: Path) -> OnnxExecutor:
    return OnnxExecutor(write_threshold_model(tmp_path, smoothing=2))


@pytest.fixture
def memory() -> Iterator[FaultyMemory]:
    """Whatever a test does, at its end nothing is held and no thread is left."""
    with FaultyMemory() as opened:
        yield opened
        assert not +opened.live
    assert not host_threads()


def right(executor: OnnxExecutor, pixels: NDArray[np.uint8]) -> tuple[bytes, bytes]:
    """What the model says, without a ring."""
    classes, confidence = executor.run(pixels)
    return classes.tobytes(), confidence.tobytes()


def taken(ring: Ring, slot: Slot) -> tuple[bytes, bytes]:
    answer = ring.take(slot)
    return answer.classes.tobytes(), answer.confidence.tobytes()


def test_batches_of_any_size_in_order(memory: FaultyMemory, executor: OnnxExecutor) -> None:
    sizes = [(16, 24, 4), (8, 8, 1), (40, 8, 2), (8, 48, 3), (16, 16, 1), (8, 8, 4)]
    batches = [batch(seed, *size) for seed, size in enumerate(sizes * 3)]
    with Ring(memory, executor, size=3, most_pixels=2048) as ring:
        waiting: list[tuple[int, Slot]] = []
        for number, pixels in enumerate(batches):
            if len(waiting) == 3:
                first, slot = waiting.pop(0)
                assert taken(ring, slot) == right(executor, batches[first])
                ring.release(slot)
            waiting.append((number, ring.submit(pixels)))
            pixels_before = pixels.copy()
            pixels[:] = 0  # a batch is the caller's again at once
            batches[number] = pixels_before
        for number, slot in waiting:
            assert taken(ring, slot) == right(executor, batches[number])


def test_a_batch_with_strides_of_its_own(memory: FaultyMemory, executor: OnnxExecutor) -> None:
    wide = batch(1, 32, 64)
    with Ring(memory, executor, size=1, most_pixels=2048) as ring:
        for view in (wide[:, ::2, ::-1], wide[:, :, 8:40], wide[..., ::-1]):
            slot = ring.submit(view)
            assert taken(ring, slot) == right(executor, view)
            ring.release(slot)


def test_an_answer_stays_until_it_is_released(memory: FaultyMemory, executor: OnnxExecutor) -> None:
    with Ring(memory, executor, size=3, most_pixels=2048) as ring:
        first = batch(1)
        slot = ring.submit(first)
        answer = ring.take(slot)
        for seed in range(8):
            other = ring.submit(batch(seed))
            ring.take(other)
            ring.release(other)
        assert (answer.classes.tobytes(), answer.confidence.tobytes()) == right(executor, first)
        assert not answer.classes.flags.writeable
        assert not answer.confidence.flags.writeable


def test_memory_is_taken_at_the_start_and_never_again(
    memory: FaultyMemory, executor: OnnxExecutor
) -> None:
    before = memory.properties().free_bytes
    with Ring(memory, executor, size=3, most_pixels=1000) as ring:
        # Input 3 x 1000; the classes' 1000 filled up to 1024, and the confidence's 1000.
        assert before - memory.properties().free_bytes == 3 * (3000 + 1024 + 1000)
        live = dict(memory.live)
        for seed in range(10):
            slot = ring.submit(batch(seed))
            ring.take(slot)
            ring.release(slot)
        assert dict(memory.live) == live


def test_more_batches_than_slots(memory: FaultyMemory, executor: OnnxExecutor) -> None:
    with Ring(memory, executor, size=2, most_pixels=2048) as ring:
        slots = [ring.submit(batch(seed)) for seed in range(2)]
        with pytest.raises(DeviceError) as caught:
            ring.submit(batch(9))
        assert str(caught.value) == "all 2 slots of the ring are taken"
        for seed, slot in enumerate(slots):
            assert taken(ring, slot) == right(executor, batch(seed))


def test_where_the_time_went(memory: FaultyMemory, executor: OnnxExecutor) -> None:
    with Ring(memory, executor, size=1, most_pixels=2048) as ring:
        slot = ring.submit(batch(1))
        ring.take(slot)
        times = slot.times
        assert times is not None
        # Each stage has at least one piece of work, and each piece begins with a pause of 1 ms.
        assert min(times.copy_in, times.compute, times.copy_out) >= 1


@pytest.mark.parametrize("error", [FULL, BROKEN], ids=["full", "broken"])
@pytest.mark.parametrize(
    ("operation", "at"),
    [
        *(("pinned", at) for at in (1, 2, 3, 4)),
        *(("device_buffer", at) for at in (1, 2, 3, 4)),
        *(("stream", at) for at in (1, 2)),
        *(("event", at) for at in (1, 4, 5, 8)),
    ],
)
def test_a_ring_that_cannot_be_had_holds_nothing(
    memory: FaultyMemory, executor: OnnxExecutor, operation: str, at: int, error: DeviceError
) -> None:
    memory.faults[operation] = (at, error)
    with pytest.raises(DeviceError) as caught:
        Ring(memory, executor, size=2, most_pixels=2048)
    assert caught.value is error
    assert memory.calls[operation] == at
    assert not +memory.live
    assert not host_threads()
    Ring(memory, executor, size=2, most_pixels=2048).close()  # the next try may


def test_a_card_too_small_for_the_ring(executor: OnnxExecutor) -> None:
    with HostMemory(capacity=20_000) as memory:
        with pytest.raises(OutOfDeviceMemory) as caught:
            Ring(memory, executor, size=2, most_pixels=2048)
        assert str(caught.value) == "0.0 MiB asked for, 0.0 MiB free"
        assert not +memory.live
        Ring(memory, executor, size=1, most_pixels=2048).close()


@pytest.mark.parametrize(
    ("operation", "at"),
    [
        ("copy_in", 3),
        ("copy_out", 3),
        *(("record", 8 + place) for place in (1, 2, 3, 4)),  # four records a batch
    ],
)
def test_a_batch_that_cannot_be_queued_is_the_only_one(
    memory: FaultyMemory, executor: OnnxExecutor, operation: str, at: int
) -> None:
    memory.faults[operation] = (at, BROKEN)
    with Ring(memory, executor, size=3, most_pixels=2048) as ring:
        slots = [ring.submit(batch(seed)) for seed in (0, 1)]
        with pytest.raises(DeviceError) as caught:
            ring.submit(batch(2))
        assert caught.value is BROKEN
        seeds = [0, 1]
        for seed in range(3, 9):
            assert taken(ring, slots[0]) == right(executor, batch(seeds.pop(0)))
            ring.release(slots.pop(0))
            slots.append(ring.submit(batch(seed)))
            seeds.append(seed)


def test_a_network_that_has_no_memory_is_its_batch_s_error(
    memory: FaultyMemory, executor: OnnxExecutor
) -> None:
    def refuse(slot: Slot) -> None:
        if slot.pixels > 500:
            raise FULL

    executor.refuse = refuse
    with Ring(memory, executor, size=2, most_pixels=2048) as ring:
        for _ in range(5):  # more than there are slots
            with pytest.raises(OutOfDeviceMemory) as caught:
                ring.submit(batch(1, 32, 32))
            assert caught.value is FULL
        slot = ring.submit(batch(1, 8, 8))
        assert taken(ring, slot) == right(executor, batch(1, 8, 8))


@pytest.mark.parametrize("operation", ["late_copy_in", "late_copy_out"])
def test_what_fails_on_the_card_closes_the_ring(
    memory: FaultyMemory, executor: OnnxExecutor, operation: str
) -> None:
    memory.faults[operation] = (2, BROKEN)
    ring = Ring(memory, executor, size=3, most_pixels=2048)
    slots = []
    for seed in range(3):
        slots.append(ring.submit(batch(seed)))
        while memory.calls[operation] < min(seed + 1, 2):  # the second batch copies second
            time.sleep(0.001)
    assert taken(ring, slots[0]) == right(executor, batch(0))
    with pytest.raises(DeviceError) as caught:
        ring.take(slots[1])
    assert str(caught.value) == "the copy was lost"
    # Everything is given back at once, and every later call says why.
    assert not +memory.live
    assert not host_threads()
    for attempt in (lambda: ring.take(slots[2]), lambda: ring.submit(batch(1))):
        with pytest.raises(DeviceError) as caught:
            attempt()
        assert str(caught.value) == GIVEN_UP
    ring.release(slots[0])
    ring.abandon(slots[2])
    ring.close()


def test_a_batch_that_fails_behind_a_refusal_closes_the_ring(
    memory: FaultyMemory, executor: OnnxExecutor
) -> None:
    # What was queued before the refusal fails on the card: the refusal is what is raised.
    memory.faults = {"late_copy_in": (1, BROKEN), "copy_out": (1, DeviceError("refused"))}
    ring = Ring(memory, executor, size=2, most_pixels=2048)
    with pytest.raises(DeviceError, match=r"^refused$"):
        ring.submit(batch(1))
    assert not +memory.live
    with pytest.raises(DeviceError, match=f"^{GIVEN_UP}$"):
        ring.submit(batch(1))


def test_a_network_that_fails_on_the_card(memory: FaultyMemory, executor: OnnxExecutor) -> None:
    ring = Ring(memory, executor, size=2, most_pixels=2048)
    slot = ring.submit(batch(1, 7, 8))  # the model's own check: no multiple of 8
    with pytest.raises(DeviceError) as caught:
        ring.take(slot)
    assert "\n" not in str(caught.value)
    assert not +memory.live


def test_closing_waits_for_what_is_under_way(executor: OnnxExecutor) -> None:
    with HostMemory(pause=0.02) as memory:
        ring = Ring(memory, executor, size=3, most_pixels=2048)
        slots = [ring.submit(batch(seed)) for seed in range(3)]
        ring.close()
        ring.close()
        # Had it not waited, copies would have come to freed buffers; and all is freed.
        assert not +memory.live
        assert not host_threads()
        for attempt in (lambda: ring.take(slots[0]), lambda: ring.submit(batch(1))):
            with pytest.raises(DeviceError, match=r"^the ring has been closed$"):
                attempt()
        ring.release(slots[0])
        ring.abandon(slots[1])


def test_closing_a_ring_whose_card_has_failed_is_quiet(
    memory: FaultyMemory, executor: OnnxExecutor
) -> None:
    memory.faults = {"late_copy_in": (1, BROKEN), "free": (5, DeviceError("cannot free"))}
    ring = Ring(memory, executor, size=2, most_pixels=2048)
    ring.submit(batch(1))
    ring.close()
    assert not +memory.live
    assert memory.calls["free"] == 2 * 9  # 4 buffers, 1 stream and 4 events a slot, once each


def test_a_time_that_cannot_be_told_closes_the_ring(
    memory: FaultyMemory, executor: OnnxExecutor
) -> None:
    memory.faults["milliseconds"] = (2, BROKEN)
    ring = Ring(memory, executor, size=2, most_pixels=2048)
    slot = ring.submit(batch(1))
    with pytest.raises(DeviceError, match=r"^the copy was lost$"):
        ring.take(slot)
    assert ring.lost
    assert not +memory.live


def test_what_cannot_be_freed_is_said_and_the_rest_is_freed(
    memory: FaultyMemory, executor: OnnxExecutor
) -> None:
    memory.faults["free"] = (5, DeviceError("cannot free"))
    ring = Ring(memory, executor, size=2, most_pixels=2048)
    with pytest.raises(DeviceError, match=r"^cannot free$"):
        ring.close()
    assert memory.calls["free"] == 2 * 9
    assert not +memory.live


def test_an_abandoned_batch_gives_its_slot_back_when_it_is_done(
    memory: FaultyMemory, executor: OnnxExecutor
) -> None:
    with Ring(memory, executor, size=1, most_pixels=2048) as ring:
        for seed in range(4):
            ring.abandon(ring.submit(batch(seed)))
        slot = ring.submit(batch(7))
        assert taken(ring, slot) == right(executor, batch(7))


def test_an_interrupt_while_queueing_frees_the_slot(
    memory: FaultyMemory, executor: OnnxExecutor
) -> None:
    memory.faults["copy_out"] = (1, KeyboardInterrupt())
    with Ring(memory, executor, size=1, most_pixels=2048) as ring:
        with pytest.raises(KeyboardInterrupt):
            ring.submit(batch(1))
        slot = ring.submit(batch(2))
        assert taken(ring, slot) == right(executor, batch(2))


def test_an_interrupt_while_waiting_frees_the_slot(
    memory: FaultyMemory, executor: OnnxExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Ring(memory, executor, size=1, most_pixels=2048) as ring:
        slot = ring.submit(batch(1))

        def interrupt() -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(slot.done, "synchronize", interrupt)
            with pytest.raises(KeyboardInterrupt):
                ring.take(slot)
        slot = ring.submit(batch(2))
        assert taken(ring, slot) == right(executor, batch(2))


def test_an_error_that_is_no_engine_error_frees_the_slot(
    memory: FaultyMemory, executor: OnnxExecutor
) -> None:
    def refuse(slot: Slot) -> None:
        if slot.shape[0] == 2:
            raise EngineError("no profile takes it")

    executor.refuse = refuse
    with Ring(memory, executor, size=1, most_pixels=2048) as ring:
        with pytest.raises(EngineError, match=r"^no profile takes it$"):
            ring.submit(batch(1, count=2))
        with pytest.raises(ValueError, match="cannot reshape"):
            ring.submit(batch(1, 64, 64))  # larger than the ring was opened for
        slot = ring.submit(batch(2))
        assert taken(ring, slot) == right(executor, batch(2))
