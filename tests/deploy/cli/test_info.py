from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from hptl_deploy.cli.main import run
from hptl_deploy.engines.record import record_path
from hptl_deploy.model import load_model
from hptl_export.files import write_model
from support.stand_in_tensorrt import write_engine
from support.threshold_model import write_threshold_model


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A model in three precisions, with an engine that is sound and one that is not."""
    folder = tmp_path / "models"
    path = write_threshold_model(folder, name="alloy")
    card, proto = load_model(path).card, onnx.load(path)
    half = path.with_name("model.fp16.onnx")
    write_model(proto, replace(card, precision="fp16", checks={"change": "0.0001"}), half)
    eighth = replace(card, precision="int8", quantised_for="cpu", checks={"change": "0.004"})
    write_model(proto, eighth, path.with_name("model.int8.onnx"))
    engine, _ = write_engine(half)
    other = engine.with_name("int8-tensorrt-0.engine")
    other.write_bytes(b"")
    record_path(other).write_text("{}")
    return folder


def test_what_stands_beside_a_model(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", "alloy", "--models", str(models)]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert "fp16" in lines
    assert "int8 for cpu" in lines
    assert lines[lines.index("fp16") + 3] == "  checked: change 0.0001"
    assert lines[lines.index("int8 for cpu") + 3] == "  checked: change 0.004"
    (engine,) = (models / "alloy/engines").glob("fp16-*.engine")
    place = lines.index(f"engine {engine}")
    assert lines[place + 1 : place + 3] == [
        "  fp16 for tensorrt-rtx 1.7.1, cards of 8.0, 8.6, 8.9, 12.0",
        "  shapes       frame 1x24x32, tiles 1x8x8 to 4x136x200",
    ]
    bad = models / "alloy/engines/int8-tensorrt-0.engine"
    place = lines.index(f"engine {bad}")
    assert lines[place + 1] == (
        f"  {record_path(bad)}: expected an engine's record of schema 1, found None"
    )


def test_the_document(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", "alloy", "--models", str(models), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["precision"] == "fp32"
    beside = {other["precision"]: other for other in document["precisions"]}
    assert beside.keys() == {"fp16", "int8"}
    assert beside["int8"]["quantised_for"] == "cpu"
    assert Path(beside["fp16"]["path"]) == models / "alloy/model.fp16.onnx"
    bad, good = sorted(document["engines"], key=lambda engine: "error" not in engine)
    assert good["onnx_sha256"] == beside["fp16"]["sha256"]
    assert "schema 1" in bad["error"]


def test_a_file_alone_has_nothing_beside_it(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["info", str(models / "alloy/model.int8.onnx"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["precision"] == "int8"
    assert document["precisions"] == []
