"""`hptl-deploy export` with every precision and an engine, from a run to what `info` shows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hptl_deploy.cli.main import run as run_command
from hptl_deploy.engines import open_engine
from hptl_deploy.engines.flavour import Flavour
from hptl_deploy.model import load_model
from hptl_export import precisions
from hptl_export.thresholds import Limits
from hptl_train.run_folder import RunFolder

FRAME = "160x128"


def test_every_precision_and_an_engine(
    run: RunFolder, tmp_path: Path, rtx: Flavour, capsys: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "models"
    arguments = ["export", str(run.path), "--models", str(models), "--fp16", "--int8"]
    code = run_command([*arguments, "--engine", rtx.key, "--frame", FRAME, "--json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    document = json.loads(said.out)
    assert document["failed"] == []
    whole = load_model(models / "drawn/model.onnx")
    half, eighth = (load_model(models / f"drawn/model.{kind}.onnx") for kind in ("fp16", "int8"))
    assert [entry["sha256"] for entry in document["precisions"]] == [half.sha256, eighth.sha256]
    for other in (half, eighth):
        assert other.card.derived_from == whole.sha256
        assert "change of IoU against fp32" in other.card.checks
    # Every file says what it must give; fp16 is held to what fp32 gives.
    assert whole.card.probe is not None
    assert half.card.probe == whole.card.probe
    (engine,) = document["engines"]
    assert engine["precision"] == "fp16"  # what a card runs of its own accord
    assert run_command(["info", "drawn", "--models", str(models), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    (record,) = shown["engines"]
    assert record["path"] == engine["path"]
    assert record["onnx_sha256"] == half.sha256
    assert record["profiles"]["frame"] == [1, 128, 160]
    frame = whole.card.probe.frame[None]
    for kind in ("fp32", "int8"):
        with open_engine(whole, "cpu", kind) as opened:
            answer = opened.infer(frame).classes[0]
            assert whole.card.probe.differing(answer) <= whole.card.probe.tolerated
            assert answer.dtype == np.uint8


def test_a_precision_that_fails_is_named_and_the_rest_is_done(
    run: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(precisions, "FP16", Limits(logits=0, classes_ppm=0, iou=0, area=0))
    models = tmp_path / "models"
    arguments = ["export", str(run.path), "--models", str(models), "--fp16", "--int8"]
    assert run_command([*arguments, "--engine", "none", "--json"]) == 1
    said = capsys.readouterr()
    document = json.loads(said.out)
    (failure,) = document["failed"]
    assert failure.startswith("drawn in half precision, compared with fp32 on crops of 1 ")
    assert "its logits differ by " in failure
    assert failure.endswith("This precision was not published")
    assert failure in said.err
    assert [entry["precision"] for entry in document["precisions"]] == ["int8"]
    assert sorted(path.name for path in (models / "drawn").iterdir()) == [
        "model.int8.onnx", "model.onnx",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--engine", "openvino"],
         "--engine openvino: expected auto, tensorrt, tensorrt-rtx, none"),
        (["--engine", "none", "--target", "turing"],
         "--target turing: says nothing without an engine"),
        (["--frame", "big"], "--frame big: expected WIDTHxHEIGHT in px, such as 2560x1920"),
        (["--frame", "99999x10"], "frames of 99999 x 10 px: expected 1 to 16384 px a side. Larger "
         "micrographs go in tiles whatever the engine was made for"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_said_before_any_work(
    run: RunFolder,
    tmp_path: Path,
    options: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = run_command(["export", str(run.path), "--models", str(tmp_path / "models"), *options])
    assert (code, capsys.readouterr().err) == (2, f"hptl-deploy: {sentence}\n")
    assert not (tmp_path / "models").exists()
