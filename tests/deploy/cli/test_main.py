from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer

from hptl_deploy import __version__
from hptl_deploy.cli import main
from hptl_deploy.cli.main import app, run
from support.processes import start
from support.threshold_model import write_threshold_model

COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    write_threshold_model(tmp_path / "models")
    return tmp_path / "models"


def test_a_command_that_goes_well_ends_with_0(models: Path, capsys: Capture) -> None:
    assert run(["use", "threshold", "--models", str(models)]) == 0
    assert capsys.readouterr() == (f"threshold is the default of {models}\n", "")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["info", "--nonsense"], "No such option: --nonsense"),
        (["use"], "Missing argument"),
        (["use", "a", "b"], "Got unexpected extra argument"),
        (["polish"], "No such command 'polish'"),
        (
            ["segment", "in", "--tile", "wide"],
            "Invalid value for '--tile': expected a whole number",
        ),
        (
            ["segment", "in", "--pixel-size", "0,25"],
            "Invalid value for '--pixel-size': expected a number, its decimals behind a point",
        ),
        (["--nonsense"], "No such option: --nonsense"),
    ],
)
@pytest.mark.parametrize("place", ["no", "before", "behind"])
def test_wrong_usage(arguments: list[str], sentence: str, place: str, capsys: Capture) -> None:
    line = {"no": arguments, "before": ["--json", *arguments], "behind": [*arguments, "--json"]}
    assert run(line[place]) == 2
    said, noted = capsys.readouterr()
    assert sentence in noted
    assert "Usage: hptl-deploy" in noted
    assert "Traceback" not in noted
    if place == "no":
        assert said == ""
    else:
        document = json.loads(said)
        assert document["exit_code"] == 2
        assert document["error"].startswith(sentence)


def test_without_a_command_the_help_is_shown(capsys: Capture) -> None:
    assert run([]) in (0, 2)  # as the parser's version has it
    said, noted = capsys.readouterr()
    for command in COMMANDS:
        assert command in said + noted


@pytest.mark.parametrize("place", ["no", "before", "behind"])
def test_an_error_is_a_sentence(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("hptl_deploy.bundled.bundled_models_folder", lambda: None)
    arguments = ["info", "gone", "--models", str(tmp_path)]
    line = {"no": arguments, "before": ["--json", *arguments], "behind": [*arguments, "--json"]}
    sentence = (
        "model gone: found neither a file or folder of that name with a model.onnx in it nor a "
        f"model in {tmp_path} (there: none)"
    )
    assert run(line[place]) == 2
    said, noted = capsys.readouterr()
    assert noted == f"hptl-deploy: {sentence}\n"
    if place == "no":
        assert said == ""
    else:
        assert json.loads(said) == {"error": sentence, "exit_code": 2}


def test_what_the_machine_lacks_ends_with_3(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("hptl_deploy.engines.ladder.count_cards", lambda: 0)
    source = tmp_path / "in"
    source.mkdir()
    assert run(["segment", str(source), "--models", str(models), "--device", "cuda"]) == 3
    assert capsys.readouterr().err == (
        "hptl-deploy: --device cuda: no NVIDIA card answers on this machine (no driver, or no "
        "card). Leave it out, or use --device cpu\n"
    )


@pytest.mark.parametrize("place", [0, 2])
def test_json_is_one_document_and_the_rest_is_on_standard_error(
    models: Path, place: int, capsys: Capture
) -> None:
    for command, key in (("use", "default"), ("info", "name")):
        arguments = [command, "threshold", "--models", str(models)]
        arguments.insert(place, "--json")
        assert run(arguments) == 0
        said, noted = capsys.readouterr()
        assert json.loads(said)[key] == "threshold"
        assert "threshold" in noted


def test_the_version(capsys: Capture) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr() == (f"hptl-deploy {__version__}\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_page_shows_an_example(command: str, capsys: Capture) -> None:
    for flag in ("--help", "-h"):
        assert run([command, flag]) == 0
        said, noted = capsys.readouterr()
        assert said.startswith(f"Usage: hptl-deploy {command} ")
        assert f"Example: hptl-deploy {command}" in re.sub(r"\s+", " ", said)
        assert "--json" in said
        assert noted == ""


@pytest.mark.parametrize("as_json", [False, True])
def test_a_fault_of_the_program_is_a_sentence_and_a_log(
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    as_json: bool,
) -> None:
    def fail(folder: Path, name: str) -> None:
        raise ZeroDivisionError("by µ")

    monkeypatch.delenv("HPTL_DEBUG", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("hptl_deploy.models_folder.set_default", fail)
    arguments = ["use", "threshold", "--models", str(models), *(["--json"] if as_json else [])]
    assert run(arguments) == 1
    said, noted = capsys.readouterr()
    (log,) = tmp_path.glob("hptl-deploy-*.log")
    sentence = (
        "unexpected ZeroDivisionError: by µ. This is a fault of the program; "
        f"{log} says where, please report it"
    )
    assert noted == f"hptl-deploy: {sentence}\n"
    assert (json.loads(said) if as_json else said) == (
        {"error": sentence, "exit_code": 1} if as_json else ""
    )
    trace = log.read_text(encoding="utf-8")
    assert trace.startswith("Traceback")
    assert "in fail" in trace
    monkeypatch.setenv("HPTL_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run(arguments)


def test_an_interrupt_ends_with_130(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def interrupt(folder: Path, name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hptl_deploy.models_folder.set_default", interrupt)
    assert run(["use", "threshold", "--models", str(models)]) == 130
    assert capsys.readouterr().err == "hptl-deploy: interrupted; finished work is kept\n"
    assert run(["--json", "use", "threshold", "--models", str(models)]) == 130
    assert json.loads(capsys.readouterr().out)["exit_code"] == 130


def test_main_ends_the_process_with_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["hptl-deploy", "polish"])
    with pytest.raises(SystemExit) as caught:
        main.main()
    assert caught.value.code == 2


def test_the_process_itself(tmp_path: Path) -> None:
    process = start("info", "gone", "--models", tmp_path, "--json")
    said, noted = process.communicate(timeout=60)
    assert process.returncode == 2
    assert json.loads(said)["exit_code"] == 2
    assert noted.startswith("hptl-deploy: model gone: ")


def test_what_the_file_system_refuses_is_no_fault_of_the_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_threshold_model(tmp_path / "models", name="one")
    (tmp_path / "models" / "default").unlink()
    (tmp_path / "models" / "default").mkdir()  # a folder where the pointer's file must go
    (tmp_path / "models" / "default" / "x").touch()
    assert run(["use", "one", "--models", str(tmp_path / "models")]) == 3
    noted = capsys.readouterr().err
    assert "the file system refuses it (" in noted
    assert "Traceback" not in noted
    assert "fault of the program" not in noted
