from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import helper

from hptl_deploy.engines import ladder, open_engine
from hptl_deploy.errors import EnvironmentLacks, HptlError, ModelError, UsageError
from hptl_deploy.model import Model, load_model
from support.onnx_models import edited, value, with_graph
from support.threshold_model import write_threshold_model


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load_model(write_threshold_model(tmp_path))


def refusal(model: Model, device: str, precision: str | None = None) -> HptlError:
    with pytest.raises(HptlError) as caught:
        open_engine(model, device, precision, announce=print)
    return caught.value


@pytest.mark.parametrize("device", ["tpu", "", "CPU", "cuda:", "cuda:-1", "cuda:x", "cpu:0", "gpu"])
def test_an_unknown_device(model: Model, device: str) -> None:
    error = refusal(model, device)
    assert isinstance(error, UsageError)
    assert str(error) == f"--device {device}: expected auto, cpu, cuda or cuda:N"


def test_a_precision_that_the_file_does_not_have(model: Model) -> None:
    error = refusal(model, "cpu", "int8")
    assert isinstance(error, UsageError)
    assert str(error) == (
        f"{model.path}: asked for int8, the file holds fp32. Leave --precision out"
    )
    with open_engine(model, "cpu", "fp32", announce=print) as engine:
        assert engine.info.precision == "fp32"


@pytest.mark.parametrize(
    ("device", "cards", "reason"),
    [
        ("cuda", 0, "no NVIDIA card answers on this machine (no driver, or no card)"),
        ("cuda:1", 0, "no NVIDIA card answers on this machine (no driver, or no card)"),
        ("cuda:2", 2, "asked for card 2, this machine has 2"),
    ],
)
def test_a_card_that_is_not_there(
    model: Model, monkeypatch: pytest.MonkeyPatch, device: str, cards: int, reason: str
) -> None:
    monkeypatch.setattr(ladder, "count_cards", lambda: cards)
    error = refusal(model, device)
    assert isinstance(error, EnvironmentLacks)
    assert error.exit_code == 3
    assert str(error) == f"--device {device}: {reason}. Use --device cpu"


def test_auto_without_a_card_is_the_cpu(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "count_cards", lambda: 0)
    told: list[str] = []
    with open_engine(model, "auto", announce=told.append) as engine:
        assert (engine.info.backend, engine.info.device) == ("onnxruntime-cpu", "cpu")
    assert told == []


def test_a_card_that_cannot_be_used(
    model: Model, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if ladder.count_cards():
        pytest.skip("needs a machine without an NVIDIA card")
    monkeypatch.setattr(ladder, "count_cards", lambda: 1)  # the driver claims one
    error = refusal(model, "cuda")
    assert isinstance(error, EnvironmentLacks)
    told: list[str] = []
    with open_engine(model, "auto", announce=told.append) as engine:
        assert engine.info.backend == "onnxruntime-cpu"
    assert told == [f"{error}. Running on the CPU instead"]
    assert capfd.readouterr().out == ""  # standard output is the document's


@pytest.mark.parametrize("device", ["cpu", "claimed card"])
def test_a_good_card_on_a_broken_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], device: str
) -> None:
    if device != "cpu":
        monkeypatch.setattr(ladder, "count_cards", lambda: 1)
        device = "cuda"

    def lose_a_node(model: onnx.ModelProto) -> None:
        del model.graph.node[2]

    path = edited(tmp_path, lose_a_node)
    error = refusal(load_model(path), device)
    assert isinstance(error, ModelError)
    assert str(error).startswith(f"{path}: ONNX Runtime refuses it (")
    assert "\n" not in str(error)
    assert capfd.readouterr().out == ""


def test_an_operator_nobody_knows(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Wish", ["micrograph"], ["classes", "confidence"])],
        "wish",
        [value("micrograph", ["N", "H", "W", 3])],
        [value("classes", ["N", "H", "W"]), value("confidence", ["N", "H", "W"])],
    )
    path = with_graph(tmp_path, graph)
    error = refusal(load_model(path), "cpu")
    assert isinstance(error, ModelError)
    assert "Wish" in str(error)
