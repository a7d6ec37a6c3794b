"""Particles of a page in bands: numbered, outlined and written as those of the whole page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import roifile
import tifffile
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from hptl_deploy.measurement.runs import label_image, runs_of
from hptl_deploy.outputs.geojson import write_geojson
from hptl_deploy.outputs.labels import write_labels
from hptl_deploy.outputs.numbering import Numbered
from hptl_deploy.outputs.ome_zarr import banded_rows
from hptl_deploy.outputs.outlines import particles_of
from hptl_deploy.outputs.rois import write_rois
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.segmentation.mosaics.band import BandedMap, BandedRows
from support.drawings import blobs

MAPS = arrays(
    np.uint8,
    st.tuples(st.integers(1, 12), st.integers(1, 8)),
    elements=st.sampled_from([0, 0, 1, 2, 255]),
)


def in_bands(classes: NDArray[np.uint8], cuts: list[int]) -> BandedRows:
    """In pieces that end at `cuts`, and at the end of the page."""
    whole = BandedMap(classes.shape[0], classes.shape[1], 256)
    pieces = np.split(classes, sorted({cut for cut in cuts if 0 < cut < len(classes)}))
    return whole, lambda level: pieces


@settings(max_examples=200)
@given(MAPS, st.lists(st.integers(1, 11), max_size=5))
def test_numbers_are_the_whole_pages(classes: NDArray[np.uint8], cuts: list[int]) -> None:
    whole = runs_of(classes, 3)
    particles = Numbered(in_bands(classes, cuts), 3)
    assert particles.count == whole.count
    bands = [label_image(runs, (height, classes.shape[1])) for height, runs in particles.bands()]
    np.testing.assert_array_equal(np.concatenate(bands), label_image(whole, classes.shape))


@settings(max_examples=200)
@given(MAPS, st.lists(st.integers(1, 11), max_size=5))
def test_outlines_are_the_whole_pages(classes: NDArray[np.uint8], cuts: list[int]) -> None:
    expected = list(particles_of(Numbered(banded_rows(classes), 3)))
    found = list(particles_of(Numbered(in_bands(classes, cuts), 3)))
    assert [number for number, _, _ in expected] == list(range(1, len(expected) + 1))
    assert plain(sorted(found, key=lambda one: one[0])) == plain(expected)


def plain(particles: list[Any]) -> list[Any]:
    return [
        (number, index, [(p.exterior.tolist(), [h.tolist() for h in p.holes]) for p in parts])
        for number, index, parts in particles
    ]


def test_a_particle_waits_until_its_last_row_has_come() -> None:
    classes = np.zeros((9, 7), np.uint8)
    classes[:, 0] = 1  # down the page
    classes[1, 3] = classes[4, 3] = classes[8, 5] = 2
    groups = Numbered(in_bands(classes, [3, 6]), 3).groups()
    assert [group.numbers.tolist() for group in groups] == [[1], [2], [0, 3]]


def test_many_particles_come_in_several_groups(
    classes: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    particles = Numbered(banded_rows(classes), 3)
    (whole,) = particles.groups()
    expected = plain(list(particles_of(particles)))
    monkeypatch.setattr("hptl_deploy.outputs.numbering._AT_ONCE", 700)
    groups = list(particles.groups())
    assert len(groups) > 5
    assert np.concatenate([group.numbers for group in groups]).tolist() == whole.numbers.tolist()
    assert plain(list(particles_of(particles))) == expected


@pytest.fixture(scope="module")
def classes() -> NDArray[np.uint8]:
    drawn = (blobs(600, 300, seed=9) // 86).astype(np.uint8)
    drawn[np.random.default_rng(9).integers(0, 60, drawn.shape) == 0] = 2
    return drawn


def test_formats_of_a_page_in_bands(tmp_path: Path, classes: NDArray[np.uint8]) -> None:
    about = {"pixel_size_um": 0.5}
    whole, bands = Numbered(banded_rows(classes), 3), Numbered(in_bands(classes, [256, 512]), 3)
    for name, particles in (("whole", whole), ("bands", bands)):
        (tmp_path / name).mkdir()
        write_labels(tmp_path / name / "a.tif", particles, about, tiled=name == "bands")
        write_geojson(tmp_path / name / "a.geojson", particles, PAPER_PHASES, about, None)
        write_rois(tmp_path / name / "a.zip", particles, PAPER_PHASES)
    with tifffile.TiffFile(tmp_path / "bands" / "a.tif") as tif:
        assert tif.is_bigtiff
        assert tif.pages.first.is_tiled
        resolution = tif.pages.first.tags["XResolution"].value
        assert resolution[0] / resolution[1] == pytest.approx(20_000)  # px per cm
        np.testing.assert_array_equal(tif.asarray(), tifffile.imread(tmp_path / "whole" / "a.tif"))
    features = {name: features_of(tmp_path / name / "a.geojson") for name in ("whole", "bands")}
    assert features["bands"] == features["whole"]
    regions = {name: regions_of(tmp_path / name / "a.zip") for name in ("whole", "bands")}
    assert regions["bands"] == regions["whole"]
    assert len(regions["bands"]) == len(features["bands"]) == whole.count > 1000


def features_of(path: Path) -> dict[str, Any]:
    return {one["properties"]["name"]: one for one in json.loads(path.read_text())["features"]}


def regions_of(path: Path) -> dict[str, bytes]:
    found = roifile.roiread(path)
    assert isinstance(found, list)
    return {region.name: region.tobytes() for region in found}
