"""Which layer of device memory is taken, and what the layers call, held against the libraries."""

from __future__ import annotations

import ast
import inspect
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from hptl_deploy.engines.machine import count_cards
from hptl_deploy.engines.memory import LAYERS, Memory, cuda_python, open_memory, pycuda
from hptl_deploy.engines.memory.base import Event
from hptl_deploy.errors import (
    DeviceError,
    EngineError,
    EnvironmentLacks,
    OutOfDeviceMemory,
    UsageError,
)
from support import stand_in_cuda

NO_CARD = pytest.mark.skipif(count_cards() > 0, reason="needs a machine without an NVIDIA card")


@NO_CARD
def test_no_layer_finds_a_card() -> None:
    with pytest.raises(EnvironmentLacks) as caught:
        open_memory(0)
    if find_spec("pycuda") is None and find_spec("cuda.bindings") is not None:
        assert str(caught.value) == (
            "card 0 cannot be used: pycuda cannot be loaded (No module named 'pycuda'); "
            "cuda-python finds no NVIDIA driver. Check the driver with nvidia-smi, and install "
            "cuda-python: pip install cuda-python"
        )


@NO_CARD
@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_that_is_asked_for_says_what_is_missing(layer: str) -> None:
    with pytest.raises(EnvironmentLacks) as caught:
        open_memory(0, layer)
    assert str(caught.value).startswith(layer)
    assert caught.value.exit_code == 3


def test_a_layer_that_does_not_exist() -> None:
    with pytest.raises(UsageError) as caught:
        open_memory(0, "opencl")
    assert str(caught.value) == "device memory through opencl: expected pycuda or cuda-python"


def test_bindings_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(EnvironmentLacks) as caught:
        open_memory(0, "cuda-python")
    assert str(caught.value).startswith("cuda-python cannot be loaded (")
    assert str(caught.value).endswith("). Install it: pip install cuda-python")


@pytest.mark.gpu
def test_a_card_that_is_not_there() -> None:
    cards = count_cards()
    if not cards:
        pytest.skip("needs an NVIDIA card")
    with pytest.raises(EnvironmentLacks) as caught:
        open_memory(cards, "cuda-python")
    assert str(caught.value) == f"cuda-python finds {cards} NVIDIA card(s), none of number {cards}"


def test_a_layer_finds_fewer_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    for layer in LAYERS:
        card = stand_in_cuda.install(monkeypatch, layer)
        with pytest.raises(EnvironmentLacks) as caught:
            open_memory(1, layer)
        assert str(caught.value) == f"{layer} finds 1 NVIDIA card(s), none of number 1"
        assert card.left()


def test_pycuda_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for layer in reversed(LAYERS):
        stand_in_cuda.install(monkeypatch, layer)
        if layer == "cuda-python":
            monkeypatch.setitem(sys.modules, "pycuda", None)
        with open_memory(0) as opened:
            assert opened.layer == layer


@pytest.mark.parametrize("layer", LAYERS)
def test_a_card_that_is_let_go_of_is_current_nowhere(
    monkeypatch: pytest.MonkeyPatch, layer: str
) -> None:
    card = stand_in_cuda.install(monkeypatch, layer)
    open_memory(0, layer).close()
    assert card.left()
    # From a thread that did not open it.
    opened = open_memory(0, layer)
    closing = threading.Thread(target=opened.close)
    closing.start()
    closing.join()
    assert card.left()
    # Where it is current, beside another that stays: ours goes when its block ends.
    with open_memory(0, layer) as other, other.active():
        with open_memory(0, layer) as opened, opened.active(), opened.active():
            opened.close()
        assert (card.retained, len(card.contexts)) == (1, 1)
        with other.event():
            pass
    assert card.left()


def called(module: object, roots: set[str]) -> Iterator[tuple[str, int]]:
    """(name, number of arguments) of every driver function passed to `call` in a module."""
    tree = ast.parse(Path(inspect.getfile(module)).read_text(encoding="utf-8"))  # type: ignore[arg-type]
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "call"
            and isinstance(function := node.args[0], ast.Attribute)
            and ast.unparse(function.value) in roots
        ):
            assert not node.keywords
            yield function.attr, len(node.args) - 1


CU = {"cu", "self.cu", "memory.cu", "self._memory.cu"}


def test_every_function_of_cuda_python_exists_with_as_many_arguments() -> None:
    driver = pytest.importorskip("cuda.bindings.driver", reason="needs cuda-python")
    found = dict(called(cuda_python, CU))
    assert len(found) >= 20
    assert {"cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync", "cuDevicePrimaryCtxRetain"} <= found.keys()
    for name, arguments in found.items():
        assert len(inspect.signature(getattr(driver, name)).parameters) == arguments, name


def test_every_name_of_cuda_python_exists() -> None:
    driver = pytest.importorskip("cuda.bindings.driver", reason="needs cuda-python")
    source = Path(inspect.getfile(cuda_python)).read_text(encoding="utf-8")
    known = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Attribute) or not node.attr.startswith(("cu", "CU")):
            continue
        owner = ast.unparse(node.value)
        if owner in CU:
            assert hasattr(driver, node.attr), node.attr
        elif owner == "of":
            assert hasattr(driver.CUdevice_attribute, node.attr), node.attr
        elif owner.rsplit(".", 1)[0] in CU:
            assert hasattr(getattr(driver, owner.rsplit(".", 1)[1]), node.attr), node.attr
        else:
            assert owner in {"self", "memory", "self._memory"}, owner
            continue
        known.add(node.attr)
    assert {"CU_EVENT_BLOCKING_SYNC", "CUDA_ERROR_OUT_OF_MEMORY", "cuGetErrorString"} <= known


def test_errors_of_the_driver_are_told_in_its_words() -> None:
    driver = pytest.importorskip("cuda.bindings.driver", reason="needs cuda-python")
    memory = object.__new__(cuda_python.CudaPythonMemory)  # without a card: only `call` is used

    class Driver:
        """The bindings, but for the one function that needs the driver's library."""

        CUresult = driver.CUresult

        @staticmethod
        def cuGetErrorString(status: object) -> tuple[object, bytes]:  # noqa: N802
            assert status in (driver.CUresult(2), driver.CUresult(700))
            return driver.CUresult.CUDA_SUCCESS, b"words of the driver"

    memory.cu = Driver  # type: ignore[assignment]

    def cuFails(status: int) -> tuple[object, ...]:  # noqa: N802
        return (driver.CUresult(status), 5, 6)

    assert memory.call(cuFails, 0) == (5, 6)
    with pytest.raises(OutOfDeviceMemory, match=r"^cuFails: words of the driver$"):
        memory.call(cuFails, 2)
    with pytest.raises(DeviceError, match=r"^cuFails: words of the driver$") as caught:
        memory.call(cuFails, 700)
    assert not isinstance(caught.value, OutOfDeviceMemory)
    assert isinstance(caught.value, EngineError)


def test_every_layer_implements_the_whole_interface() -> None:
    for module in (cuda_python, pycuda):
        classes = [
            each
            for each in vars(module).values()
            if inspect.isclass(each) and each.__module__ == module.__name__
        ]
        assert len(classes) == 5
        for each in classes:
            assert not inspect.isabstract(each), each
    assert inspect.isabstract(Memory)
    assert inspect.isabstract(Event)
