"""`hptl-deploy bench` as it is typed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from hptl_deploy.bench import peak
from hptl_deploy.cli.main import run
from support.drawings import folder_of
from support.threshold_model import write_threshold_model

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "_SIDES", {"cpu": 64, "cuda": 64})


@pytest.fixture
def models(tmp_path: Path) -> Path:
    write_threshold_model(tmp_path / "models")
    return tmp_path / "models"


def bench(models: Path, *options: str) -> int:
    return run(["bench", "--models", str(models), "--device", "cpu", "--repeats", "2", *options])


def test_the_tables_say_what_ran_how_fast_and_what_did_not(
    models: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The threshold model is no network that torch could rebuild; without torch it is said, too.
    monkeypatch.setitem(sys.modules, "hptl_train.torch_contender", None)
    assert bench(models, "--size", "130x90") == 0
    said, noted = capsys.readouterr()
    lines = said.splitlines()
    assert lines[0] == "2 synthetic micrographs of 130 x 90 px; 2 rounds"
    # 6 operations per pixel, of 136 x 96 where the frame has 130 x 90.
    assert lines[1] == (
        "  network    threshold: 7.834e-05 GFLOP per frame, 6.7e-06 MFLOP per pixel"
    )
    assert re.fullmatch(r"  processor  .+, \d+ cores", lines[2])
    title = (
        "engines, from a decoded micrograph to its class map; x and ppm against "
        "onnxruntime-cpu fp32"
    )
    place = lines.index(title)
    assert re.split(r"  +", lines[place + 1].strip()) == [
        "engine", "device", "ms/frame", "fastest", "Mpx/s", "x", "of peak", "ppm", "memory",
    ]  # fmt: skip
    number = r"[\d.e+-]+"
    assert re.fullmatch(
        rf"  onnxruntime-cpu fp32 +cpu +{number} +{number} +{number} +1\.00 +\d+ % +0 +1 MiB",
        lines[place + 2],
    )
    place = lines.index("from file to file, 3 TIFF files; ms per file that a stage was at work")
    assert re.split(r"  +", lines[place + 1].strip()) == [
        "engine", "files/s", "read", "infer", "write",
    ]  # fmt: skip
    assert lines[-1] == (
        "not here: torch fp32: comparing with torch needs the library hptl_train.torch_contender, "
        'which is not installed. Install it: pip install "hptl-deploy[train]"'
    )
    assert re.search(r"^model threshold \([0-9a-f]{12}, ", noted)


def test_json_is_one_document(models: Path, capsys: Capture) -> None:
    assert bench(models, "--size", "130x90", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    (engine,) = document["engines"]
    assert engine["name"] == "onnxruntime-cpu fp32"
    assert len(engine["seconds"]) == 2
    assert document["model"]["name"] == "threshold"


def test_micrographs_of_a_folder(tmp_path: Path, models: Path, capsys: Capture) -> None:
    source = folder_of(tmp_path / "mine", 3)
    assert bench(models, "--input", str(source)) == 0
    assert re.match(r"2 micrographs of \d+ x \d+ px of mine; 2 rounds\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--size", "130x90", "--input", "mine"],
            "--size 130x90: the micrographs of --input have their own size. Leave one of the two "
            "out",
        ),
        (["--device", "tpu"], "--device tpu: expected auto, cpu, cuda or cuda:N"),
        (["--size", "8x8"], "a frame of 8 x 8 px: expected sides of 64 to 16384 px"),
        (["--input", "nowhere"], "nowhere: does not exist. Name a folder or a micrograph file"),
    ],
)
def test_what_cannot_be_meant(
    models: Path, capsys: Capture, options: list[str], sentence: str
) -> None:
    size = [] if "--input" in options or "--size" in options else ["--size", "64x64"]
    assert bench(models, *size, *options) == 2
    assert f"hptl-deploy: {sentence}" in capsys.readouterr().err.splitlines()
