"""Runs that write further formats: what lies in the results folder; what a restart makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import roifile
import tensorstore
import tifffile
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry import shape
from skimage.measure import label

from hptl_deploy.engines import Engine
from hptl_deploy.files import TEMPORARY_SUFFIX, files_of, size_of
from hptl_deploy.measurement.runs import label_image, runs_of
from hptl_deploy.outputs import ome_zarr
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.results import OVERVIEW_FILES
from hptl_deploy.segmentation import SegmentOptions, segment
from hptl_deploy.segmentation.ledger import read_entries
from support.drawings import blobs, save
from support.mosaic_runs import colours, save_tiff, whole

PHASES = {phase.key: phase for phase in PAPER_PHASES}
ALL = ("labels", "qupath", "rois", "ome-zarr")
NEW = ("m_particles.tif", "m_particles.geojson", "m_particles.zip", "m_classes.ome.zarr")
ALWAYS = ("m_classes.tif", "m_particles.parquet")


def names(out: Path) -> set[str]:
    own = {"fields.csv", "failures.csv", "run.json", "ledger.jsonl", *OVERVIEW_FILES}
    return {path.name for path in out.iterdir()} - own


def zarr_map(folder: Path, level: int = 0) -> NDArray[Any]:
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder / str(level)}/"}}
    found: NDArray[Any] = tensorstore.open(spec, read=True).result().read().result()
    return found


@pytest.fixture
def page(tmp_path: Path) -> SegmentOptions:
    """One micrograph, with all formats."""
    save(tmp_path / "in" / "m.png", blobs(120, 170, seed=4))
    return SegmentOptions(tmp_path / "in", tmp_path / "out", overlay="none", also=ALL)


def test_formats_lie_beside_the_class_map_and_in_the_ledger(
    page: SegmentOptions, engine: Engine
) -> None:
    out = segment(replace(page, confidence=True), engine).out
    assert names(out) == {*ALWAYS, "m_confidence.tif", "m_confidence.ome.zarr", *NEW}
    (entry,) = read_entries(out)
    assert entry.outputs == {name: size_of(out / name) for name in names(out)}
    assert json.loads((out / "run.json").read_text())["settings"]["also"] == sorted(ALL)
    classes = tifffile.imread(out / "m_classes.tif")
    np.testing.assert_array_equal(zarr_map(out / "m_classes.ome.zarr"), classes)
    np.testing.assert_array_equal(
        zarr_map(out / "m_confidence.ome.zarr"), tifffile.imread(out / "m_confidence.tif")
    )
    check_numbers(out)
    particles = tifffile.imread(out / "m_particles.tif")
    assert particles.max() == label(classes, background=0, connectivity=2).max()


def check_numbers(out: Path) -> None:
    """Particle n of the table is n in every format, with the table's phase, place and area."""
    particles, classes = (
        tifffile.imread(out / f"m_{name}.tif") for name in ("particles", "classes")
    )
    table = pq.read_table(out / "m_particles.parquet").to_pylist()
    areas = np.bincount(particles.ravel(), minlength=len(table) + 1)[1:]
    assert [row["area_px"] for row in table] == areas.tolist()
    document = json.loads((out / "m_particles.geojson").read_text())
    features = {int(one["properties"]["name"]): one for one in document["features"]}
    regions = roifile.roiread(out / "m_particles.zip")
    assert isinstance(regions, list)
    names = {region.name: region for region in regions}
    assert len(features) == len(names) == len(table)
    for row in table:
        number, phase = row["particle"], PHASES[row["phase"]]
        feature, region = features[number], names[f"{number:04d} {row['phase']}"]
        assert feature["properties"]["classification"]["name"] == phase.name
        left, top, right, bottom = shape(feature["geometry"]).bounds
        box = (row["left_px"], row["top_px"], row["right_px"], row["bottom_px"])
        assert box == (left, top, right, bottom)
        assert box == (region.left, region.top, region.right, region.bottom)
        y, x = np.argwhere(particles == number)[0]
        assert PAPER_PHASES[classes[y, x]] == phase


def test_a_run_that_is_started_again_does_nothing(page: SegmentOptions, engine: Engine) -> None:
    segment(page, engine)
    assert segment(page, engine).counts["skipped"] == 1


@pytest.mark.parametrize("missing", [*NEW, "m_classes.ome.zarr/0/zarr.json"])
def test_what_has_gone_is_made_again(page: SegmentOptions, engine: Engine, missing: str) -> None:
    out = segment(page, engine).out
    before = {path: path.read_bytes() for path in files_of(out) if path.parent != out}
    gone = out / missing
    for path in files_of(gone):
        path.unlink()
    summary = segment(page, engine)
    assert summary.counts["done"] == 1
    assert {path: path.read_bytes() for path in files_of(out) if path.parent != out} == before
    assert gone.exists()


def test_formats_that_are_no_longer_wanted_go(page: SegmentOptions, engine: Engine) -> None:
    out = segment(page, engine).out
    segment(replace(page, also=()), engine)
    assert names(out) == set(ALWAYS)


def test_a_page_that_fails_leaves_no_folder(
    page: SegmentOptions, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(page.input / "n.tif", [blobs(60, 80, seed=seed) for seed in range(2)])
    write = ome_zarr._write
    calls = []

    def failing(*arguments: Any) -> None:
        write(*arguments)
        calls.append(arguments[0])
        if len(calls) == 3:  # m, and one of the pages of n, have theirs
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(ome_zarr, "_write", failing)
    monkeypatch.setattr("hptl_deploy.segmentation.run.threads_per_stage", lambda: 1)
    summary = segment(page, engine)
    assert [failure.file for failure in summary.failures] == ["n.tif"]
    assert names(summary.out) == {*ALWAYS, *NEW}


def test_a_half_written_folder_is_cleared(page: SegmentOptions, engine: Engine) -> None:
    out = page.out_folder
    begun = out / f".0123456789abcdef-1{TEMPORARY_SUFFIX}" / "0" / "c"
    begun.mkdir(parents=True)
    (begun / "0").write_bytes(b"x")
    segment(page, engine)
    assert names(out) == {*ALWAYS, *NEW}


def test_of_noise_there_are_no_particles_in_any_format(
    page: SegmentOptions, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hptl_deploy.measurement.particles.most_runs", lambda pixels: 3)
    out = segment(page, engine).out
    assert names(out) == {"m_classes.tif", "m_classes.ome.zarr"}


def test_particles_need_not_be_measured(page: SegmentOptions, engine: Engine) -> None:
    out = segment(replace(page, particles=False), engine).out
    assert names(out) == {"m_classes.tif", *NEW}


def test_a_page_that_has_no_form_is_refused_before_it_is_segmented(
    page: SegmentOptions, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hptl_deploy.outputs.kinds.LARGEST_ROI_SIDE", 150)
    (failure,) = segment(page, engine).failures
    assert (failure.stage, failure.reason) == (
        "read",
        "170 x 120 px: ImageJ's regions reach to 150 px. Leave rois out of --also for this "
        "micrograph",
    )


@pytest.mark.parametrize(("word", "driver"), [("ome-zarr", "zarr3"), ("ome-zarr-0.4", "zarr")])
def test_a_mosaic_is_the_whole_pages(
    tmp_path: Path, small_limits: None, seeing: Engine, word: str, driver: str
) -> None:
    pixels = colours()
    source = save_tiff(tmp_path / "in" / "m.tif", pixels)
    also = ("labels", "qupath", "rois", word)
    options = SegmentOptions(source, tmp_path / "out", confidence=True, also=also)
    out = segment(options, seeing).out
    classes, _ = whole(seeing, pixels)
    expected = label_image(runs_of(classes, 3), classes.shape)
    np.testing.assert_array_equal(tifffile.imread(out / "m_particles.tif"), expected)
    features = json.loads((out / "m_particles.geojson").read_text())["features"]
    shapes = [(one["geometry"], int(one["properties"]["name"])) for one in features]
    np.testing.assert_array_equal(rasterize(shapes, classes.shape, dtype=np.int32), expected)
    check_numbers(out)
    for name, pixel_map in zip(("classes", "confidence"), whole(seeing, pixels), strict=True):
        for level in (0, 1, 2):
            path = out / f"m_{name}.ome.zarr" / str(level)
            spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/"}}
            found = tensorstore.open(spec, read=True).result().read().result()
            np.testing.assert_array_equal(found, pixel_map[:: 2**level, :: 2**level])
