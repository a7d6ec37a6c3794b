"""Class maps, confidence maps and overlays, opened again by other programs' libraries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from hptl_deploy.engines import Engine
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.segmentation import overlay
from hptl_deploy.segmentation.classmap import describe, write_class_map, write_confidence
from hptl_deploy.segmentation.overlay import draw, write_overlay
from support.drawings import blobs


@pytest.fixture
def classes() -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return (blobs(61, 83, seed=1) // 86).astype(np.uint8)


def test_a_class_map_opens_in_colour_with_its_scale(
    tmp_path: Path, engine: Engine, classes: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
) -> None:
    path = tmp_path / "a_classes.tif"
    write_class_map(path, classes, PAPER_PHASES, describe(engine.model, "fp32", 0.25))
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        assert page.photometric == tifffile.PHOTOMETRIC.PALETTE
        np.testing.assert_array_equal(page.asarray(), classes)
        assert page.colormap is not None
        assert page.colormap[:, 1].tolist() == [65535, 0, 0]
        resolution = page.tags["XResolution"].value
        assert resolution[0] / resolution[1] == pytest.approx(40_000)  # px per cm
        assert page.tags["ResolutionUnit"].value == 3
        assert "DateTime" not in page.tags
        about = json.loads(page.description)
    assert about["model_sha256"] == engine.model.sha256
    assert about["phases"][1] == {"key": "mg2si", "name": "Mg2Si", "colour": [255, 0, 0]}
    with Image.open(path) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), classes)
        shown = np.asarray(image.convert("RGB"))
    for index, phase in enumerate(PAPER_PHASES):
        assert (shown[classes == index] == phase.colour).all()


def test_without_a_pixel_size_there_is_no_scale(
    tmp_path: Path, engine: Engine, classes: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
) -> None:
    path = tmp_path / "a_classes.tif"
    write_class_map(path, classes, PAPER_PHASES, describe(engine.model, "fp32", None))
    with tifffile.TiffFile(path) as tif:
        assert tif.pages.first.tags["ResolutionUnit"].value == 1


def test_the_same_map_is_the_same_bytes(
    tmp_path: Path, engine: Engine, classes: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
) -> None:
    about = describe(engine.model, "fp32", 0.1)
    for name in "ab":
        write_class_map(tmp_path / name, classes, PAPER_PHASES, about)
        write_confidence(tmp_path / f"{name}c", classes, about)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "ac").read_bytes() == (tmp_path / "bc").read_bytes()
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "ac"), classes)


def test_an_overlay_leaves_the_matrix_alone_and_draws_the_border() -> None:
    pixels = np.full((20, 30, 3), 100, np.uint8)
    classes = np.zeros((20, 30), np.uint8)
    classes[5:15, 5:25] = 1
    drawn = draw(pixels, classes, PAPER_PHASES)
    assert (drawn[classes == 0] == 100).all()
    assert (drawn[5, 5:25] == (255, 0, 0)).all()
    assert (drawn[5:15, 24] == (255, 0, 0)).all()
    # 0.7 x 100 + 0.3 x (255, 0, 0)
    assert (drawn[6:14, 6:24] == (147, 70, 70)).all()


def test_a_large_frame_has_a_second_line_and_no_seams() -> None:
    width = 1700
    pixels = np.full((600, width, 3), 100, np.uint8)
    classes = np.zeros((600, width), np.uint8)
    classes[100:500, 100:300] = 2
    drawn = draw(pixels, classes, PAPER_PHASES)
    assert (drawn[100:500, 100] == (255, 255, 0)).all()
    assert (drawn[101:499, 101] == (193, 193, 40)).all()  # 0.4 x 100 + 0.6 x colour
    assert (drawn[102:498, 102:298] == (147, 147, 70)).all()  # across the pieces' borders


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_an_overlay_file_keeps_the_pixel_size(tmp_path: Path, engine: Engine, kind: str) -> None:
    pixels = np.repeat(blobs(40, 50, seed=2)[..., None], 3, axis=2)
    path = tmp_path / f"a_overlay.{kind}"
    about = describe(engine.model, "fp32", 0.2)
    write_overlay(path, pixels, np.zeros((40, 50), np.uint8), PAPER_PHASES, kind, about)
    with Image.open(path) as image:
        assert image.size == (50, 40)
        assert image.info["dpi"][0] == pytest.approx(25400 / 0.2, rel=1e-4)
        assert np.abs(np.asarray(image).astype(int) - pixels).mean() < 3


def test_a_frame_beyond_jpegs_limit_is_reduced(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlay, "JPEG_LIMIT", 100)
    pixels = np.zeros((30, 250, 3), np.uint8)
    path = tmp_path / "a_overlay.jpg"
    about = describe(engine.model, "fp32", 0.2)
    write_overlay(path, pixels, np.zeros((30, 250), np.uint8), PAPER_PHASES, "jpg", about)
    with Image.open(path) as image:
        assert image.size == (84, 10)
        assert image.info["dpi"][0] == pytest.approx(25400 / 0.6, rel=1e-4)


def test_left_out_pixels_are_faded_and_hatched() -> None:
    pixels = np.full((300, 64, 3), 40, np.uint8)
    classes = np.zeros((300, 64), np.uint8)
    classes[200:280, 16:48] = 255  # over two of the pieces that are drawn at once
    drawn = draw(pixels, classes, PAPER_PHASES)
    left_out = classes == 255
    np.testing.assert_array_equal(drawn[~left_out], pixels[~left_out])
    assert {tuple(colour) for colour in drawn[left_out].tolist()} == {
        (0, 0, 0), (255, 255, 255), (120, 120, 120),
    }  # fmt: skip
    # Slanted lines without a break: what is one row further down lies one column to the left.
    np.testing.assert_array_equal(drawn[200:279, 17:48], drawn[201:280, 16:47])
