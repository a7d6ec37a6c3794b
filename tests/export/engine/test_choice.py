from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import hptl_export.engine
from hptl_deploy.engines.flavour import Flavour
from hptl_deploy.engines.machine import count_cards
from hptl_deploy.engines.record import read_record
from hptl_deploy.errors import EnvironmentLacks, HptlError, ModelError, UsageError
from hptl_deploy.model import Model
from hptl_export.engine import build_for_export
from support.engine_models import MISFIT, hostile_model, small_model
from support.sinks import Recorder

FRAME = (64, 96)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return small_model(tmp_path)


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)


def refusal(call: Callable[[], object], kind: type[HptlError]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize("engine", ["auto", "tensorrt-rtx"])
def test_the_flavour_that_is_installed(
    model: Model, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    without(monkeypatch, "tensorrt")
    sink = Recorder()
    path = build_for_export(model, engine, None, sink, frame=FRAME)
    assert path is not None
    assert read_record(path).flavour == "tensorrt-rtx"
    assert sink.advanced
    again = Recorder()
    assert build_for_export(model, engine, None, again, frame=FRAME) == path
    assert not again.advanced


@pytest.mark.usefixtures("rtx")
def test_a_target(model: Model) -> None:
    path = build_for_export(model, "auto", "turing", Recorder(), frame=FRAME)
    assert path is not None
    assert read_record(path).gpu == ("7.5",)
    assert refusal(lambda: build_for_export(model, "auto", "hopper", Recorder()), UsageError) == (
        "--target hopper: expected portable or turing"
    )


def test_auto_where_none_is_installed(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "tensorrt", "tensorrt_rtx")
    sink = Recorder()
    assert build_for_export(model, "auto", None, sink) is None
    assert sink.notes == [
        "no TensorRT that can build here is installed, so there is no engine; the model runs "
        'without. One that needs no card to build: pip install "hptl-deploy[tensorrt-rtx]"'
    ]
    assert not (model.path.parent / "engines").exists()


def test_auto_where_only_the_one_is_installed_that_needs_a_card(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    if count_cards():
        pytest.skip("needs a machine without an NVIDIA card")
    without(monkeypatch, "tensorrt", "tensorrt_rtx")
    (tmp_path / "tensorrt.py").write_text("__version__ = '11.0.0'")
    monkeypatch.delitem(sys.modules, "tensorrt")
    monkeypatch.syspath_prepend(tmp_path)
    sink = Recorder()
    assert build_for_export(model, "auto", None, sink) is None
    assert len(sink.notes) == 1
    text = refusal(lambda: build_for_export(model, "tensorrt", None, Recorder()), EnvironmentLacks)
    assert text.startswith("TensorRT builds on the card itself, and no NVIDIA card answers")


@pytest.mark.parametrize("key", ["tensorrt", "tensorrt-rtx"])
def test_a_flavour_asked_for_by_name_must_be_there(
    model: Model, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    without(monkeypatch, "tensorrt", "tensorrt_rtx")
    text = refusal(lambda: build_for_export(model, key, None, Recorder()), EnvironmentLacks)
    assert text.endswith(f'Install it: pip install "hptl-deploy[{key}]"')


def test_a_graph_that_cannot_be_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rtx: Flavour
) -> None:
    without(monkeypatch, "tensorrt")
    model = hostile_model(tmp_path, *MISFIT)
    text = refusal(lambda: build_for_export(model, rtx.key, None, Recorder()), ModelError)
    assert text.startswith(f"{model.path}: TensorRT for RTX cannot build it (operator Conv: ")
    sink = Recorder()
    assert build_for_export(model, "auto", None, sink) is None
    assert sink.notes[-1] == f"no engine was built, the model runs without: {text}"


def test_no_engine(model: Model) -> None:
    sink = Recorder()
    assert build_for_export(model, "none", None, sink) is None
    assert sink.notes == []
    assert not (model.path.parent / "engines").exists()
    text = refusal(lambda: build_for_export(model, "none", "turing", sink), UsageError)
    assert text == "--target turing: says nothing without an engine"


def test_an_unknown_choice(model: Model) -> None:
    text = refusal(lambda: build_for_export(model, "openvino", None, Recorder()), UsageError)
    assert text == "--engine openvino: expected auto, tensorrt, tensorrt-rtx, none"


def test_no_module_loads_torch() -> None:
    folder = Path(hptl_export.engine.__file__).parent
    names = [f"hptl_export.engine.{path.stem}" for path in folder.glob("*.py")]
    assert "hptl_export.engine.build" in names
    code = (
        "import importlib, sys\n"
        "for name in ('torch', 'hptl_train', 'tensorrt_rtx'): sys.modules[name] = None\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
