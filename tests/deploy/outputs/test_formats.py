"""Label images, GeoJSON and ImageJ regions, opened again by other programs' libraries."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
import tifffile
from numpy.typing import NDArray
from PIL import Image
from rasterio.features import rasterize
from shapely.geometry import shape as geometry
from shapely.validation import explain_validity
from skimage.draw import polygon2mask
from skimage.measure import label
from skimage.morphology import dilation

from hptl_deploy.annotations import import_annotations
from hptl_deploy.measurement.particles import measure_particles
from hptl_deploy.outputs.geojson import write_geojson
from hptl_deploy.outputs.kinds import LARGEST_ROI_SIDE
from hptl_deploy.outputs.labels import write_labels
from hptl_deploy.outputs.numbering import Numbered
from hptl_deploy.outputs.ome_zarr import banded_rows
from hptl_deploy.outputs.rois import write_rois
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.segmentation.classmap import write_class_map, write_confidence
from support.annotated import picture
from support.drawings import blobs

ABOUT = {"model": "demo", "model_sha256": "0" * 64, "pixel_size_um": 0.25}


@pytest.fixture(scope="module")
def classes() -> NDArray[np.uint8]:
    """All that particles can be: holes, corners, islands, left-out pixels."""
    noise = np.random.default_rng(5).integers(0, 40, (90, 130), np.uint8)
    drawn = (blobs(90, 130, seed=5) // 86).astype(np.uint8)
    drawn[noise < 2] = 1
    drawn[noise == 2] = 255
    return drawn


@pytest.fixture(scope="module")
def particles(classes: NDArray[np.uint8]) -> Numbered:
    return numbered(classes)


def numbered(classes: NDArray[np.uint8]) -> Numbered:
    return Numbered(banded_rows(classes), 3)


@pytest.fixture(scope="module")
def numbers(classes: NDArray[np.uint8]) -> NDArray[Any]:
    """Particles by scikit-image, numbered by their first pixel."""
    masked = np.where(classes == 255, 0, classes)
    found: NDArray[Any] = label(masked, background=0, connectivity=2)
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    order = np.argsort(np.where(np.arange(len(first)) == 0, -1, first))
    return np.argsort(order)[inverse].reshape(found.shape)


def test_a_label_image(
    tmp_path: Path, classes: NDArray[np.uint8], particles: Numbered, numbers: NDArray[Any]
) -> None:
    path = tmp_path / "a_particles.tif"
    write_labels(path, particles, ABOUT, tiled=False)
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        assert page.dtype == np.uint16
        np.testing.assert_array_equal(page.asarray(), numbers)
        resolution = page.tags["XResolution"].value
        assert resolution[0] / resolution[1] == pytest.approx(40_000)  # px per cm
        assert json.loads(page.description)["model"] == "demo"


def test_a_label_image_of_more_than_65535_particles(tmp_path: Path) -> None:
    classes = np.zeros((520, 520), np.uint8)
    classes[::2, ::2] = 1
    path = tmp_path / "a_particles.tif"
    write_labels(path, numbered(classes), {**ABOUT, "pixel_size_um": None}, tiled=False)
    with tifffile.TiffFile(path) as tif:
        assert tif.pages.first.dtype == np.uint32
        assert tif.pages.first.tags["ResolutionUnit"].value == 1
        found = tif.asarray()
    assert found.max() == 260 * 260
    np.testing.assert_array_equal(found[::2, ::2].ravel(), np.arange(1, 260 * 260 + 1))


def test_geojson_is_valid_and_is_the_label_image(
    tmp_path: Path, classes: NDArray[np.uint8], particles: Numbered, numbers: NDArray[Any]
) -> None:
    path = tmp_path / "a_particles.geojson"
    confidence = np.full_like(classes, 51)
    measured = measure_particles(classes, confidence)
    assert measured is not None
    write_geojson(path, particles, PAPER_PHASES, ABOUT, measured.particles)
    document = json.loads(path.read_bytes())
    assert document["type"] == "FeatureCollection"
    assert document["hptl_deploy"] == ABOUT
    shapes = []
    kinds = set()
    for number, feature in enumerate(document["features"], 1):
        assert feature["type"] == "Feature"
        outline = geometry(feature["geometry"])
        assert explain_validity(outline) == "Valid Geometry"
        about = feature["properties"]
        assert about["objectType"] == "detection"
        assert about["name"] == str(number)
        figures = about["measurements"]
        assert figures["area_um2"] == pytest.approx(outline.area * 0.25**2, rel=1e-5)
        assert figures["mean_confidence"] == 0.2
        cut_or_small = "max_feret_um" not in figures
        assert cut_or_small == (outline.area < 100 or touches(numbers == number, classes))
        phase = PAPER_PHASES[classes[numbers == number][0]]
        assert about["classification"] == {"name": phase.name, "color": list(phase.colour)}
        for ring in rings(feature["geometry"]):
            assert ring[0] == ring[-1]
        shapes.append((outline, number))
        kinds.add(outline.geom_type)
    assert kinds == {"Polygon", "MultiPolygon"}
    again = rasterize(shapes, classes.shape, dtype=np.int32)
    np.testing.assert_array_equal(again, numbers)


def rings(found: dict[str, Any]) -> list[Any]:
    polygons = found["coordinates"]
    if found["type"] == "Polygon":
        polygons = [polygons]
    return [ring for polygon in polygons for ring in polygon]


def touches(mask: NDArray[np.bool_], classes: NDArray[np.uint8]) -> bool:
    """The border of the page, or what is left out."""
    outside = np.pad(classes == 255, 1, constant_values=True)
    return bool((dilation(np.pad(mask, 1), np.ones((3, 3))) & outside).any())


def test_without_a_pixel_size_figures_are_in_pixels(tmp_path: Path) -> None:
    classes = np.zeros((30, 40), np.uint8)
    classes[5:17, 4:24] = 1
    path = tmp_path / "a.geojson"
    measured = measure_particles(classes, np.full_like(classes, 255))
    assert measured is not None
    about = {**ABOUT, "pixel_size_um": None}
    write_geojson(path, numbered(classes), PAPER_PHASES, about, measured.particles)
    (feature,) = json.loads(path.read_text())["features"]
    figures = feature["properties"]["measurements"]
    assert figures["area_px"] == 240
    assert figures["min_feret_px"] == pytest.approx(12)
    assert figures["aspect_ratio"] == pytest.approx(20 / 12, rel=1e-5)
    assert not any(name.endswith(("_um", "_um2")) for name in figures)


def test_particles_that_were_not_measured_have_no_figures(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    write_geojson(path, numbered(np.ones((3, 4), np.uint8)), PAPER_PHASES, ABOUT, None)
    (feature,) = json.loads(path.read_text())["features"]
    assert "measurements" not in feature["properties"]


def mask_of(region: roifile.ImagejRoi, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """By even-odd over the rings, at the centres of pixels; the half is where corners are."""
    mask = np.zeros(shape, np.bool_)
    for ring in region.coordinates(multi=True):
        mask ^= polygon2mask(shape, np.asarray(ring)[:, ::-1] - 0.5)
    return mask


def test_regions_are_the_label_image(
    tmp_path: Path, classes: NDArray[np.uint8], particles: Numbered, numbers: NDArray[Any]
) -> None:
    path = tmp_path / "a_particles.zip"
    write_rois(path, particles, PAPER_PHASES)
    regions = roifile.roiread(path)
    assert isinstance(regions, list)
    assert len(regions) == numbers.max()
    assert {region.roitype for region in regions} == {
        roifile.ROI_TYPE.TRACED,
        roifile.ROI_TYPE.RECT,
    }
    again = np.zeros_like(numbers)
    for number, region in enumerate(regions, 1):
        mask = mask_of(region, classes.shape)
        again[mask] = number
        phase = PAPER_PHASES[classes[mask][0]]
        assert region.name == f"{number:04d} {phase.key}"
        assert region.hexcolor(region.stroke_color) == "#{:02x}{:02x}{:02x}".format(*phase.colour)
        y, x = np.nonzero(mask)
        box = (region.left, region.top, region.right, region.bottom)
        assert box == (x.min(), y.min(), x.max() + 1, y.max() + 1)
    np.testing.assert_array_equal(again, numbers)
    assert zipfile.ZipFile(path).namelist()[0] == f"{regions[0].name}.roi"


def test_regions_far_from_the_corner(tmp_path: Path) -> None:
    classes = np.zeros((4, LARGEST_ROI_SIDE), np.uint8)
    classes[1:3, 40_000:40_010] = 1
    classes[:3, -3:] = 2
    classes[1, -2] = 0
    path = tmp_path / "a.zip"
    write_rois(path, numbered(classes), PAPER_PHASES)
    regions = roifile.roiread(path)
    assert isinstance(regions, list)
    np.testing.assert_array_equal(mask_of(regions[0], classes.shape), classes == 2)
    np.testing.assert_array_equal(mask_of(regions[1], classes.shape), classes == 1)


def test_the_same_particles_are_the_same_bytes(
    tmp_path: Path, classes: NDArray[np.uint8], particles: Numbered
) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        write_labels(folder / "labels", particles, ABOUT, tiled=False)
        write_geojson(folder / "geojson", particles, PAPER_PHASES, ABOUT, None)
        write_rois(folder / "rois", particles, PAPER_PHASES)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_page_without_particles(tmp_path: Path) -> None:
    particles = numbered(np.zeros((5, 6), np.uint8))
    write_labels(tmp_path / "a.tif", particles, ABOUT, tiled=False)
    write_geojson(tmp_path / "a.geojson", particles, PAPER_PHASES, ABOUT, None)
    write_rois(tmp_path / "a.zip", particles, PAPER_PHASES)
    assert not tifffile.imread(tmp_path / "a.tif").any()
    assert json.loads((tmp_path / "a.geojson").read_text())["features"] == []
    assert zipfile.ZipFile(tmp_path / "a.zip").namelist() == []


@pytest.mark.parametrize("kind", ["classes", "confidence", "labels"])
def test_tiffs_keep_to_what_imagej_opens(
    tmp_path: Path, classes: NDArray[np.uint8], particles: Numbered, kind: str
) -> None:
    """By ij.io.TiffDecoder and FileOpener, which Fiji opens a TIFF with."""
    path = tmp_path / "a.tif"
    if kind == "classes":
        write_class_map(path, classes, PAPER_PHASES, ABOUT)
    elif kind == "confidence":
        write_confidence(path, classes, ABOUT)
    else:
        write_labels(path, particles, ABOUT, tiled=False)
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        assert not tif.is_bigtiff
        assert not page.is_tiled
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert page.samplesperpixel == 1
        assert page.bitspersample in (8, 16)
        if kind == "classes":
            assert page.tags["ColorMap"].count == 768
        # Centimetres become micrometres up to 10 um per pixel, unless ImageJ wrote the file.
        assert page.tags["ResolutionUnit"].value == tifffile.RESUNIT.CENTIMETER
        over, under = page.tags["XResolution"].value
        assert under / over * 1e4 == pytest.approx(0.25)
        assert not page.description.startswith("ImageJ")


@pytest.mark.parametrize(("format_name", "name"), [("qupath", "a.geojson"), ("imagej", "a.zip")])
def test_annotate_imports_what_was_written(
    tmp_path: Path, classes: NDArray[np.uint8], format_name: str, name: str
) -> None:
    """Outlines that were corrected elsewhere can be learned from."""
    known = np.where(classes == 255, 0, classes).astype(np.uint8)
    particles = numbered(known)
    picture(tmp_path / "in" / "a.png", *known.shape)
    if format_name == "qupath":
        write_geojson(tmp_path / "in" / name, particles, PAPER_PHASES, ABOUT, None)
    else:
        write_rois(tmp_path / "in" / name, particles, PAPER_PHASES)
    import_annotations(tmp_path / "in", tmp_path / "out", format_name=format_name)
    with Image.open(tmp_path / "out" / "labels" / "a.png") as labels:
        np.testing.assert_array_equal(np.asarray(labels), known)
