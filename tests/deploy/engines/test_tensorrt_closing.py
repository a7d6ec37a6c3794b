"""A TensorRT engine is given back whole, before its card is, whatever fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hptl_deploy.engines.flavour import FLAVOURS
from hptl_deploy.errors import DeviceError, EngineError, OutOfDeviceMemory
from support.faulty_memory import FaultyMemory
from support.stand_in_tensorrt import Library, open_stand_in
from support.streams import batch, ended, host_threads
from support.threshold_model import write_threshold_model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_threshold_model(tmp_path, smoothing=2)


class Watching(FaultyMemory):
    """Counts what the library still has when the card is let go of."""

    library: Library
    left: list[str]

    def _release(self) -> None:
        self.left = sorted(type(each).__name__ for each in self.library.alive)
        super()._release()


@pytest.fixture
def watching() -> Watching:
    memory = Watching()
    memory.library = Library(memory)
    return memory


@pytest.mark.parametrize(
    ("fault", "changes"),
    [
        ("deserialize_cuda_engine", {}),
        ("create_execution_context", {}),
        ("", {"tensors": {}}),
        ("", {"profiles": [[[1, 8, 8, 3]] * 3, [[1, 8, 8, 3], [1, 8, 8, 3], [9999, 999, 9, 3]]]}),
    ],
)
@pytest.mark.parametrize("key", FLAVOURS)
def test_nothing_of_an_engine_that_was_refused_outlives_its_card(
    path: Path, watching: Watching, fault: str, changes: dict[str, Any], key: str
) -> None:
    watching.library.faults[fault] = (2 if fault.startswith("create") else 1, "no")
    watching.faults["pinned"] = (1, OutOfDeviceMemory("no room"))
    with pytest.raises(EngineError):
        open_stand_in(path, watching, watching.library, key=key, **changes)
    assert watching.left == []
    assert ended(watching)


@pytest.mark.parametrize(
    "call", ["set_input_shape", "set_tensor_address", "infer_shapes", "execute_async_v3"]
)
def test_nothing_of_an_engine_that_failed_outlives_its_card(
    path: Path, watching: Watching, call: str
) -> None:
    watching.library.faults[call] = (1, "no")
    with pytest.raises(DeviceError), open_stand_in(path, watching, watching.library) as engine:
        engine.infer(batch(1))
    assert watching.left == []
    assert ended(watching)


FREED_BY_THE_RING = 2 * (4 + 1 + 4)  # buffers, stream and events of two slots
BROKEN = DeviceError("cannot free")


@pytest.mark.parametrize(
    ("fault", "at", "reason"),
    [
        ("free", FREED_BY_THE_RING + 1, "cannot free"),  # the workspace
        ("free", FREED_BY_THE_RING + 2, "cannot free"),  # its event
        ("serialize", 1, "TensorRT for RTX refused RuntimeError: the cache: no reason given"),
    ],
)
def test_what_cannot_be_given_back_is_told_and_the_rest_is_given_back(
    path: Path, watching: Watching, fault: str, at: int, reason: str
) -> None:
    engine = open_stand_in(path, watching, watching.library, slots=2)
    engine.infer(batch(1))
    if fault == "serialize":
        watching.library.faults[fault] = (1, "")
    else:
        watching.faults[fault] = (watching.calls[fault] + at, BROKEN)
    with pytest.raises(DeviceError) as caught:
        engine.close()
    assert str(caught.value) == f"model threshold: cpu failed while it was given back ({reason})"
    assert watching.left == []
    engine.close()
    assert ended(watching)


def test_a_card_that_is_not_to_be_had_again_is_let_go_of(path: Path, watching: Watching) -> None:
    engine = open_stand_in(path, watching, watching.library, slots=2)
    watching.faults["active"] = (watching.calls["active"] + 1, BROKEN)
    with pytest.raises(DeviceError):
        engine.close()
    # What is of the card's own goes with its context; of the library nothing is left.
    assert watching.left == []
    assert not host_threads()


@pytest.mark.parametrize("fault", ["free", "serialize"])
def test_closing_after_the_card_was_lost_is_quiet(
    path: Path, watching: Watching, fault: str
) -> None:
    watching.faults["late_copy_out"] = (2, DeviceError("an illegal address"))
    with open_stand_in(path, watching, watching.library, slots=2) as engine:
        engine.infer(batch(1))
        with pytest.raises(DeviceError) as caught:
            engine.infer(batch(1))
        assert str(caught.value).endswith("(an illegal address)")
        if fault == "serialize":
            watching.library.faults[fault] = (1, "")
        else:
            watching.faults[fault] = (watching.calls[fault] + 1, BROKEN)
    counted = watching.library.calls if fault == "serialize" else watching.calls
    assert counted[fault] >= 1
    assert watching.left == []
    assert ended(watching)


def test_an_engine_that_does_not_load_is_told_before_what_cannot_be_given_back(
    path: Path, watching: Watching
) -> None:
    watching.library.faults["deserialize_cuda_engine"] = (1, "Error Code 6: too old")
    watching.faults["free"] = (1, BROKEN)
    with pytest.raises(DeviceError, match=r"refused the engine: Error Code 6: too old$"):
        open_stand_in(path, watching, watching.library)
    assert ended(watching)
