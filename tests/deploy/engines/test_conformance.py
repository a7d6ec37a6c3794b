"""What every backend must do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.engines.flavour import FLAVOURS
from hptl_deploy.engines.machine import count_cards
from hptl_deploy.engines.memory import LAYERS
from hptl_deploy.errors import EngineError
from hptl_deploy.model import load_model
from support.host_executor import ring_engine
from support.onnx_models import argmax_graph, with_graph
from support.stand_in_tensorrt import open_stand_in
from support.tensorrt_engines import open_on_card
from support.threshold_model import write_threshold_model

Open = Callable[[Path], Engine]


def open_onnxruntime(path: Path, device: str) -> Engine:
    if device == "cuda" and not count_cards():
        pytest.skip("needs an NVIDIA card")
    return open_engine(load_model(path), device)


@pytest.fixture(
    params=[
        pytest.param(partial(open_onnxruntime, device="cpu"), id="onnxruntime-cpu"),
        pytest.param(
            partial(open_onnxruntime, device="cuda"), id="onnxruntime-cuda", marks=pytest.mark.gpu
        ),
        # The ring, with ONNX Runtime as its network, and with TensorRT's stand-in.
        pytest.param(ring_engine, id="ring"),
        pytest.param(open_stand_in, id="stand-in"),
        *(
            pytest.param(
                partial(open_on_card, flavour=flavour, layer=layer),
                id=f"{flavour}-{layer}",
                marks=pytest.mark.gpu,
            )
            for flavour in FLAVOURS
            for layer in LAYERS
        ),
    ]
)
def open_(request: pytest.FixtureRequest) -> Open:
    opener: Open = request.param
    return opener


@pytest.fixture
def engine(open_: Open, tmp_path: Path) -> Iterator[Engine]:
    """Stride 8; a pixel's class depends on its surroundings."""
    with open_(write_threshold_model(tmp_path, smoothing=2)) as opened:
        yield opened


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def engine_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("engine")]


def all_threads() -> set[threading.Thread]:
    return set(threading.enumerate())


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 40), (1, 8, 200), (2, 136, 8)])
def test_any_size_gets_an_answer_of_its_size(engine: Engine, shape: tuple[int, int, int]) -> None:
    answer = engine.infer(noise(*shape))
    for array in (answer.classes, answer.confidence):
        assert array.shape == shape
        assert array.dtype == np.uint8
    assert answer.classes.max() <= 2


def test_the_answer_is_right(open_: Open, tmp_path: Path) -> None:
    batch = noise(2, 24, 32)
    grey = batch.astype(float) @ [0.25, 0.5, 0.25]
    with open_(write_threshold_model(tmp_path)) as opened:
        answer = opened.infer(batch)
    assert np.array_equal(answer.classes, (grey < 145).astype(int) + (grey < 85))
    assert np.array_equal(answer.confidence, np.floor(255 - grey / 2))


def test_a_batch_equals_its_micrographs_one_by_one(engine: Engine) -> None:
    batch = noise(4, 32, 48)
    together = engine.infer(batch)
    for number, one in enumerate(batch):
        alone = engine.infer(one[None])
        assert np.array_equal(together.classes[number], alone.classes[0])
        assert np.array_equal(together.confidence[number], alone.confidence[0])


def test_a_view_with_strides_of_its_own_is_read_as_it_looks(engine: Engine) -> None:
    wide = noise(1, 32, 48)
    view = wide[:, ::-1, 8:40]
    assert not view.flags.c_contiguous
    assert np.array_equal(engine.infer(view).classes, engine.infer(view.copy()).classes)


def test_ties_go_to_the_lowest_index(open_: Open, tmp_path: Path) -> None:
    # Scores of classes 0 to 3: G, R, R, B.
    graph = argmax_graph([[0, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 1]])
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    pixels[0, 0, :5] = [(9, 9, 9), (9, 3, 3), (3, 3, 9), (9, 3, 9), (3, 9, 9)]
    with open_(with_graph(tmp_path, graph)) as opened:
        answer = opened.infer(pixels)
    assert answer.classes[0, 0].tolist() == [0, 1, 3, 1, 0, 0, 0, 0]
    assert (answer.confidence[0, 1:] == 63).all()  # a quarter each


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        (np.zeros((1, 8, 8, 3), np.float32), "found float32 [1, 8, 8, 3]"),
        (np.zeros((8, 8, 3), np.uint8), "found uint8 [8, 8, 3]"),
        (np.zeros((1, 3, 8, 8), np.uint8), "found uint8 [1, 3, 8, 8]"),
        (np.zeros((1, 8, 8, 4), np.uint8), "found uint8 [1, 8, 8, 4]"),
        (np.zeros((1, 8, 12, 3), np.uint8), "multiples of 8, found 1 of 8 x 12"),
        (np.zeros((1, 7, 8, 3), np.uint8), "multiples of 8, found 1 of 7 x 8"),
        (np.zeros((0, 8, 8, 3), np.uint8), "multiples of 8, found 0 of 8 x 8"),
        (np.zeros((2, 0, 8, 3), np.uint8), "multiples of 8, found 2 of 0 x 8"),
    ],
)
def test_what_is_no_batch_is_refused(engine: Engine, batch: NDArray[np.uint8], reason: str) -> None:
    with pytest.raises(EngineError) as caught:
        engine.infer(batch)
    kind = (
        "a batch uint8 [N, H, W, 3], "
        if "uint8" in reason or "float" in reason
        else "at least one micrograph with height and width "
    )
    assert str(caught.value) == f"model threshold: expected {kind}{reason}"


def test_a_closed_engine_says_so(engine: Engine) -> None:
    engine.close()
    engine.close()
    for attempt in (
        lambda: engine.infer(noise(1, 8, 8)),
        lambda: list(engine.stream([noise(1, 8, 8)])),
    ):
        with pytest.raises(EngineError) as caught:
            attempt()
        assert str(caught.value) == "model threshold: the engine has been closed"


@pytest.mark.parametrize("in_flight", [1, 2, 3, 4])
def test_a_stream_answers_in_order(engine: Engine, in_flight: int) -> None:
    # The first takes longest.
    batches = [noise(1, 8 * (9 - number), 64, seed=number) for number in range(7)]
    drawn: list[int] = []

    def source() -> Iterator[NDArray[np.uint8]]:
        for number, batch in enumerate(batches):
            drawn.append(number)
            yield batch

    for number, answer in enumerate(engine.stream(source(), in_flight)):
        assert len(drawn) <= number + in_flight
        # The engine may take its arrays back at the next call.
        classes, confidence = answer.classes.copy(), answer.confidence.copy()
        alone = engine.infer(batches[number])
        assert np.array_equal(classes, alone.classes)
        assert np.array_equal(confidence, alone.confidence)
        assert classes.shape == batches[number].shape[:3]
    assert number == 6
    assert not engine_threads()


@pytest.mark.parametrize("in_flight", [1, 2, 4])
@pytest.mark.parametrize("good", [0, 1, 3])
def test_an_error_of_the_source_comes_after_the_answers_before_it(
    engine: Engine, in_flight: int, good: int
) -> None:
    def source() -> Iterator[NDArray[np.uint8]]:
        for _ in range(good):
            yield noise(1, 8, 8)
        raise OSError("the share is gone")

    answered = 0
    with pytest.raises(OSError, match=r"^the share is gone$"):
        for _ in engine.stream(source(), in_flight):
            answered += 1
    assert answered == good
    assert not engine_threads()


@pytest.mark.parametrize("in_flight", [1, 2, 4])
def test_nothing_just_now_gives_the_oldest_answer(engine: Engine, in_flight: int) -> None:
    """Batches and None in any order: the answers are those without None."""
    batches = [noise(1, 8 * (1 + number % 3), 16, seed=number) for number in range(6)]
    drawn: list[int] = []

    def source() -> Iterator[NDArray[np.uint8] | None]:
        yield None  # nothing is under way: the next is drawn
        for number, pauses in enumerate([1, 0, 0, 3, 1, 0]):
            drawn.append(number)
            yield batches[number]
            yield from [None] * pauses
        yield None

    waited: list[int] = []
    found = []
    for answer in engine.stream(source(), in_flight):
        waited.append(len(drawn))
        found.append((answer.classes.copy(), answer.confidence.copy()))
    if in_flight > 1:
        # Answer 0 comes before batch 1 is asked for, because the source has none just now.
        assert waited[0] == 1
    assert len(found) == 6
    for (classes, confidence), batch in zip(found, batches, strict=True):
        alone = engine.infer(batch)
        assert np.array_equal(classes, alone.classes)
        assert np.array_equal(confidence, alone.confidence)
    assert not engine_threads()


def test_a_source_of_nothing_has_no_answers(engine: Engine) -> None:
    assert list(engine.stream([None, None, None])) == []


def test_an_error_of_the_engine_comes_where_nothing_is_there_just_now(engine: Engine) -> None:
    drawn = []

    def source() -> Iterator[NDArray[np.uint8] | None]:
        for number, batch in enumerate([noise(1, 8, 8), noise(1, 8, 9), None, None, None]):
            drawn.append(number)
            yield batch

    stream = engine.stream(source(), 4)
    next(stream)
    with pytest.raises(EngineError, match=r"found 1 of 8 x 9$"):
        next(stream)
    assert drawn == [0, 1, 2, 3]
    assert not engine_threads()
    assert engine.infer(noise(1, 8, 8)).classes.shape == (1, 8, 8)


def test_an_error_of_the_source_behind_nothing(engine: Engine) -> None:
    def source() -> Iterator[NDArray[np.uint8] | None]:
        yield noise(1, 8, 8)
        yield None
        raise OSError("the share is gone")

    stream = engine.stream(source(), 4)
    assert next(stream).classes.shape == (1, 8, 8)
    with pytest.raises(OSError, match=r"^the share is gone$"):
        next(stream)
    assert not engine_threads()


def test_the_engine_takes_as_many_as_it_says(engine: Engine) -> None:
    capacity = engine.capacity
    for rows, columns in ((8, 8), (24, 32), (40, 48), (136, 200)):
        most = capacity.most(rows, columns)
        assert most >= 1
        assert capacity.takes(rows, columns)
        assert engine.infer(noise(most, rows, columns)).classes.shape == (most, rows, columns)


def test_an_error_of_the_engine_comes_at_its_answer(engine: Engine) -> None:
    drawn = []

    def source() -> Iterator[NDArray[np.uint8]]:
        for number, width in enumerate([8, 8, 9, 8, 8, 8, 8]):
            drawn.append(number)
            yield noise(1, 8, width)

    stream = engine.stream(source(), 2)
    next(stream)
    next(stream)
    with pytest.raises(EngineError, match=r"found 1 of 8 x 9$"):
        next(stream)
    assert len(drawn) == 4  # one more was under way
    assert not engine_threads()


def test_a_stream_that_is_abandoned_leaves_no_thread(engine: Engine) -> None:
    resting = all_threads()
    stream = engine.stream((noise(1, 8, 8) for _ in range(100)), 3)
    next(stream)
    if engine.info.backend.startswith("onnxruntime"):
        assert engine_threads()  # the others leave the overlapping to the card
    stream.close()  # type: ignore[attr-defined]
    assert all_threads() == resting
    for _ in range(9):  # more than any ring has slots
        assert engine.infer(noise(1, 8, 8)).classes.shape == (1, 8, 8)


def test_a_closed_engine_leaves_no_thread(open_: Open, tmp_path: Path) -> None:
    before = all_threads()
    with open_(write_threshold_model(tmp_path)) as opened:
        stream = opened.stream(noise(1, 8, 8) for _ in range(100))
        next(stream)
    with pytest.raises(EngineError, match=r"^model threshold: the engine has been closed$"):
        for _ in range(9):  # what is under way may still come
            next(stream)
    assert all_threads() == before


def test_returned_arrays_are_whose_the_engine_says(engine: Engine) -> None:
    first = engine.infer(noise(1, 16, 16, seed=1))
    kept = first.classes.copy(), first.confidence.copy()
    engine.infer(noise(1, 16, 16, seed=2))
    assert np.array_equal(first.classes, kept[0])
    assert np.array_equal(first.confidence, kept[1])
    first.classes[:] = 9
    again = engine.infer(noise(1, 16, 16, seed=1))
    assert np.array_equal(again.classes, kept[0])
    batches = [noise(1, 16, 16, seed=seed) for seed in range(9)]
    answers = list(engine.stream(iter(batches)))
    if engine.info.owns_buffers:
        # Valid until the next answer was asked for; and nobody else may write to them.
        assert not any(answer.classes.flags.writeable for answer in answers)
    else:
        for batch, answer in zip(batches, answers, strict=True):
            assert np.array_equal(answer.classes, engine.infer(batch).classes)


def test_the_input_is_left_as_it_was(engine: Engine) -> None:
    batch = noise(1, 16, 16)
    batch.flags.writeable = False
    before = batch.copy()
    engine.infer(batch)
    assert np.array_equal(batch, before)


def test_two_engines_in_two_threads(open_: Open, tmp_path: Path) -> None:
    path = write_threshold_model(tmp_path, smoothing=2)
    batches = [noise(1, 32, 64, seed=seed) for seed in range(10)]

    def answers(_: int) -> list[bytes]:
        with open_(path) as opened:
            return [opened.infer(batch).classes.tobytes() for batch in batches]

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(answers, range(2))
    assert first == second == answers(0)


def test_an_engine_says_what_runs(engine: Engine) -> None:
    info = engine.info
    document = info.to_json()
    backends = {"onnxruntime-cpu", "onnxruntime-cuda", "ring", *FLAVOURS}
    assert document["backend"] in backends
    assert info.device == "cpu" or info.device.startswith("cuda:")
    if info.backend.startswith("onnxruntime"):
        assert info.device.split(":")[0] == info.backend.removeprefix("onnxruntime-")
        assert set(info.versions) >= {"onnxruntime"}
    assert info.precision == "fp32"
    assert info.versions
