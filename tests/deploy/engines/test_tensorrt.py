"""TensorRT's streaming form on host memory, and its failures."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hptl_deploy.engines.memory.host import HostMemory, HostStream
from hptl_deploy.engines.ring import Slot
from hptl_deploy.engines.tensorrt_executor import Profile
from hptl_deploy.errors import DeviceError, EngineError, OutOfDeviceMemory
from support.faulty_memory import FaultyMemory
from support.host_executor import OnnxExecutor, ring_engine
from support.streams import answers_until_error, batch, batches, ended, right
from support.threshold_model import write_threshold_model

BROKEN = DeviceError("the copy was lost")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_threshold_model(tmp_path, smoothing=2)


@pytest.fixture
def memory() -> FaultyMemory:
    """Tests close it through the engine, which owns it; see `ended`."""
    return FaultyMemory()


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_a_batch_may_be_changed_once_the_next_is_drawn(path: Path, slots: int) -> None:
    room = batch(0)

    def source() -> Iterator[NDArray[np.uint8]]:
        for seed in range(8):
            room[:] = batch(seed)
            yield room

    with ring_engine(path, slots=slots) as engine:
        for seed, answer in enumerate(engine.stream(source())):
            assert np.array_equal(answer.classes, right(path, seed))


def test_an_answer_holds_until_the_next_is_asked_for(path: Path) -> None:
    with ring_engine(path, slots=2) as engine:
        for seed, answer in enumerate(engine.stream(batches(range(6)), 9)):
            assert np.array_equal(answer.classes, right(path, seed))
            assert not answer.classes.flags.writeable
        alone = engine.infer(batch(1)).classes
    alone[:] = 0  # the caller's own, even now


def test_two_streams_take_turns(path: Path) -> None:
    with ring_engine(path, slots=4) as engine:
        first, second = engine.stream(batches(range(5)), 2), engine.stream(batches(range(5)), 2)
        for seed in range(5):
            for stream in (first, second):
                assert np.array_equal(next(stream).classes, right(path, seed))


def test_the_times_of_an_answer(path: Path) -> None:
    with ring_engine(path) as engine:
        before = engine.times
        engine.infer(batch(1))
        after = engine.times
        assert before is None
        assert after is not None
        assert after.compute > 0


def test_an_engine_says_what_it_takes(path: Path) -> None:
    with ring_engine(path) as engine:
        assert engine.info.largest_shape == (4, 136, 200)
        assert engine.info.owns_buffers
        assert engine.info.device == "cpu"
        with pytest.raises(EngineError) as caught:
            engine.infer(batch(1, 144, 8))
        assert str(caught.value) == (
            "model threshold: the engine takes 1 x 24 x 32 and 1 x 8 x 8 to 4 x 136 x 200 px, "
            "found 1 x 144 x 8"
        )


def test_a_shape_between_the_profiles(path: Path) -> None:
    profiles = (Profile((1, 64, 96), (1, 64, 96)), Profile((1, 8, 8), (2, 48, 48)))
    with ring_engine(path, executor=OnnxExecutor(path, profiles)) as engine:
        assert engine.info.largest_shape == (1, 64, 96)  # and not 2 x 64 x 96, which none takes
        assert engine.infer(batch(1, 64, 96)).classes.shape == (1, 64, 96)
        assert engine.infer(batch(1, 48, 48, 2)).classes.shape == (2, 48, 48)
        for pixels in (batch(1, 64, 48), batch(1, 56, 56), batch(1, 64, 96, 2)):
            with pytest.raises(EngineError) as caught:
                engine.infer(pixels)
            found = " x ".join(map(str, pixels.shape[:3]))
            assert str(caught.value) == (
                "model threshold: the engine takes 1 x 64 x 96 and 1 x 8 x 8 to 2 x 48 x 48 px, "
                f"found {found}"
            )


@pytest.mark.parametrize("seed", range(6))
def test_how_many_go_into_a_batch_is_what_the_profiles_take(path: Path, seed: int) -> None:
    chance = random.Random(seed)

    def profile() -> Profile:
        bounds = [sorted(chance.choices(range(1, 7), k=2)) for _ in range(3)]
        (n0, n1), (h0, h1), (w0, w1) = bounds
        return Profile((n0, 8 * h0, 8 * w0), (n1, 8 * h1, 8 * w1))

    profiles = tuple(profile() for _ in range(chance.randint(1, 4)))
    with ring_engine(path, executor=OnnxExecutor(path, profiles)) as engine:
        capacity = engine.capacity
        for rows, columns in itertools.product(range(8, 64, 8), repeat=2):
            taken = [
                count
                for count in range(1, 20)
                if any(one.takes((count, rows, columns)) for one in profiles)
            ]
            # Where not even one is taken, nobody asks.
            assert capacity.takes(rows, columns) == (1 in taken)
            assert capacity.most(rows, columns) == max(taken, default=1)


def test_a_copy_that_is_refused_comes_in_its_place(path: Path, memory: FaultyMemory) -> None:
    memory.faults["copy_in"] = (4, BROKEN)
    drawn: list[int] = []

    def source() -> Iterator[NDArray[np.uint8]]:
        for seed in range(20):
            drawn.append(seed)
            yield batch(seed)

    with ring_engine(path, memory) as engine:
        number, error = answers_until_error(engine, path, source())
        assert (number, type(error)) == (3, DeviceError)
        assert str(error) == ("model threshold: cpu failed on 1 x 16 x 24 px (the copy was lost)")
        assert error.__cause__ is BROKEN
        assert len(drawn) <= 6
        # The ring is as good as before.
        for seed, answer in enumerate(engine.stream(batches(range(9)))):
            assert np.array_equal(answer.classes, right(path, seed))
    assert ended(memory)


def failing_on_the_card(path: Path, at: int) -> OnnxExecutor:
    """The batch with this number, from 1, fails when its stream comes to it."""
    executor = OnnxExecutor(path)
    queued: list[int] = []

    def fail() -> None:
        raise BROKEN

    def count(slot: Slot) -> None:
        queued.append(slot.number)
        if len(queued) == at:
            assert isinstance(slot.stream, HostStream)
            slot.stream.call(fail)

    executor.refuse = count
    return executor


@pytest.mark.parametrize("in_flight", [1, 2, 4])
def test_what_fails_on_the_card_comes_in_its_place_and_is_the_end(
    path: Path, memory: FaultyMemory, in_flight: int
) -> None:
    executor = failing_on_the_card(path, 3)
    with ring_engine(path, memory, executor) as engine:
        number, error = answers_until_error(engine, path, batches(range(20)), in_flight)
        assert (number, type(error)) == (2, DeviceError)
        sentence = "model threshold: cpu failed on 1 x 16 x 24 px ({})"
        assert str(error) == sentence.format("the copy was lost")
        assert not +memory.live  # at once
        for attempt in (
            lambda: engine.infer(batch(1)),
            lambda: list(engine.stream(batches(range(3)))),
        ):
            with pytest.raises(DeviceError) as caught:
                attempt()
            assert str(caught.value) == sentence.format(
                "given up after an earlier error: the copy was lost"
            )
        assert executor.closed == 0
    assert executor.closed == 1
    assert ended(memory)


def test_a_batch_for_which_the_card_has_no_memory(path: Path, memory: FaultyMemory) -> None:
    executor = OnnxExecutor(path)

    def refuse(slot: Slot) -> None:
        if slot.pixels > 24 * 24:
            raise OutOfDeviceMemory("9.0 MiB asked for, 1.0 MiB free")

    executor.refuse = refuse
    with ring_engine(path, memory, executor) as engine:
        whole = [batch(0), batch(1), batch(2, 32, 32), batch(3)]
        number, error = answers_until_error(engine, path, iter(whole))
        assert (number, type(error)) == (2, OutOfDeviceMemory)
        assert isinstance(error, EngineError)
        assert str(error) == (
            "model threshold: cpu has no memory left for 1 x 32 x 32 px "
            "(9.0 MiB asked for, 1.0 MiB free). Choose a smaller --tile"
        )
        for seed in range(9):  # smaller ones go on
            assert np.array_equal(engine.infer(batch(seed)).classes, right(path, seed))
    assert ended(memory)


def test_a_ring_for_which_the_card_has_no_memory(path: Path) -> None:
    executor = OnnxExecutor(path)
    with HostMemory(capacity=1 << 20) as memory:
        with pytest.raises(OutOfDeviceMemory) as caught:
            ring_engine(path, memory, executor)
        assert str(caught.value) == "0.2 MiB asked for, 0.2 MiB free"
        assert not +memory.live
        assert executor.closed == 0  # still the caller's


@pytest.mark.parametrize("error", [OSError("the share is gone"), KeyboardInterrupt()])
def test_a_source_that_fails_leaves_nothing_under_way(
    path: Path, memory: FaultyMemory, error: BaseException
) -> None:
    def source() -> Iterator[NDArray[np.uint8]]:
        yield from batches(range(4))
        raise error

    with ring_engine(path, memory) as engine:
        number, caught = answers_until_error(engine, path, source())
        assert caught is error
        # An error waits for its place; Ctrl-C does not.
        assert number == (4 if isinstance(error, OSError) else 2)
        for seed in range(9):
            assert np.array_equal(engine.infer(batch(seed)).classes, right(path, seed))
    assert ended(memory)


def test_a_consumer_that_leaves_waits_for_what_is_under_way(path: Path) -> None:
    with HostMemory(pause=0.02) as memory, ring_engine(path, memory) as engine:
        for _ in range(3):
            for answer in engine.stream(batches(range(100)), 4):
                assert answer.classes.shape == (1, 16, 24)
                break
        for seed, answer in enumerate(engine.stream(batches(range(5)), 4)):
            assert np.array_equal(answer.classes, right(path, seed))
    assert ended(memory)


def test_a_consumer_that_leaves_a_card_that_fails(path: Path, memory: FaultyMemory) -> None:
    with ring_engine(path, memory, failing_on_the_card(path, 3)) as engine:
        stream = engine.stream(batches(range(100)), 3)
        next(stream)
        stream.close()  # type: ignore[attr-defined]  # the error is nobody's
        with pytest.raises(DeviceError, match=r"\(given up after an earlier error: "):
            engine.infer(batch(1))
    assert ended(memory)


def test_closing_while_batches_are_under_way(path: Path) -> None:
    memory, executor = HostMemory(pause=0.02), OnnxExecutor(path)
    engine = ring_engine(path, memory, executor)
    stream = engine.stream(batches(range(100)), 4)
    next(stream)
    engine.close()
    assert ended(memory)
    with pytest.raises(EngineError) as caught:
        next(stream)
    assert str(caught.value) == "model threshold: the engine has been closed"
    engine.close()
    assert executor.closed == 1
