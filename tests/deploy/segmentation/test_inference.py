"""Frames in, maps out: what shares a batch, and who pays for what fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.engines.ring import Slot
from hptl_deploy.errors import EngineError
from hptl_deploy.model import load_model
from hptl_deploy.segmentation.filling import Filling
from hptl_deploy.segmentation.inference import Inference
from hptl_deploy.segmentation.items import Failed, Frame, Solved
from hptl_deploy.segmentation.stages import ByteGate, Stages
from hptl_deploy.tiling import Tile
from support.host_executor import OnnxExecutor, ring_engine
from support.patience import within
from support.solving import Source, Watched, check, frame_of, marked, names, noise, solved
from support.stand_in_tensorrt import open_stand_in
from support.threshold_model import write_threshold_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stride 8, halo 24: a class depends on pixels round it, so a wrong tile would show."""
    return write_threshold_model(tmp_path_factory.mktemp("models"), smoothing=2)


@pytest.fixture(scope="module")
def reference(model: Path) -> Iterator[Engine]:
    """Another engine of the same model."""
    with open_engine(load_model(model), "cpu") as opened:
        yield opened


@pytest.fixture
def engine(reference: Engine) -> Watched:
    return Watched(reference)


def fail_if_marked(batch: NDArray[np.uint8]) -> None:
    if marked(batch):
        raise EngineError("this one cannot be done")


def frames(engine: Engine, *sizes: tuple[int, int], mark: int | None = None) -> list[Frame]:
    return [
        frame_of(noise(*size, number, mark=number == mark), engine, f"m{number}")
        for number, size in enumerate(sizes)
    ]


def test_small_frames_that_are_there_share_batches(engine: Watched, reference: Engine) -> None:
    source = Source(frames(engine, *[(40, 48)] * 20))
    found = solved(Inference(engine, pytest.fail), source)
    assert engine.given == [(16, 40, 48), (4, 40, 48)]
    assert names(found) == [f"m{number}" for number in range(20)]
    check(found, reference, {})


def test_nothing_waits_for_a_frame_that_is_not_there(engine: Watched, reference: Engine) -> None:
    first, second, *rest = frames(engine, *[(40, 48)] * 5)
    source = Source([first, None, second, None, None, *rest])
    found = solved(Inference(engine, pytest.fail), source)
    assert engine.given == [(1, 40, 48), (1, 40, 48), (3, 40, 48)]
    check(found, reference, {})


def test_frames_of_any_sizes_find_their_like(engine: Watched, reference: Engine) -> None:
    # 33 x 41 is filled up to 40 x 48.
    sizes = [(40, 48), (8, 8), (33, 41), (8, 8), (40, 48), (120, 7), (1, 1)]
    found = solved(Inference(engine, pytest.fail), Source(frames(engine, *sizes)))
    assert sorted(engine.given) == [(1, 120, 8), (3, 8, 8), (3, 40, 48)]
    assert sorted(names(found)) == [f"m{number}" for number in range(7)]
    check(found, reference, {})


def test_tiles_of_several_frames_share_batches(engine: Watched, reference: Engine) -> None:
    pages = [
        frame_of(noise(150, 170, number), engine, f"m{number}", tile=64) for number in range(3)
    ]
    found = solved(Inference(engine, pytest.fail), Source(pages))
    assert max(count for count, *_ in engine.given) > 1
    assert sum(count for count, *_ in engine.given) == 3 * 3 * 3
    check(found, reference, {})


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_gate_that_admits_few_frames_is_enough(
    engine: Watched, reference: Engine, limit: int
) -> None:
    """Up to four batches may be under way, but the next frame comes when one has left."""
    gate = ByteGate(limit)

    def produce() -> Iterator[Frame]:
        for number in range(12):
            gate.enter(1)
            yield frame_of(noise(16, 24, number), engine, f"m{number}", gate=gate)

    def run() -> list[Solved | Failed]:
        with Stages() as stages:
            stages.guard(gate)
            channel = stages.source("frames", produce, 32)
            inference = Inference(engine, pytest.fail)
            return solved(inference, lambda wait: channel.take(wait=wait))

    found = within(30, run)
    assert sorted(names(found)) == sorted(f"m{number}" for number in range(12))
    check(found, reference, {})
    assert gate.held == 0


@pytest.mark.parametrize("bad", [0, 2, 5])
def test_a_frame_that_fails_in_a_batch_fails_alone(reference: Engine, bad: int) -> None:
    engine = Watched(reference, fail_if_marked)
    found = solved(
        Inference(engine, pytest.fail), Source(frames(engine, *[(40, 48)] * 6, mark=bad))
    )
    assert engine.given[0] == (6, 40, 48)
    assert set(engine.given[1:]) == {(1, 40, 48)}
    assert len(found) == 6
    check(found, reference, {f"m{bad}": "this one cannot be done"})


@pytest.mark.parametrize("bad", range(6))
def test_what_is_under_way_behind_an_error_is_not_lost(reference: Engine, bad: int) -> None:
    engine = Watched(reference, fail_if_marked)
    sizes = [(8 * number, 16) for number in range(1, 7)]  # no two share a batch
    found = solved(Inference(engine, pytest.fail), Source(frames(engine, *sizes, mark=bad)))
    assert names(found) == [f"m{number}" for number in range(6)]
    check(found, reference, {f"m{bad}": "this one cannot be done"})


def test_a_frame_of_which_one_tile_fails_is_not_gone_on_with(reference: Engine) -> None:
    engine = Watched(reference, fail_if_marked)
    engine.most = lambda rows, columns: 1
    pages = [
        frame_of(noise(40, 400, 0, mark=True), engine, "bad", tile=8),
        frame_of(noise(40, 48, 1), engine, "good"),
    ]
    found = solved(Inference(engine, pytest.fail), Source(pages))
    assert names(found) == ["bad", "good"]
    check(found, reference, {"bad": "this one cannot be done"})
    assert len(engine.given) <= 4 + 1  # what was under way, and the other frame


def open_ring(model: Path, queued: list[tuple[int, ...]]) -> Engine:
    """A ring that refuses what is marked; `queued` gets (N, H, W) of all that it was given."""
    executor = OnnxExecutor(model)

    def look(slot: Slot) -> None:
        queued.append(slot.shape)
        count, height, width = slot.shape
        pixels = slot.pinned_input.array[: 3 * count * height * width]
        fail_if_marked(pixels.reshape(count, height, width, 3))

    executor.refuse = look
    return ring_engine(model, executor=executor)


@pytest.mark.parametrize("open_", [ring_engine, open_stand_in])
def test_answers_in_the_engines_own_memory_are_copied(
    model: Path, reference: Engine, open_: Callable[[Path], Engine]
) -> None:
    sizes = [(40, 48), (24, 32), (40, 48), (8, 16), (40, 48), (40, 48), (130, 200)] * 3
    with open_(model) as engine:
        assert engine.info.owns_buffers
        found = solved(Inference(engine, pytest.fail), Source(frames(engine, *sizes)))
    assert len(found) == len(sizes)
    check(found, reference, {})


def test_a_ring_that_refuses_one_frame_of_a_batch(model: Path, reference: Engine) -> None:
    sizes = [(40, 48)] * 7 + [(16, 16)]
    with open_ring(model, []) as engine:
        source = Source(frames(engine, *sizes, mark=5))
        found = solved(Inference(engine, pytest.fail), source)
    assert len(found) == len(sizes)
    check(found, reference, {"m5": "this one cannot be done"})


def test_tiles_of_a_frame_that_has_failed_do_not_go_again(
    model: Path, reference: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first tile is refused, but that is not known when there is no memory for the last."""
    queued: list[tuple[int, ...]] = []
    with open_ring(model, queued) as engine:
        bad = frame_of(noise(8, 264, 0, mark=True), engine, "bad", tile=64)
        last = list(bad.of.plan.tiles())[-1].read
        cut = Filling.pixels

        def scarce(filling: Filling, tile: Tile) -> NDArray[np.uint8]:
            if tile.read == last:
                raise MemoryError
            return cut(filling, tile)

        monkeypatch.setattr(Filling, "pixels", scarce)
        source = Source([bad, frame_of(noise(40, 48, 1), engine, "good")])
        found = solved(Inference(engine, pytest.fail), source)
    # Tiles of 64 px with halos of 24; the good frame, which was behind them, does go again.
    assert queued == [(1, 8, 88), (2, 8, 112), (1, 8, 96), (1, 40, 48), (1, 40, 48)]
    check(found, reference, {"bad": "needs more memory than there is"})


@pytest.mark.parametrize("good", [0, 1, 3, 20])
def test_an_error_of_drawing_comes_behind_the_frames_before_it(
    engine: Watched, reference: Engine, good: int
) -> None:
    source = Source(frames(engine, *[(40, 48)] * good), error=OSError("the share is gone"))
    found: list[Solved | Failed] = []
    with pytest.raises(OSError, match=r"^the share is gone$"):
        for item in Inference(engine, pytest.fail).solve(source):
            found.append(item)
    assert names(found) == [f"m{number}" for number in range(good)]
    check(found, reference, {})


def test_no_memory_for_the_maps_is_that_frames_failure(
    engine: Watched, reference: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = np.empty

    def scarce(shape: tuple[int, ...], *rest: object) -> object:
        if shape == (16, 16):
            raise MemoryError
        return empty(shape, *rest)  # type: ignore[call-overload]

    source = frames(engine, (40, 48), (16, 16), (40, 48))
    monkeypatch.setattr(np, "empty", scarce)
    found = solved(Inference(engine, pytest.fail), Source(source))
    monkeypatch.undo()
    assert len(found) == 3
    check(found, reference, {"m1": "needs more memory than there is"})
    assert source[1].gate.held == 0


def test_no_memory_to_put_a_batch_together(
    engine: Watched, reference: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its frames may still go through alone."""

    def scarce(parts: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        raise MemoryError

    monkeypatch.setattr(np, "stack", scarce)
    source = frames(engine, *[(40, 48)] * 5)
    found = solved(Inference(engine, pytest.fail), Source(source))
    assert engine.given == [(1, 40, 48)] * 5
    check(found, reference, {})


def test_no_memory_for_one_frames_pixels(
    reference: Engine, engine: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    pad = np.pad

    def scarce(pixels: NDArray[np.uint8], *rest: object, **more: object) -> object:
        if marked(pixels[None]):
            raise MemoryError
        return pad(pixels, *rest, **more)  # type: ignore[call-overload]

    source = frames(engine, *[(39, 47)] * 5, mark=3)
    monkeypatch.setattr(np, "pad", scarce)
    found = solved(Inference(engine, pytest.fail), Source(source))
    monkeypatch.undo()
    assert len(found) == 5
    check(found, reference, {"m3": "needs more memory than there is"})


def test_a_stream_that_is_left_leaves_no_thread(engine: Watched) -> None:
    before = set(threading.enumerate())
    items = Inference(engine, pytest.fail).solve(Source(frames(engine, *[(8, 8), (16, 8)] * 20)))
    next(items)
    items.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) == before


def test_batches_keep_to_the_memory_that_is_planned(engine: Watched, reference: Engine) -> None:
    pixels = 40 * 48
    assert engine.model.card.bytes_per_pixel == 64.0
    inference = Inference(engine, pytest.fail, 64.0 * (3 * pixels + 5))
    found = solved(inference, Source(frames(engine, *[(40, 48)] * 7)))
    assert engine.given == [(3, 40, 48), (3, 40, 48), (1, 40, 48)]
    check(found, reference, {})
