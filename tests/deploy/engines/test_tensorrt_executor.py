"""TensorRT's calls, on its stand-in: contexts, workspace, refusals, what is loaded and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hptl_deploy.engines.flavour import FLAVOURS, TENSORRT_RTX, Flavour, load_flavour
from hptl_deploy.engines.memory.base import ALIGNMENT
from hptl_deploy.engines.memory.host import HostDeviceBuffer, HostMemory
from hptl_deploy.engines.tensorrt import TensorRTEngine, open_tensorrt
from hptl_deploy.engines.tensorrt_executor import Profile, Workspace, choose
from hptl_deploy.errors import (
    DeviceError,
    EngineError,
    EnvironmentLacks,
    HptlError,
    ModelError,
    OutOfDeviceMemory,
)
from hptl_deploy.files import sha256_file
from hptl_deploy.model import load_model
from support.faulty_memory import FaultyMemory
from support.stand_in_tensorrt import VERSION, Library, open_stand_in, write_engine
from support.streams import answers_until_error, batch, batches, ended, reference, right
from support.threshold_model import write_threshold_model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_threshold_model(tmp_path, smoothing=2)


@pytest.mark.parametrize("key", FLAVOURS)
def test_both_flavours_answer(path: Path, key: str) -> None:
    memory = HostMemory(pause=0.001)
    with open_stand_in(path, memory, key=key) as engine:
        assert engine.info.backend == key
        assert engine.info.versions == {
            key: VERSION,
            "host": np.__version__,
            "driver": "none",
            "engine": sha256_file(write_engine(path)[0])[:12],
        }
        assert [str(profile) for profile in engine.profiles] == [
            "1 x 24 x 32",
            "1 x 8 x 8 to 4 x 136 x 200",
        ]
        for seed, answer in enumerate(engine.stream(batches(range(9)))):
            assert np.array_equal(answer.classes, right(path, seed))
    assert ended(memory)


def test_the_frame_s_profile_comes_before_the_tiles() -> None:
    frame, tiles = Profile((1, 24, 32), (1, 24, 32)), Profile((1, 8, 8), (4, 64, 64))
    assert choose([frame, tiles], (1, 24, 32)) == 0
    assert choose([frame, tiles], (2, 24, 32)) == 1
    assert choose([frame, tiles], (1, 72, 32)) is None


def test_contexts_compute_in_turn_in_one_workspace(path: Path) -> None:
    # The stand-in fails when two contexts compute in one workspace at once.
    memory = HostMemory()
    shapes = [(16, 24), (64, 64), (8, 8), (24, 32), (136, 200), (24, 32), (8, 16), (136, 200)]
    with open_stand_in(path, memory, scratch=64, slots=4) as engine:
        taken = []
        source = (batch(1, *shape) for shape in shapes * 3)
        for shape, answer in zip(shapes * 3, engine.stream(source), strict=True):
            classes, confidence = reference(path).run(batch(1, *shape))
            assert np.array_equal(answer.classes, classes)
            assert np.array_equal(answer.confidence, confidence)
            properties = memory.properties()
            taken.append(properties.total_bytes - properties.free_bytes)
        # Four slots for the largest batch, 4 x 136 x 200 px of 3 bytes in and 2 out, and one
        # workspace for the largest that came; it has grown to that, and stays.
        expected = 4 * 5 * (4 * 136 * 200) + 64 * 136 * 200
        assert set(taken[-8:]) == {expected}
    assert ended(memory)


def test_a_workspace_that_finds_no_room_is_empty_and_recovers(path: Path) -> None:
    memory = HostMemory(capacity=4_000_000)  # 2.2 MB of it are the ring's
    with open_stand_in(path, memory, scratch=100, slots=4) as engine:
        assert np.array_equal(engine.infer(batch(1)).classes, right(path, 1))
        with pytest.raises(OutOfDeviceMemory) as caught:
            engine.infer(batch(1, 136, 200))
        assert str(caught.value) == (
            "model threshold: cpu has no memory left for 1 x 136 x 200 px "
            "(2.6 MiB asked for, 1.7 MiB free). Choose a smaller --tile"
        )
        for seed in range(5):
            assert np.array_equal(engine.infer(batch(seed)).classes, right(path, seed))
    assert ended(memory)


class OneAddress(HostMemory):
    """Device buffers begin where the ones before them did, once `room` is there."""

    room: NDArray[np.uint8] | None = None

    def _device_buffer(self, nbytes: int) -> HostDeviceBuffer:
        made = super()._device_buffer(nbytes)
        if self.room is not None:
            del self.buffers[made.pointer]
            made.array, made.pointer = self.room[:nbytes], self.room.ctypes.data
            self.buffers[made.pointer] = made
        return made


def test_a_smaller_workspace_at_the_same_address_is_noticed(path: Path) -> None:
    memory = OneAddress(capacity=6_000_000)  # 1.6 MB of them are the ring's
    with open_stand_in(path, memory, scratch=100, slots=3) as engine:
        room = np.zeros(3_000_000 + ALIGNMENT, np.uint8)
        memory.room = room[-room.ctypes.data % ALIGNMENT :]
        for _ in range(3):
            engine.infer(batch(1, 136, 200))
        with pytest.raises(OutOfDeviceMemory):
            engine.infer(batch(1, 136, 200, 4))
        engine.infer(batch(1))
        # The third slot was set to this shape, and to the same address with more behind it.
        answer = engine.infer(batch(1, 136, 200))
        assert np.array_equal(answer.classes, reference(path).run(batch(1, 136, 200))[0])
    assert ended(memory)


@pytest.mark.parametrize(
    "call",
    [
        "set_optimization_profile_async",
        "set_input_shape",
        "set_tensor_address",
        "infer_shapes",
        "execute_async_v3",
    ],
)
def test_every_refusal_of_a_context_is_told(path: Path, call: str) -> None:
    memory = HostMemory()
    library = Library(memory)
    library.faults[call] = (2, "[x.cpp::f::1] Error Code 3: API Usage Error (not today)")
    with open_stand_in(path, memory, library, slots=3) as engine:
        number, error = answers_until_error(engine, path, batches(range(20)))
        assert type(error) is DeviceError
        assert number < 2
        assert str(error) == (
            "model threshold: cpu failed on 1 x 16 x 24 px (TensorRT for RTX refused "
            f"{call}: Error Code 3: API Usage Error (not today))"
        )
        for seed, answer in enumerate(engine.stream(batches(range(9)))):
            assert np.array_equal(answer.classes, right(path, seed))
    assert ended(memory)


@pytest.mark.parametrize(
    "text",
    [
        "[x.cpp::f::1] Error Code 2: OutOfMemory (Requested size was 99 bytes.)",
        "[x.cpp::f::1] Error Code 1: Cuda Runtime (out of memory)",
    ],
)
def test_no_memory_while_running_is_told_apart(path: Path, text: str) -> None:
    memory = HostMemory()
    library = Library(memory)
    library.faults["execute_async_v3"] = (2, text)
    with open_stand_in(path, memory, library) as engine:
        engine.infer(batch(1))
        with pytest.raises(OutOfDeviceMemory) as caught:
            engine.infer(batch(1))
        assert str(caught.value).startswith(
            "model threshold: cpu has no memory left for 1 x 16 x 24 px (TensorRT for RTX refused "
        )
        engine.infer(batch(1))
    assert ended(memory)


def test_what_the_library_raises_is_translated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = HostMemory()
    with open_stand_in(path, memory) as engine:

        def fail(context: object) -> list[str]:
            raise RuntimeError("shapes\nfailed")

        with monkeypatch.context() as patch:
            patch.setattr("support.stand_in_tensorrt.IExecutionContext.infer_shapes", fail)
            with pytest.raises(DeviceError) as caught:
                engine.infer(batch(1))
        assert str(caught.value) == (
            "model threshold: cpu failed on 1 x 16 x 24 px (TensorRT for RTX refused "
            "RuntimeError: shapes: no reason given)"
        )
        assert np.array_equal(engine.infer(batch(1)).classes, right(path, 1))
    assert ended(memory)


def refused(open_: Callable[[], TensorRTEngine], kind: type[HptlError]) -> str:
    with pytest.raises(HptlError) as caught:
        open_()
    assert type(caught.value) is kind
    return str(caught.value)


def test_an_engine_that_the_library_refuses(path: Path) -> None:
    engine, _ = write_engine(path)
    memory = HostMemory()
    library = Library(memory)
    library.faults["deserialize_cuda_engine"] = (1, "Error Code 6: API Usage Error (old)")
    assert refused(lambda: open_stand_in(path, memory, library), DeviceError) == (
        f"{engine}: TensorRT for RTX refused the engine: Error Code 6: API Usage Error (old)"
    )
    assert ended(memory)


def test_a_card_without_room_for_a_context(path: Path) -> None:
    engine, _ = write_engine(path)
    memory = HostMemory()
    library = Library(memory)
    library.faults["create_execution_context"] = (3, "Error Code 2: OutOfMemory (no)")
    assert refused(lambda: open_stand_in(path, memory, library), OutOfDeviceMemory) == (
        f"{engine}: cpu has no memory left for it (TensorRT for RTX refused an execution context: "
        "Error Code 2: OutOfMemory (no)). Close what else uses the card, or use --device cpu"
    )
    assert ended(memory)


def test_a_card_without_room_for_the_ring_lets_go_of_the_network(path: Path) -> None:
    engine, _ = write_engine(path)
    memory = HostMemory(capacity=1 << 20)
    assert refused(lambda: open_stand_in(path, memory), OutOfDeviceMemory) == (
        f"{engine}: cpu has no memory left for it (0.2 MiB asked for, 0.2 MiB free). "
        "Close what else uses the card, or use --device cpu"
    )
    assert ended(memory)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"micrograph": ["INPUT", "FLOAT"]}, "input named micrograph"),
        ({"micrograph": ["OUTPUT", "UINT8"]}, "input named micrograph"),
        ({"classes": ["NONE", "UINT8"]}, "output named classes"),
        ({"confidence": ["OUTPUT", "FLOAT"]}, "output named confidence"),
    ],
)
def test_an_engine_of_something_else(
    path: Path, tensors: dict[str, list[str]], reason: str
) -> None:
    engine, _ = write_engine(path)
    memory = HostMemory()
    ours = {
        "micrograph": ["INPUT", "UINT8"],
        "classes": ["OUTPUT", "UINT8"],
        "confidence": ["OUTPUT", "UINT8"],
    }
    changed = {**ours, **tensors}
    assert refused(lambda: open_stand_in(path, memory, tensors=changed), EngineError) == (
        f"{engine}: the engine has no uint8 {reason}. Export the model again"
    )
    assert ended(memory)


def test_an_engine_that_does_not_fit_is_not_loaded(path: Path) -> None:
    engine, fit = write_engine(path)
    model = load_model(path)
    for here, damage, reason in (
        (replace(fit, version="1.8.0"), b"", "built with 1.7.1, now 1.8.0"),
        (fit, b" ", "is not the file that was built"),
    ):
        engine.write_bytes(engine.read_bytes() + damage)
        memory = HostMemory()
        library = Library(memory)
        flavour = Flavour(TENSORRT_RTX, VERSION, library)
        with pytest.raises(ModelError) as caught:
            open_tensorrt(model, engine, here, flavour, memory)
        assert reason in str(caught.value)
        assert not library.calls  # it never saw the bytes
        assert ended(memory)


def test_a_workspace_waits_for_its_turn_before_it_grows() -> None:
    with HostMemory(pause=0.02) as memory, memory.active(), memory.stream() as stream:
        workspace = Workspace(memory)
        workspace.reserve(100)
        assert workspace.nbytes == 100
        done: list[int] = []
        with workspace.turn(stream):
            stream.call(lambda: done.append(memory.live["HostDeviceBuffer"]))
        workspace.reserve(50)
        assert (workspace.nbytes, done) == (100, [])  # large enough: nobody waits
        workspace.reserve(200)
        assert (workspace.nbytes, done) == (200, [1])
        workspace.close()
        workspace.close()
        assert not memory.live["HostDeviceBuffer"]


def test_a_workspace_that_cannot_be_freed_ends_all_the_same() -> None:
    with FaultyMemory() as memory, memory.active():
        workspace = Workspace(memory)
        workspace.reserve(100)
        broken = DeviceError("cannot free")
        memory.faults["free"] = (1, broken)
        with pytest.raises(DeviceError, match=r"^cannot free$"):
            workspace.reserve(200)
        assert (workspace.pointer, workspace.nbytes) == (0, 0)
        workspace.reserve(200)
        memory.faults["free"] = (2, broken)
        with pytest.raises(DeviceError, match=r"^cannot free$"):
            workspace.close()
        assert memory.calls["free"] == 3
        assert not +memory.live


def test_a_workspace_that_could_not_grow_is_empty() -> None:
    with HostMemory(capacity=1000) as memory, memory.active():
        workspace = Workspace(memory)
        workspace.reserve(600)
        with pytest.raises(OutOfDeviceMemory):
            workspace.reserve(2000)
        assert (workspace.pointer, workspace.nbytes) == (0, 0)
        workspace.reserve(900)  # what it held before is free
        assert workspace.nbytes == 900
        workspace.close()


# The library itself.


def test_the_library_refuses_what_is_no_engine(path: Path) -> None:
    # With or without a card: the real library, asked to load a few bytes.
    try:
        flavour = load_flavour(TENSORRT_RTX)
    except EnvironmentLacks as exc:
        pytest.skip(str(exc))
    engine, fit = write_engine(path)
    memory = HostMemory()
    with pytest.raises(DeviceError) as caught:
        open_tensorrt(load_model(path), engine, fit, flavour, memory)
    assert str(caught.value).startswith(f"{engine}: TensorRT for RTX refused the engine: ")
    assert "\n" not in str(caught.value)
    assert ended(memory)
