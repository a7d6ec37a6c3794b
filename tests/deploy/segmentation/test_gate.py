"""Bytes between reading and writing: bounded, in turn, and nobody waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from hptl_deploy.segmentation.stages import ByteGate, Stages
from support.patience import within


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


def test_the_gate_does_not_starve_a_giant() -> None:
    """Small ones come all the time; there is always room for one of them."""
    gate, over = ByteGate(10), threading.Event()

    def small() -> None:
        while not over.is_set():
            gate.enter(3)
            time.sleep(0.002)
            gate.leave(3)

    threads = [threading.Thread(target=small, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        within(10, lambda: gate.enter(50))
        assert gate.held == 50  # alone
    finally:
        over.set()
        gate.leave(50)
        for thread in threads:
            thread.join(10)
    assert gate.held == 0


def test_the_gate_lets_in_by_turns() -> None:
    gate, order = ByteGate(4), list[int]()
    gate.enter(4)

    def enter(number: int, amount: int) -> None:
        gate.enter(amount)
        order.append(number)
        gate.leave(amount)

    threads = []
    for number, amount in enumerate((4, 1, 3, 9, 1)):
        threads.append(threading.Thread(target=enter, args=(number, amount), daemon=True))
        threads[-1].start()
        deadline = time.monotonic() + 10
        while len(gate._waiting) <= number:
            assert time.monotonic() < deadline
            time.sleep(0.001)
    gate.leave(4)
    for thread in threads:
        thread.join(10)
    # 1 and 2 have room together, so either may write first.
    assert order[0] == 0
    assert set(order[1:3]) == {1, 2}
    assert order[3:] == [3, 4]
    assert gate.held == 0


def test_a_block_inside_the_gate_leaves_it_however_it_ends() -> None:
    gate = ByteGate(10)
    with gate.inside(7):
        assert gate.held == 7
    with pytest.raises(KeyError), gate.inside(12):
        raise KeyError
    assert gate.held == 0
