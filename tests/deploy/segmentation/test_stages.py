from __future__ import annotations

import itertools
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from hptl_deploy.segmentation.stages import ByteGate, Cancelled, Channel, Nothing, Stages
from support.patience import within


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def test_items_arrive_in_order_and_the_end_mark_ends() -> None:
    written: list[int] = []
    with Stages() as stages:
        numbers = stages.source("numbers", lambda: range(100), 2)
        squares = stages.sink("squares", written.append, 2)
        for number in numbers:
            squares.put(number * number)
    assert written == [number * number for number in range(100)]


def test_a_producer_that_dies_delivers_first_then_raises() -> None:
    def numbers() -> Iterator[int]:
        yield from range(3)
        raise ValueError("the camera is gone")

    got: list[int] = []
    with pytest.raises(ValueError, match="the camera is gone"), Stages() as stages:
        written = stages.sink("write", got.append, 2)
        for number in stages.source("numbers", numbers, 1):
            written.put(number)
    assert got in ([], [0], [0, 1], [0, 1, 2])  # a sink is cancelled when the loop fails


def test_a_consumer_that_dies_wakes_everyone_and_its_error_is_raised() -> None:
    def write(number: int) -> None:
        raise OSError(28, f"no space for {number}")

    with pytest.raises(OSError, match="no space for 0"), Stages() as stages:
        numbers = stages.source("numbers", lambda: iter(range(10_000)), 1)
        written = stages.sink("write", write, 1)
        for number in numbers:
            written.put(number)


def test_a_consumer_that_dies_on_the_last_item_is_heard() -> None:
    def write(number: int) -> None:
        time.sleep(0.05)
        raise OSError(28, "late")

    with pytest.raises(OSError, match="late"), Stages() as stages:
        stages.sink("write", write, 1).put(1)


def test_an_error_in_the_loop_stops_a_producer_that_waits_for_room() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    with pytest.raises(KeyError), Stages() as stages:
        for _ in stages.source("endless", endless, 1):
            raise KeyError("loop")
    assert closed.is_set()  # its `with` blocks have ended


def test_leaving_early_without_an_error_stops_the_producer() -> None:
    with Stages() as stages:
        for number in stages.source("endless", lambda: iter(int, 1), 1):
            assert number == 0
            break


def test_depth_bounds_what_waits() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(50):
            made.append(number)
            yield number

    with Stages() as stages:
        source = stages.source("numbers", numbers, 2)
        for taken, _ in enumerate(source, 1):
            time.sleep(0.001)
            assert len(made) <= taken + 3  # two wait, one is in the producer's hand


def test_a_cancelled_channel_tells_both_sides() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(1)
    channel.cancel()
    with pytest.raises(Cancelled):
        channel.put(2)
    with pytest.raises(Cancelled):
        next(iter(channel))


def test_several_sources_end_with_the_last_of_them() -> None:
    numbers, slow = itertools.count(), threading.Event()

    def produce() -> Iterator[int]:
        mine = next(numbers)
        if mine == 2:
            assert slow.wait(10)
        yield from range(10 * mine, 10 * mine + 5)

    def run() -> list[int]:
        with Stages() as stages:
            channel = stages.source("numbers", produce, 4, 3)
            got = [channel.take() for _ in range(10)]
            assert channel.take(wait=False) is Nothing.NOTHING_YET  # one is still at work
            slow.set()
            return [item for item in got if not isinstance(item, Nothing)] + list(channel)

    got = within(20, run)
    assert sorted(got) == [*range(5), *range(10, 15), *range(20, 25)]
    for first in (0, 10, 20):
        assert [number for number in got if first <= number < first + 10] == (
            list(range(first, first + 5))
        )


def test_one_source_that_fails_ends_the_others() -> None:
    numbers, closed = itertools.count(), list[int]()

    def produce() -> Iterator[int]:
        mine = next(numbers)
        try:
            while True:
                yield mine
                if mine == 1:
                    raise ValueError("the camera is gone")
        finally:
            closed.append(mine)

    def run() -> None:
        with Stages() as stages:
            for _ in stages.source("endless", produce, 2, 4):
                pass

    with pytest.raises(ValueError, match=r"^the camera is gone$"):
        within(20, run)
    assert sorted(closed) == [0, 1, 2, 3]


def test_several_sinks_take_everything_once() -> None:
    written: list[int] = []
    threads: set[str] = set()
    both = threading.Barrier(3, timeout=10)

    def write(number: int) -> None:
        if number < 3:
            both.wait()  # three are at work at once
        threads.add(threading.current_thread().name)
        written.append(number)

    def run() -> None:
        with Stages() as stages:
            channel = stages.sink("write", write, 2, 3)
            for number in range(50):
                channel.put(number)

    within(20, run)
    assert sorted(written) == list(range(50))
    assert threads == {"hptl-write-1", "hptl-write-2", "hptl-write-3"}


def test_one_sink_that_fails_ends_the_others() -> None:
    def write(number: int) -> None:
        if number == 3:
            raise OSError(28, "the disk is full")

    def run() -> None:
        with Stages() as stages:
            channel = stages.sink("write", write, 2, 3)
            for number in itertools.count():
                channel.put(number)

    with pytest.raises(OSError, match="the disk is full"):
        within(20, run)


def test_a_sink_that_dies_wakes_a_loop_that_waits_for_items() -> None:
    """Nothing comes for hours, or never, because what the sink dropped keeps the gate shut."""
    gate = ByteGate(10)
    entered = threading.Event()

    def produce() -> Iterator[int]:
        for size in (4, 4, 9):
            if size == 9:
                entered.set()
            gate.enter(size)
            yield size

    def write(size: int) -> None:
        assert entered.wait(10)
        time.sleep(0.05)  # the other one waits behind this one
        gate.leave(size)
        raise OSError(28, "the disk is full")

    def run() -> None:
        with Stages() as stages:
            stages.guard(gate)
            sizes = stages.source("sizes", produce, 2)
            written = stages.sink("write", write, 2)
            for size in sizes:
                written.put(size)

    with pytest.raises(OSError, match="the disk is full"):
        within(20, run)


def test_taking_without_waiting() -> None:
    channel: Channel[int] = Channel(2)
    assert channel.take(wait=False) is Nothing.NOTHING_YET
    channel.put(1)
    assert channel.take(wait=False) == 1
    channel.put(2)
    channel.end()
    assert channel.take(wait=False) == 2
    assert channel.take(wait=False) is Nothing.ENDED
    assert channel.take() is Nothing.ENDED
    with pytest.raises(Cancelled):
        channel.put(3)


def test_an_error_waits_behind_the_items_whoever_asks() -> None:
    channel: Channel[int] = Channel(2)
    channel.put(1)
    channel.end(ValueError("the camera is gone"))
    channel.end()  # what came first counts
    assert channel.take(wait=False) == 1
    for wait in (False, True):
        with pytest.raises(ValueError, match="the camera is gone"):
            channel.take(wait=wait)


class Thing:
    """Something large."""


def gone(thing: weakref.ref[Thing]) -> bool:
    deadline = time.monotonic() + 5
    while thing() is not None and time.monotonic() < deadline:
        time.sleep(0.002)
    return thing() is None


def test_a_sink_that_waits_holds_nothing() -> None:
    taken: list[weakref.ref[Thing]] = []

    def take(thing: Thing) -> None:
        taken.append(weakref.ref(thing))

    with Stages() as stages:
        channel = stages.sink("write", take, 2, 2)
        channel.put(Thing())
        deadline = time.monotonic() + 5
        while not taken and time.monotonic() < deadline:
            time.sleep(0.002)
        assert gone(taken[0])


def test_a_source_that_waits_holds_nothing() -> None:
    more = threading.Event()

    def produce() -> Iterator[Thing]:
        yield Thing()
        assert more.wait(20)

    with Stages() as stages:
        thing = stages.source("things", produce, 2).take()
        assert isinstance(thing, Thing)
        taken = weakref.ref(thing)
        del thing
        assert gone(taken)
        more.set()
