from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from hptl_deploy.errors import EnvironmentLacks, MicrographError, UsageError
from hptl_deploy.outputs.kinds import check_page, parse_also
from hptl_deploy.segmentation import SegmentOptions


def test_words_come_in_lists_and_repeatedly() -> None:
    assert parse_also([]) == ()
    assert parse_also(["rois, labels", "qupath", "ROIS,"]) == ("labels", "qupath", "rois")


def test_a_word_that_is_none_of_them() -> None:
    with pytest.raises(UsageError) as caught:
        parse_also(["labels,geojson"])
    assert str(caught.value) == (
        "--also geojson: expected one or more of labels, qupath, rois, ome-zarr, ome-zarr-0.4"
    )


def test_both_versions_of_ome_zarr() -> None:
    with pytest.raises(UsageError) as caught:
        SegmentOptions(Path("in"), also=("ome-zarr", "ome-zarr-0.4")).check()
    assert str(caught.value) == (
        "--also ome-zarr,ome-zarr-0.4: both would have the same names. Ask for one: ome-zarr is "
        "version 0.5, for programs that read Zarr 3"
    )


@pytest.mark.parametrize("word", ["ome-zarr", "ome-zarr-0.4"])
def test_zarr_is_missed_before_anything_begins(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known: Any = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "zarr" else known(name)
    )
    with pytest.raises(EnvironmentLacks) as caught:
        SegmentOptions(Path("in"), also=(word,)).check()
    assert str(caught.value) == (
        f"--also {word} needs the library zarr, which is not installed. Install it: pip install "
        '"hptl-deploy[zarr]"'
    )


def test_formats_are_part_of_the_settings() -> None:
    plain, more = SegmentOptions(Path("in")), SegmentOptions(Path("in"), also=("rois", "labels"))
    assert more.settings()["also"] == ["labels", "rois"]
    assert plain.settings_sha256() != more.settings_sha256()
    assert (
        more.settings_sha256()
        == SegmentOptions(Path("in"), also=("labels", "rois")).settings_sha256()
    )


def test_a_page_that_imagej_has_no_numbers_for() -> None:
    check_page(("labels", "rois"), 60_535, 10)
    check_page(("labels",), 60_536, 10)
    with pytest.raises(MicrographError) as caught:
        check_page(("labels", "rois"), 10, 60_536)
    assert str(caught.value) == (
        "60536 x 10 px: ImageJ's regions reach to 60535 px. Leave rois out of --also for this "
        "micrograph"
    )
