from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from hptl_deploy.segmentation.stages import ByteGate, Cancelled, Channel, Stages


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


def test_the_gate_bounds_bytes_and_lets_a_giant_in_alone() -> None:
    gate = ByteGate(10)
    gate.enter(6)
    entered = threading.Event()

    def giant() -> None:
        gate.enter(50)
        entered.set()

    thread = threading.Thread(target=giant)
    thread.start()
    assert not entered.wait(0.05)
    gate.leave(6)
    assert entered.wait(2)
    thread.join()
    assert gate.held == 50


def test_the_gate_is_cancelled_with_the_stream() -> None:
    gate = ByteGate(1)

    def frames() -> Iterator[int]:
        while True:
            gate.enter(1)
            yield 1

    with pytest.raises(KeyError), Stages() as stages:
        stages.guard(gate)
        for _ in stages.source("frames", frames, 1):
            time.sleep(0.05)  # the producer now waits at the gate
            raise KeyError("loop")


def test_a_block_inside_the_gate_leaves_it_however_it_ends() -> None:
    gate = ByteGate(10)
    with gate.inside(7):
        assert gate.held == 7
    with pytest.raises(KeyError), gate.inside(12):
        raise KeyError
    assert gate.held == 0
