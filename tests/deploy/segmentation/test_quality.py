"""Flags and their figures in the tables of a run."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from hptl_deploy.cli.main import run
from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.model import load_model
from hptl_deploy.quality.counts import count
from hptl_deploy.quality.features import FEATURES, answer_features, pixel_features
from hptl_deploy.quality.fitting import Observed, fit
from hptl_deploy.quality.judging import focus_of
from hptl_deploy.quality.row import QUALITY_COLUMNS
from hptl_deploy.quality.statistics import LIMITS
from hptl_deploy.segmentation import RunSummary, SegmentOptions, segment
from hptl_deploy.segmentation.ledger import read_entries
from support.drawings import save
from support.edges import edges
from support.hostile_models import with_fields
from support.mosaic_runs import colours, lower, save_tiff


def rows(summary: RunSummary) -> dict[str, dict[str, str]]:
    with (summary.out / "fields.csv").open(encoding="utf-8", newline="") as handle:
        return {row["file"]: row for row in csv.DictReader(handle)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Stripes of matrix and phase: in order, blurred, clipped, lit aslant."""
    folder = tmp_path / "in"
    plain = edges(1.5, low=60, high=190, noise=1)
    save(folder / "a_plain.png", plain)
    save(folder / "b_blurred.png", edges(4, low=60, high=190, noise=1))
    clipped = plain.copy()
    clipped[100:110, :] = 0  # 10 of 480 rows
    save(folder / "c_clipped.png", clipped)
    light = np.linspace(0.8, 1.2, 640)[None, :, None]
    save(folder / "d_aslant.png", np.rint(plain * light).clip(0, 254).astype(np.uint8))
    return folder


def test_each_fault_has_its_flag(source: Path, engine: Engine) -> None:
    summary = segment(SegmentOptions(source, overlay="none"), engine)
    found = rows(summary)
    assert {file: row["flags"] for file, row in found.items()} == {
        "a_plain.png": "",
        "b_blurred.png": "out of focus",
        "c_clipped.png": "saturated",
        "d_aslant.png": "uneven illumination; low confidence",  # unsure where it is bright
    }
    assert float(found["a_plain.png"]["focus"]) == pytest.approx(1.5, rel=0.05)
    assert float(found["b_blurred.png"]["focus"]) == pytest.approx(4, rel=0.05)
    assert float(found["c_clipped.png"]["saturated_fraction"]) == pytest.approx(10 / 480)
    assert float(found["d_aslant.png"]["illumination_range"]) == pytest.approx(0.4, abs=0.03)
    assert {row["unlike_training"] for row in found.values()} == {""}  # the card has no statistics
    expected = {"out of focus": 1, "saturated": 1, "uneven illumination": 1, "low confidence": 1}
    assert summary.flags == expected
    document = json.loads((summary.out / "run.json").read_text(encoding="utf-8"))
    assert document["flags"] == expected
    header = (summary.out / "fields.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    place = header.index("mean_confidence") + 1
    assert tuple(header[place : place + len(QUALITY_COLUMNS)]) == QUALITY_COLUMNS


def test_rows_are_the_same_tiled_and_resumed(source: Path, tmp_path: Path, engine: Engine) -> None:
    whole = segment(SegmentOptions(source, tmp_path / "whole"), engine)
    tiled = segment(SegmentOptions(source, tmp_path / "tiled", tile=128), engine)
    text = (whole.out / "fields.csv").read_bytes()
    assert (tiled.out / "fields.csv").read_bytes() == text
    again = segment(SegmentOptions(source, tmp_path / "whole"), engine)
    assert again.counts["skipped"] == 4
    assert again.flags == whole.flags
    assert (whole.out / "fields.csv").read_bytes() == text


@pytest.fixture
def knowing(tmp_path: Path) -> Iterator[Engine]:
    """A model whose card states a pixel size and knows frames like the plain one."""
    training = []
    for seed in range(20):
        pixels = edges(1.5, low=55 + seed % 10, high=190, noise=1, seed=seed)
        classes = (pixels[..., 0] < 145).astype(np.uint8) + (pixels[..., 0] < 85)
        seen = pixel_features(pixels)
        said = answer_features(classes, 255 - pixels[..., 0] // 2)
        assert seen is not None
        assert said is not None
        figures = {**dict.fromkeys(LIMITS), "unsure_fraction": 0.5}
        training.append(Observed(np.concatenate([seen, said]), figures, None))
    statistics = fit(FEATURES, training, [])
    assert statistics is not None
    path = with_fields(
        tmp_path / "knowing", pixel_size_um=0.1, training_statistics=statistics.to_json()
    )
    with open_engine(load_model(path), "cpu") as opened:
        yield opened


def test_with_statistics_in_the_card(source: Path, knowing: Engine) -> None:
    save(source / "e_inverted.png", 255 - edges(1.5, low=60, high=190, noise=1))
    options = SegmentOptions(source, overlay="none", pixel_size_um=0.3, rescale="off")
    summary = segment(options, knowing)
    found = rows(summary)
    unlike = {file: "unlike the training set" in row["flags"] for file, row in found.items()}
    assert not unlike["a_plain.png"]
    assert float(found["a_plain.png"]["unlike_training"]) < 1
    assert unlike["e_inverted.png"]
    assert float(found["e_inverted.png"]["unlike_training"]) > 1
    assert all("pixel size outside training" in row["flags"] for row in found.values())
    # At another pixel size, what the network is given is compared: a third of it, unlike any.
    other = rows(segment(replace(options, out=source.parent / "rescaled", rescale="auto"), knowing))
    assert other["a_plain.png"]["focus"] == found["a_plain.png"]["focus"]
    assert float(other["a_plain.png"]["unlike_training"]) > 1
    # What was learned from raises no flag.
    assert "low confidence" not in found["d_aslant.png"]["flags"]
    unknown = segment(
        SegmentOptions(source / "a_plain.png", source.parent / "other", overlay="none"), knowing
    )
    assert unknown.flags == {"pixel size unknown": 1}


def test_a_mosaic_counts_in_its_bands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    pixels = colours()
    pixels[:40] = 0
    source = save_tiff(tmp_path / "in" / "m.tif", pixels).parent
    (plain,) = rows(segment(SegmentOptions(source, tmp_path / "plain"), engine)).values()
    lower(monkeypatch.setattr)
    summary = segment(SegmentOptions(source, tmp_path / "banded"), engine)
    (banded,) = rows(summary).values()
    known = ("saturated_fraction", "unsure_fraction")
    assert [banded[name] for name in known] == [plain[name] for name in known]
    assert float(banded["saturated_fraction"]) > 40 / 1100
    assert banded["focus"] == banded["illumination_range"] == banded["unlike_training"] == ""
    assert banded["flags"] == "saturated"


def test_fields_of_a_mosaic_have_figures_and_flags_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_limits: None, engine: Engine
) -> None:
    """In the ledger and, counted, in the report; those of pixel size are the mosaic's."""
    monkeypatch.setattr("hptl_deploy.measurement.particle_fields.FIELD_HEIGHT", 280)
    pixels = colours().clip(20, 230)
    pixels[300:330] = 255
    source = save_tiff(tmp_path / "in" / "m.tif", pixels)
    summary = segment(SegmentOptions(source, tmp_path / "out", confidence=True), engine)
    (entry,) = read_entries(summary.out)
    found = entry.rows[0]["mosaic_fields"]
    classes, confidence = (
        tifffile.imread(summary.out / f"m_{kind}.tif") for kind in ("classes", "confidence")
    )
    for field in found:
        here = slice(field["y_px"], field["y_px"] + field["height_px"])
        part = count(pixels[here], classes[here], confidence[here])
        assert field["saturated_fraction"] == part.saturated_fraction
        assert field["unsure_fraction"] == part.unsure_fraction
        grid = (here.start + here.stop) // 2 // 256 * 256
        middle = slice(max(here.start, grid), min(here.stop, grid + 256))
        assert field["focus"] == focus_of(pixels[middle], classes[middle])
    assert ["saturated" in field["flags"] for field in found] == [False, True, False, False]
    unsure = sum("low confidence" in field["flags"] for field in found)
    text = (summary.out / "report.html").read_text(encoding="utf-8")
    told = re.sub(r"<[^>]*>", "", text)
    assert "Of the 4 fields that mosaics are divided into: " in told
    assert "1 saturated (m.tif)" in told
    assert (f"{unsure} low confidence (m.tif)" in told) == bool(unsure)


def test_the_command_counts_flags(
    source: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(engine.model.path)
    arguments = ["segment", str(source), "--model", model, "--device", "cpu"]
    assert run(arguments) == 0
    assert (
        "fields with a flag: out of focus 1, saturated 1, uneven illumination 1, low confidence 1 "
        "(fields.csv names them)" in capsys.readouterr().out.splitlines()
    )
    assert run([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["flags"] == {
        "out of focus": 1, "saturated": 1, "uneven illumination": 1, "low confidence": 1,
    }  # fmt: skip
