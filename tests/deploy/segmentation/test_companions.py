"""A micrograph of several files, an Olympus VSI, in a run and in a watched folder."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from hptl_deploy.engines import Engine
from hptl_deploy.segmentation import RunSummary, SegmentOptions, segment
from hptl_deploy.segmentation.inputs.listing import Listed
from support.drawings import rectangles
from support.vsi_samples import Picture, ets_of, vsi
from support.watching import Watch, age

_DRAWN = rectangles(90, 120, grey=(10, 60, 20, 100), dark=(70, 80, 0, 30))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    vsi(Picture(_DRAWN, um=0.1))(folder / "a.vsi")
    return folder


def row(summary: RunSummary) -> dict[str, str]:
    with (summary.out / "fields.csv").open(encoding="utf-8", newline="") as handle:
        (found,) = csv.DictReader(handle)
    return found


def test_it_is_one_input_with_its_pixel_size(source: Path, engine: Engine) -> None:
    summary = segment(SegmentOptions(source), engine)
    assert summary.counts == {"done": 1, "skipped": 0, "failed": 0, "remaining": 0, "ignored": 0}
    found = row(summary)
    assert (found["pixel_size_um"], found["pixel_size_source"]) == ("0.1", "VSI")
    assert float(found["mg2si_area_fraction"]) == pytest.approx(50 * 80 / (90 * 120), abs=1e-9)
    with tifffile.TiffFile(summary.out / "a_classes.tif") as classes:
        tags = classes.pages.first.tags
        per_cm = tags["XResolution"].value
        assert tags["ResolutionUnit"].value == 3
    assert per_cm[0] / per_cm[1] == pytest.approx(1e4 / 0.1)


def test_other_pixels_beside_it_are_done_anew(source: Path, engine: Engine) -> None:
    first = row(segment(SegmentOptions(source), engine))
    assert segment(SegmentOptions(source), engine).counts["skipped"] == 1
    vsi(Picture(np.full_like(_DRAWN, 200), um=0.1))(source / "a.vsi")
    again = segment(SegmentOptions(source), engine)
    assert again.counts["done"] == 1
    assert row(again)["mg2si_area_fraction"] != first["mg2si_area_fraction"]


def test_without_its_folder_it_is_a_failure_that_says_so(source: Path, engine: Engine) -> None:
    shutil.move(source / "_a_", source.parent / "elsewhere")
    summary = segment(SegmentOptions(source), engine)
    assert (summary.counts["failed"], summary.exit_code) == (1, 1)
    with (summary.out / "failures.csv").open(encoding="utf-8", newline="") as handle:
        (failure,) = csv.DictReader(handle)
    assert failure["reason"].endswith("Copy the folder _a_ along, to beside this file")


def test_a_watch_waits_for_pixels_that_are_still_copied(source: Path) -> None:
    content = ets_of(source / "a.vsi").read_bytes()
    ets_of(source / "a.vsi").write_bytes(content[:500])
    source.with_name("out").mkdir()
    age(source)
    watch = Watch(source, source.with_name("out"))
    watch.begin()
    assert watch.listed() == "a.vsi"  # so far it is old and whole
    for length in (600, 800):
        ets_of(source / "a.vsi").write_bytes(content[:length])
    ets_of(source / "a.vsi").write_bytes(content)
    assert watch.listed() == "a.vsi"
    assert watch.quiet(Listed)
    watch.end()
