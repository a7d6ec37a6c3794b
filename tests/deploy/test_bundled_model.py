"""The model that comes with the program does what the README says of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hptl_deploy.bundled import BUNDLED, bundled_models_folder
from hptl_deploy.cli.main import run
from hptl_deploy.model import Model, load_model
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.quality.features import FEATURES

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder() -> Path:
    models = bundled_models_folder()
    assert models is not None
    return models / BUNDLED


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load_model(folder / "model.onnx")


def demo(folder: Path, capsys: Capture, *options: str) -> dict[str, Any]:
    assert run(["demo", str(folder), "--device", "cpu", "--json", *options]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_it_is_small(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.rglob("*")) <= 12_000_000


def test_its_card_tells_where_it_comes_from(model: Model) -> None:
    card = model.card
    assert card.name == BUNDLED
    assert card.phases == PAPER_PHASES
    assert card.synthetic
    assert card.precision == "fp32"
    assert [step.network for step in card.lineage] == ["vgg19", "fcn32s", "fcn16s", "fcn8s"]
    assert card.lineage[0].data.startswith("photographs")
    assert all("synthetic aluminium" in step.data for step in card.lineage[1:])
    assert all(step.transferred > 0 for step in card.lineage[1:])
    assert card.weights_licence != "not stated"
    assert card.data_licence == "CC0-1.0"


def test_its_statistics_are_of_what_it_learned_from(model: Model) -> None:
    statistics = model.card.training_statistics
    assert statistics is not None
    assert statistics.features == FEATURES
    assert (statistics.frames, statistics.held_out) == (64, 24)
    assert statistics.pixel_sizes_um is not None
    smallest, largest = statistics.pixel_sizes_um
    assert 0.06 <= smallest < 0.065
    assert 0.13 < largest <= 0.14


def flagged(fields: Path, flag: str) -> list[bool]:
    with fields.open(encoding="utf-8", newline="") as handle:
        return [flag in row["flags"].split("; ") for row in csv.DictReader(handle)]


def test_it_knows_photographs_from_micrographs(tmp_path: Path, capsys: Capture) -> None:
    from PIL import Image
    from skimage import data

    (tmp_path / "in").mkdir()
    for name in ("camera", "coins", "page"):
        Image.fromarray(getattr(data, name)()).save(tmp_path / "in" / f"{name}.png")
    assert run(["segment", str(tmp_path / "in"), "--model", BUNDLED, "--device", "cpu"]) == 0
    assert all(flagged(tmp_path / "in-segmented" / "fields.csv", "unlike the training set"))


def check(document: dict[str, Any]) -> None:
    """What is promised of frames it has not seen."""
    iou = {phase["key"]: phase["iou"] for phase in document["phases"]}
    assert document["accuracy"] >= 0.99
    assert min(iou["mg2si"], iou["fe"]) >= 0.75
    assert document["false_fe_rims"]["share"] <= 0.02


def test_frames_of_an_unseen_seed(tmp_path: Path, capsys: Capture) -> None:
    check(demo(tmp_path, capsys, "--images", "8", "--size", "1280x960", "--seed", "4040"))
    (fields,) = tmp_path.rglob("fields.csv")
    for flag in ("out of focus", "unlike the training set", "low confidence"):
        assert sum(flagged(fields, flag)) <= 1


@pytest.mark.slow
def test_forty_whole_frames_of_an_unseen_seed(tmp_path: Path, capsys: Capture) -> None:
    check(demo(tmp_path, capsys, "--images", "40", "--seed", "4040"))
    (fields,) = tmp_path.rglob("fields.csv")
    for flag in ("out of focus", "unlike the training set", "low confidence"):
        assert sum(flagged(fields, flag)) <= 2


def test_an_empty_frame_stays_empty(tmp_path: Path, capsys: Capture) -> None:
    """Flat grey, as between two grains: nothing but matrix."""
    from PIL import Image

    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for grey in (110, 150, 190):
        flat = rng.normal((0.94 * grey, grey, 1.03 * grey), 3, (320, 480, 3))
        Image.fromarray(flat.clip(0, 255).astype(np.uint8)).save(tmp_path / "in" / f"{grey}.png")
    options = ["--model", BUNDLED, "--device", "cpu", "--json"]
    assert run(["segment", str(tmp_path / "in"), *options]) == 0
    fractions = json.loads(capsys.readouterr().out)["mean_area_fractions"]
    assert fractions["mg2si"] + fractions["fe"] <= 0.001
