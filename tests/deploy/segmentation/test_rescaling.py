"""Micrographs of another pixel size than the model learned from."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.engines.base import Prediction
from hptl_deploy.errors import UsageError
from hptl_deploy.model import load_model
from hptl_deploy.segmentation import RunSummary, SegmentOptions, segment
from support.sinks import Recorder
from support.threshold_model import write_threshold_model

TRAINED_UM = 0.5
LEVELS = np.array([200, 120, 40], np.uint8)
"""Grey levels of the three classes, each far from the model's thresholds."""
FIELD_UM = (90.0, 140.0)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The plain threshold model, trained at `TRAINED_UM`."""
    folder = tmp_path_factory.mktemp("trained")
    path = write_threshold_model(folder, pixel_size_um=TRAINED_UM)
    with open_engine(load_model(path), "cpu") as opened:
        yield opened


def drawn(pixel_um: float) -> NDArray[np.uint8]:
    """Classes, uint8 [H, W], of one field of `FIELD_UM` at a pixel size: bars, boxes and discs."""
    height, width = (round(side / pixel_um) for side in FIELD_UM)
    y = (np.arange(height)[:, None] + 0.5) * pixel_um
    x = (np.arange(width)[None] + 0.5) * pixel_um
    classes = np.zeros((height, width), np.uint8)
    classes[((y - 30) ** 2 + (x - 40) ** 2 < 18**2)] = 1
    classes[((y - 60) ** 2 + (x - 100) ** 2 < 21**2)] = 2
    classes[(y > 70) & (y < 84) & (x > 8) & (x < 61)] = 1
    classes[(abs(y - 12) < 7) & (abs(x - 110) < 25)] = 2
    return classes


def save(path: Path, classes: NDArray[np.uint8], pixel_um: float | None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(LEVELS[classes])
    if pixel_um is None:
        picture.save(path)
    else:
        picture.save(path, dpi=(25400 / pixel_um, 25400 / pixel_um))
    return path


def rows_of(summary: RunSummary) -> list[dict[str, str]]:
    with (summary.out / "fields.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def run_document(summary: RunSummary) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((summary.out / "run.json").read_text(encoding="utf-8"))
    return document


def near_edges(classes: NDArray[np.uint8], distance: int) -> NDArray[np.bool_]:
    """Pixels within `distance`, in rows and columns, of one of another class."""
    padded = np.pad(classes, distance, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * distance + 1,) * 2)
    near: NDArray[np.bool_] = windows.min((2, 3)) != windows.max((2, 3))
    return near


@pytest.mark.parametrize("pixel_um", [0.125, 0.3, 0.45, 0.7, 1.0, 2.0])
def test_what_is_drawn_at_any_size_comes_back_on_its_own_pixels(
    tmp_path: Path, trained: Engine, pixel_um: float
) -> None:
    classes = drawn(pixel_um)
    source = save(tmp_path / "in" / "a.png", classes, pixel_um)
    summary = segment(SegmentOptions(source, tmp_path / "out", confidence=True), trained)
    assert summary.failures == ()
    back = tifffile.imread(summary.out / "a_classes.tif")
    assert back.shape == classes.shape
    assert tifffile.imread(summary.out / "a_confidence.tif").shape == classes.shape
    with Image.open(summary.out / "a_overlay.jpg") as overlay:
        assert overlay.size == classes.shape[::-1]
    # Grey borders between 200 and 40 pass through 120's class, a seen pixel or two wide.
    border = near_edges(classes, 1 + round(TRAINED_UM / pixel_um))
    assert (back != classes)[~border].sum() == 0
    for index in range(3):
        assert (back == index).mean() == pytest.approx((classes == index).mean(), abs=0.02)
    (row,) = rows_of(summary)
    assert float(row["pixel_size_um"]) == pytest.approx(pixel_um, rel=1e-4)
    assert float(row["segmented_pixel_size_um"]) == pytest.approx(TRAINED_UM, rel=0.009)
    assert (int(row["height_px"]), int(row["width_px"])) == classes.shape


def test_sizes_in_the_results_are_the_micrographs_own(tmp_path: Path, trained: Engine) -> None:
    source = save(tmp_path / "in" / "a.png", drawn(0.25), 0.25)
    out = segment(SegmentOptions(source, tmp_path / "out"), trained).out
    with tifffile.TiffFile(out / "a_classes.tif") as file:
        page = file.pages.first
        assert page.tags["XResolution"].value == (40000, 1)  # per cm
        about = json.loads(page.description)
    assert about["pixel_size_um"] == pytest.approx(0.25)
    assert about["segmented_pixel_size_um"] == pytest.approx(0.5)


def test_the_network_sees_the_trained_pixels(
    tmp_path: Path, trained: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, ...]] = []
    infer = trained._infer

    def noting(batch: NDArray[np.uint8]) -> Prediction:
        shapes.append(batch.shape)
        return infer(batch)

    monkeypatch.setattr(trained, "_infer", noting)
    source = save(tmp_path / "in" / "a.png", drawn(0.25), 0.25)  # 360 x 560 px
    segment(SegmentOptions(source, tmp_path / "out"), trained)
    segment(SegmentOptions(source, tmp_path / "off", rescale="off"), trained)
    assert shapes == [(1, 184, 280, 3), (1, 360, 560, 3)]  # 180 rows up to the stride, 8


def test_the_run_says_what_was_rescaled(tmp_path: Path, trained: Engine) -> None:
    folder = tmp_path / "in"
    save(folder / "coarse.png", drawn(1.0), 1.0)
    save(folder / "fine.png", drawn(0.25), 0.25)
    save(folder / "mute.png", drawn(0.5), None)
    save(folder / "same.png", drawn(0.48), 0.48)
    sink = Recorder()
    summary = segment(SegmentOptions(folder, tmp_path / "out"), trained, sink)
    assert sink.notes[-1] == (
        "rescaled: 2 of 4 fields, to 0.5 um per pixel as in training; pixel size unknown, so not "
        "rescaled: 1"
    )
    document = run_document(summary)
    assert document["rescaling"] == {"rescaled": 2, "as_they_are": 1, "pixel_size_unknown": 1}
    assert document["settings"]["rescale"] == "auto"
    assert document["model"]["pixel_size_um"] == 0.5
    seen = {row["file"]: row["segmented_pixel_size_um"] for row in rows_of(summary)}
    assert seen["mute.png"] == ""
    assert float(seen["same.png"]) == pytest.approx(0.48, rel=1e-4)
    assert float(seen["fine.png"]) == pytest.approx(0.5, rel=1e-4)
    off = Recorder()
    options = SegmentOptions(folder, tmp_path / "off", rescale="off")
    assert run_document(segment(options, trained, off))["rescaling"]["rescaled"] == 0
    assert off.notes[-1] == (
        "--rescale off: 2 of 4 fields are not of 0.5 um per pixel as in training; pixel size "
        "unknown, so not rescaled: 1"
    )


def test_a_model_that_knows_no_pixel_size_rescales_nothing(tmp_path: Path, engine: Engine) -> None:
    source = save(tmp_path / "in" / "a.png", drawn(0.25), 0.25)
    sink = Recorder()
    summary = segment(SegmentOptions(source, tmp_path / "out"), engine, sink)
    assert not any("rescale" in note for note in sink.notes)
    assert run_document(summary)["rescaling"]["rescaled"] == 0
    (row,) = rows_of(summary)
    assert row["segmented_pixel_size_um"] == row["pixel_size_um"]


def test_the_option_says_which_size_counts(tmp_path: Path, trained: Engine) -> None:
    source = save(tmp_path / "in" / "a.png", drawn(0.5), 0.5)
    options = SegmentOptions(source, tmp_path / "out", pixel_size_um=0.25)
    (row,) = rows_of(segment(options, trained))
    assert (row["pixel_size_um"], row["segmented_pixel_size_um"]) == ("0.25", "0.5")


def test_a_pixel_size_that_cannot_be_right_fails_its_file_alone(
    tmp_path: Path, trained: Engine
) -> None:
    save(tmp_path / "in" / "bad.png", drawn(2.0), 15.0)
    save(tmp_path / "in" / "good.png", drawn(1.0), 1.0)
    summary = segment(SegmentOptions(tmp_path / "in", tmp_path / "out"), trained)
    (failure,) = summary.failures
    assert (failure.file, failure.stage) == ("bad.png", "read")
    assert failure.reason == (
        "has a pixel size of 15 um (PNG), 30 times the 0.5 um that the model learned from; what is "
        "rescaled lies between 1/8 and 4 times. Check the pixel size (--pixel-size), or segment it "
        "as it is with --rescale off"
    )
    assert [row["file"] for row in rows_of(summary)] == ["good.png"]


def test_it_is_a_setting_that_results_depend_on(tmp_path: Path) -> None:
    options = SegmentOptions(tmp_path)
    assert options.settings()["rescale"] == "auto"
    assert replace(options, rescale="off").settings_sha256() != options.settings_sha256()
    with pytest.raises(UsageError) as caught:
        replace(options, rescale="yes").check()
    assert str(caught.value) == "--rescale yes: expected auto or off"
