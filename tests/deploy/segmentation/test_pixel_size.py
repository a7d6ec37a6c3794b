"""Who says how large a pixel is: the option, the file, the data set's description."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from hptl_deploy.engines import Engine
from hptl_deploy.segmentation import RunSummary, SegmentOptions, segment
from support.data_sets import PHASES

GREY = np.full((16, 24), 200, np.uint8)


def described(root: Path, size: str) -> None:
    (root / "dataset.toml").write_text(f"{size}\n{PHASES}", encoding="utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three images: one that says nothing, one with a screen's density, one with 0.2 um."""
    root = tmp_path / "set"
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    Image.fromarray(GREY).save(root / "images" / "mute.png")
    Image.fromarray(GREY).save(root / "images" / "screen.png", dpi=(72, 72))
    Image.fromarray(GREY).save(root / "images" / "stated.png", dpi=(127000, 127000))
    for name in ("mute", "screen", "stated"):
        Image.fromarray(GREY * np.uint8(0)).save(root / "labels" / f"{name}.png")
    return root


def sizes(summary: RunSummary) -> list[tuple[str, str]]:
    with (summary.out / "fields.csv").open(encoding="utf-8", newline="") as handle:
        return [(row["pixel_size_um"], row["pixel_size_source"]) for row in csv.DictReader(handle)]


def test_a_file_before_its_data_set_and_the_option_before_both(data: Path, engine: Engine) -> None:
    described(data, "pixel_size_um = 0.5")
    summary = segment(SegmentOptions(data), engine)
    said = ("0.5", "dataset.toml")
    assert sizes(summary) == [said, said, ("0.2", "PNG")]
    document = json.loads((summary.out / "run.json").read_text(encoding="utf-8"))
    assert document["calibration_sources"] == {"dataset.toml": 2, "PNG": 1}
    with tifffile.TiffFile(summary.out / "images" / "mute_classes.tif") as tif:
        assert tif.pages.first.tags["XResolution"].value == (20000, 1)  # per cm
    option = segment(SegmentOptions(data, pixel_size_um=0.3), engine)
    assert sizes(option) == [("0.3", "--pixel-size")] * 3


def test_without_it_nothing_is_known_and_outside_a_data_set_it_counts_for_nothing(
    data: Path, engine: Engine
) -> None:
    unknown = [
        ("", "not stated"),
        ("", "PNG: 72 dpi is a screen's"),
        ("0.2", "PNG"),
    ]
    described(data, "")
    assert sizes(segment(SegmentOptions(data), engine)) == unknown
    described(data, "pixel_size_um = 0.5")
    assert sizes(segment(SegmentOptions(data / "images"), engine)) == unknown


def test_an_implausible_one_is_said(data: Path, engine: Engine) -> None:
    described(data, "pixel_size_um = 500")
    why = ("", "dataset.toml: 500 um per pixel is outside 0.01 to 20")
    assert sizes(segment(SegmentOptions(data), engine)) == [why, why, ("0.2", "PNG")]


def test_another_one_does_it_again(data: Path, engine: Engine) -> None:
    described(data, "pixel_size_um = 0.5")
    assert segment(SegmentOptions(data), engine).counts["done"] == 3
    described(data, "pixel_size_um = 0.50  # the same")
    assert segment(SegmentOptions(data), engine).counts["skipped"] == 3
    described(data, "pixel_size_um = 0.25")
    again = segment(SegmentOptions(data), engine)
    assert (again.counts["done"], again.counts["skipped"]) == (3, 0)
    assert sizes(again)[0] == ("0.25", "dataset.toml")
    # Under --pixel-size it decides nothing, so its change does not either.
    fixed = SegmentOptions(data, pixel_size_um=0.3)
    assert segment(fixed, engine).counts["done"] == 3
    described(data, "")
    assert segment(fixed, engine).counts["skipped"] == 3
