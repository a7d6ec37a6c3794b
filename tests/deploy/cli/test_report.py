from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from hptl_deploy.cli.main import run
from hptl_deploy.engines import open_engine
from hptl_deploy.files import write_text
from hptl_deploy.model import load_model
from hptl_deploy.report import writing
from hptl_deploy.segmentation import SegmentOptions
from hptl_deploy.segmentation import segment as run_segment
from hptl_deploy.statistics.findings import Findings
from support.drawings import folder_of, rectangles, save
from support.pages import Page
from support.sinks import Recorder
from support.threshold_model import write_threshold_model

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    write_threshold_model(tmp_path / "models")
    return tmp_path / "models"


def segment(source: Path, models: Path, *options: str) -> int:
    return run(["segment", str(source), "--models", str(models), "--device", "cpu", *options])


def text_of(out: Path) -> str:
    return Page((out / "report.html").read_text(encoding="utf-8")).text


def test_every_run_ends_with_a_report(tmp_path: Path, models: Path, capsys: Capture) -> None:
    pixels = rectangles(100, 200, grey=(0, 10, 0, 200), dark=(50, 100, 0, 100))
    save(tmp_path / "in" / "a.png", pixels)
    (tmp_path / "in" / "bad.tif").write_bytes(b"II*\0")
    assert segment(tmp_path / "in", models, "--json") == 1
    out = tmp_path / "in-segmented"
    assert json.loads(capsys.readouterr().out)["report"] == str(out / "report.html")
    text = text_of(out)
    assert "1 field in 1 file · model threshold" in text
    assert "aluminium matrix 65.00" in text
    assert "Mg2Si 10.00" in text
    assert "Fe-containing phase 25.00" in text
    assert "bad.tif" in text
    assert "The pixel size of every field is unknown," in text


def test_it_is_made_again_to_the_byte(tmp_path: Path, models: Path, capsys: Capture) -> None:
    source = folder_of(tmp_path / "µm größe 日本", 3)
    assert segment(source, models) == 0
    out = source.with_name(f"{source.name}-segmented")
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == f"report: {out / 'report.html'}"
    first = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    assert run(["report", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(out / "report.html")}
    assert (out / "report.html").read_bytes() == first


def test_other_folders_are_refused(tmp_path: Path, capsys: Capture) -> None:
    assert run(["report", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"hptl-deploy: {tmp_path}: holds no run.json of segment that can be read, so there is "
        "nothing to report. Name the results folder, which is INPUT-segmented where --out did "
        "not say otherwise\n"
    )
    assert not (tmp_path / "report.html").exists()


def test_without_a_report_an_earlier_one_goes(
    tmp_path: Path, models: Path, capsys: Capture
) -> None:
    source = folder_of(tmp_path / "in", 1)
    assert segment(source, models) == 0
    report = tmp_path / "in-segmented" / "report.html"
    assert report.exists()
    capsys.readouterr()
    assert segment(source, models, "--no-report", "--overwrite") == 0
    assert not report.exists()
    assert "report: " not in capsys.readouterr().out


def test_a_report_of_somebody_else_is_left_alone(
    tmp_path: Path, models: Path, capsys: Capture
) -> None:
    source = folder_of(tmp_path / "in", 1)
    write_text(tmp_path / "mine" / "report.html", "mine")
    assert segment(source, models, "--out", str(tmp_path / "mine")) == 2
    assert "holds a report.html that this program did not write" in capsys.readouterr().err
    assert (tmp_path / "mine" / "report.html").read_text(encoding="utf-8") == "mine"


def test_an_interrupted_run_has_one_too(tmp_path: Path, models: Path) -> None:
    stop = threading.Event()
    with open_engine(load_model(models / "threshold" / "model.onnx"), "cpu") as engine:
        summary = run_segment(
            SegmentOptions(folder_of(tmp_path / "in", 120)), engine,
            Recorder(lambda _: stop.set()), stop,
        )  # fmt: skip
    assert summary.state == "interrupted"
    assert summary.report == summary.out / "report.html"
    remaining = summary.counts["remaining"]
    assert f"The run was interrupted. {remaining} micrographs are not done" in text_of(summary.out)


def test_shards_have_none_and_merge_makes_it(tmp_path: Path, models: Path, capsys: Capture) -> None:
    source = folder_of(tmp_path / "in", 6)
    out = tmp_path / "in-segmented"
    for shard in ("1/2", "2/2"):
        assert segment(source, models, "--shard", shard) == 0
    assert not list(out.rglob("report.html"))
    assert run(["report", str(out)]) == 2
    assert "its shards are not merged yet" in capsys.readouterr().err
    assert run(["merge", str(out)]) == 0
    assert f"report: {out / 'report.html'}" in capsys.readouterr().out
    assert "6 fields in 6 files" in text_of(out)
    assert "shards 2, merged" in text_of(out)
    (out / "report.html").unlink()
    assert run(["merge", str(out), "--no-report"]) == 0
    assert not (out / "report.html").exists()


def test_one_that_cannot_be_written_is_a_sentence(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def held(path: Path, text: str) -> None:
        raise PermissionError(13, "Permission denied")

    source = folder_of(tmp_path / "in", 1)
    monkeypatch.setattr(writing, "write_text", held)
    assert segment(source, models) == 0  # the results are fine
    said, noted = capsys.readouterr()
    out = tmp_path / "in-segmented"
    sentence = (
        f"{out / 'report.html'}: cannot be written (Permission denied). Close programs that hold "
        f"it open, or make room; then: hptl-deploy report {out}"
    )
    assert f"without a report: {sentence}" in noted.splitlines()
    assert "report:" not in said
    assert run(["report", str(out)]) == 2
    assert capsys.readouterr().err == f"hptl-deploy: {sentence}\n"


def test_what_nobody_expected_does_not_fail_a_run_but_is_told(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def broken(folder: Path, findings: Findings) -> Path:
        raise KeyError("area")

    source = folder_of(tmp_path / "in", 1)
    monkeypatch.setattr(writing, "write_report", broken)
    with pytest.raises(KeyError):  # in tests, and only there, it is not held back
        writing.report_after_run(tmp_path, Recorder(), Findings())
    monkeypatch.setattr(writing, "unexpected", lambda _: None)
    assert segment(source, models) == 0
    assert (
        "without a report, by a fault of the program (unexpected KeyError: 'area'); the results "
        f"are whole. hptl-deploy report {tmp_path / 'in-segmented'} says more, please report it"
    ) in capsys.readouterr().err
