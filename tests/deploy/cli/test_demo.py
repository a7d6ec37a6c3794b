from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from sklearn.metrics import accuracy_score, jaccard_score

from hptl_deploy.cli.main import run
from support.threshold_model import write_threshold_model

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A model that a test can foresee: thresholds on the grey."""
    write_threshold_model(tmp_path / "models", name="threshold")
    return tmp_path / "models"


def demo(folder: Path, models: Path, *options: str) -> int:
    return run([
        "demo", str(folder), "--images", "2", "--size", "480x320", "--device", "cpu",
        "--models", str(models), "--model", "threshold", *options,
    ])  # fmt: skip


def test_scores_are_those_of_the_files_it_leaves(
    tmp_path: Path, models: Path, capsys: Capture
) -> None:
    folder = tmp_path / "demo"
    assert demo(folder, models, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    labels = sorted((folder / "micrographs" / "labels").iterdir())
    truth = np.concatenate([np.asarray(Image.open(path)).ravel() for path in labels])
    maps = sorted((folder / "results").rglob("*_classes.tif"))
    found = np.concatenate([tifffile.imread(path).ravel() for path in maps])
    assert document["micrographs"] == len(labels) == len(maps) == 2
    scored = found != 255  # scale bars are left out
    assert truth.size == 2 * 480 * 320
    assert document["pixels"] == scored.sum()
    assert document["left_out_pixels"] == (~scored).sum()
    truth, found = truth[scored], found[scored]
    assert document["accuracy"] == pytest.approx(accuracy_score(truth, found))
    assert [phase["iou"] for phase in document["phases"]] == pytest.approx(
        jaccard_score(truth, found, labels=[0, 1, 2], average=None)
    )
    assert document["false_fe_rims"]["counted"] > 0
    assert Path(document["panel"]) == folder / "panel.jpg"
    assert Path(document["results"]) == folder / "results"
    assert Path(document["report"]) == folder / "results" / "report.html"


def test_it_says_where_to_look(tmp_path: Path, models: Path, capsys: Capture) -> None:
    folder = tmp_path / "demo"
    assert demo(folder, models) == 0
    said = capsys.readouterr().out
    assert re.match(
        r"2 synthetic micrographs against their truth: accuracy \d+\.\d\d %, mean IoU \d\.\d{3}\n",
        said,
    )
    assert said.splitlines()[-4:] == [
        f"look at: {folder / 'panel.jpg'}",
        f"report: {folder / 'results' / 'report.html'}",
        f"overlays, class maps and tables: {folder / 'results'}",
        "your own micrographs: hptl-deploy segment FOLDER",
    ]
    with Image.open(folder / "panel.jpg") as panel:
        assert panel.size[0] > 3 * 480
        panel.load()
    assert len(list((folder / "results").rglob("*_overlay.jpg"))) == 2
    # Every frame states its pixel size, and it comes through.
    rows = (folder / "results" / "fields.csv").read_text(encoding="utf-8").splitlines()
    assert all("JPEG EXIF" in row for row in rows[1:])


def test_again_it_takes_over_what_is_done(tmp_path: Path, models: Path, capsys: Capture) -> None:
    folder = tmp_path / "demo"
    assert demo(folder, models) == 0
    first = capsys.readouterr().out
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*_classes.tif")}
    assert demo(folder, models) == 0
    said, noted = capsys.readouterr()
    assert said == first
    assert f"{folder / 'micrographs'}: frames there already: 2" in noted
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_another_series_in_the_same_folder_is_refused(
    tmp_path: Path, models: Path, capsys: Capture
) -> None:
    folder = tmp_path / "demo"
    assert demo(folder, models) == 0
    capsys.readouterr()
    assert demo(folder, models, "--seed", "5") == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"hptl-deploy: {folder / 'micrographs'}: holds frames of another series (seed 2026, "
        "480x320 px, generator 1), not of seed 5, 480x320 px, generator 1. Choose another folder"
    )


def test_a_copy_without_its_model_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("hptl_deploy.bundled.bundled_models_folder", lambda: None)
    assert run(["demo", str(tmp_path / "demo")]) == 2
    assert capsys.readouterr().err == (
        "hptl-deploy: this copy of hptl-deploy lacks its bundled model aluminium-demo. Install it "
        "again, or name a model of yours with --model\n"
    )
    assert not (tmp_path / "demo").exists()


def test_sizes_that_are_none(tmp_path: Path, models: Path, capsys: Capture) -> None:
    assert demo(tmp_path / "demo", models, "--size", "large") == 2
    assert "--size large: expected WIDTHxHEIGHT in px, such as 2560x1920" in capsys.readouterr().err
    assert demo(tmp_path / "demo", models, "--size", "20x2000") == 2
    assert "a frame of 20 x 2000 px: expected sides of 64 to 16384 px" in capsys.readouterr().err
    assert not (tmp_path / "demo" / "micrographs").exists()
