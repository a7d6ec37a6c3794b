"""The model that comes with the program, and models that learned from synthetic frames."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hptl_deploy.bundled import BUNDLED
from hptl_deploy.cli.main import run
from support.drawings import folder_of
from support.threshold_model import write_threshold_model

Capture = pytest.CaptureFixture[str]

SYNTHETIC = "learned from synthetic micrographs alone"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundled model; returns its file."""
    path = write_threshold_model(tmp_path / "program", name=BUNDLED, synthetic=True)
    monkeypatch.setattr("hptl_deploy.bundled.bundled_models_folder", lambda: tmp_path / "program")
    return path


def segment(tmp_path: Path, *options: str) -> int:
    source, models = folder_of(tmp_path / "in", 1), str(tmp_path / "models")
    return run(["segment", str(source), "--models", models, "--device", "cpu", *options])


def notes(capsys: Capture, word: str) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if word in line]


def test_where_nothing_was_named_it_runs_and_says_what_it_learned_from(
    tmp_path: Path, program: Path, capsys: Capture
) -> None:
    assert segment(tmp_path) == 0
    assert notes(capsys, "synthetic") == [
        f"no model was named and the folder {tmp_path / 'models'} has no default, so the bundled "
        "aluminium-demo runs, which learned from synthetic micrographs of as-cast aluminium "
        "alone: check its overlays before trusting its numbers"
    ]
    record = json.loads((tmp_path / "in-segmented" / "run.json").read_text(encoding="utf-8"))
    assert record["model"]["path"] == str(program)


@pytest.mark.usefixtures("program")
def test_named_it_says_less(tmp_path: Path, capsys: Capture) -> None:
    assert segment(tmp_path, "--model", BUNDLED, "--json") == 0
    said, noted = capsys.readouterr()
    assert json.loads(said)["model"]["name"] == BUNDLED
    assert f"model {BUNDLED} {SYNTHETIC}" in noted.splitlines()
    assert "no model was named" not in noted


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize("synthetic", [True, False])
def test_ones_own_model_runs_before_it_and_says_what_it_learned_from(
    tmp_path: Path, synthetic: bool, capsys: Capture
) -> None:
    write_threshold_model(tmp_path / "models", name="mine", synthetic=synthetic)
    assert segment(tmp_path) == 0
    assert notes(capsys, "synthetic") == ([f"model mine {SYNTHETIC}"] if synthetic else [])


@pytest.mark.parametrize("name", [[], [BUNDLED]])
def test_info_shows_it(tmp_path: Path, program: Path, name: list[str], capsys: Capture) -> None:
    arguments = ["info", *name, "--models", str(tmp_path / "models")]
    assert run(arguments) == 0
    said = capsys.readouterr().out
    assert str(program) in said
    assert f"  {SYNTHETIC}\n" in said
    assert run([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["path"], document["synthetic"]) == (str(program), True)


@pytest.mark.usefixtures("program")
def test_info_of_a_model_of_real_micrographs(tmp_path: Path, capsys: Capture) -> None:
    write_threshold_model(tmp_path / "models")
    assert run(["info", "--models", str(tmp_path / "models")]) == 0
    assert "synthetic" not in capsys.readouterr().out


@pytest.mark.usefixtures("program")
def test_use_says_how_it_runs(tmp_path: Path, capsys: Capture) -> None:
    models = tmp_path / "models"
    assert run(["use", BUNDLED, "--models", str(models)]) == 2
    assert capsys.readouterr().err == (
        f"hptl-deploy: model {BUNDLED}: {models} does not hold it (there: none; with the program: "
        f"{BUNDLED}). It comes with the program: --model {BUNDLED} runs it, and so does leaving "
        "--model out\n"
    )
    assert not models.exists()
