"""`hptl-deploy annotate import` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hptl_deploy.annotations import FORMATS
from hptl_deploy.cli.main import run
from support.annotated import box, labelme, picture, polygon

Capture = pytest.CaptureFixture[str]


def test_what_is_said(tmp_path: Path, capsys: Capture) -> None:
    source = labelme(tmp_path / "in", polygon("fe", *box(0, 0, 5, 5)))
    picture(source / "b.png")
    out = tmp_path / "out"
    assert run(["annotate", "import", str(source), str(out), "--format", "labelme"]) == 0
    said, noted = capsys.readouterr()
    assert noted.splitlines() == [
        "pixels in no shape are aluminium matrix (0)",
        "images without annotations, left out: 1 (b.png)",
    ]
    assert said.splitlines() == [
        f"micrographs: 1, shapes: 1 (labelme), in {out}",
        "labelled pixels",
        "  phase                  px",
        "  aluminium matrix     1975",
        "  Mg2Si                   0",
        "  Fe-containing phase    25",
        "  ignored                 0",
        f"train on it: hptl-deploy train {out}",
    ]


def test_as_json(tmp_path: Path, capsys: Capture) -> None:
    source = labelme(tmp_path / "in", polygon("fe", *box(0, 0, 5, 5)))
    arguments = ["annotate", "import", str(source), str(tmp_path / "out"), "--json"]
    assert run([*arguments, "--unannotated", "ignore"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["pixels"] == {"al": 0, "mg2si": 0, "fe": 25, "ignore": 1975}
    assert run(arguments) == 2
    assert "nothing is written over" in json.loads(capsys.readouterr().out)["error"]


def test_formats_and_help(capsys: Capture) -> None:
    assert run(["annotate", "import", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert all(name in said for name in ("auto", *FORMATS))
    assert "Example: hptl-deploy annotate import" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--format", "word"],
         "--format word: expected auto, cvat, labelme, label-studio, qupath, imagej"),
        (["--unannotated", "white"], "--unannotated white: expected background or ignore"),
        (["--phases", "none.toml"], "none.toml: cannot be read (No such file or directory)"),
    ],
)  # fmt: skip
def test_wrong_words(tmp_path: Path, capsys: Capture, words: list[str], sentence: str) -> None:
    source = labelme(tmp_path / "in", polygon("fe", *box(0, 0, 5, 5)))
    out = tmp_path / "out"
    assert run(["annotate", "import", str(source), str(out), *words]) == 2
    assert capsys.readouterr().err == f"hptl-deploy: {sentence}\n"
    assert not out.exists()
