"""What a run leaves, opened by ImageJ itself: every pixel, the colours, the scale, the regions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from hptl_deploy.engines import Engine
from hptl_deploy.outputs.labels import write_labels
from hptl_deploy.outputs.numbering import Numbered
from hptl_deploy.outputs.ome_zarr import banded_rows
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.segmentation import SegmentOptions, segment
from support.drawings import blobs, save
from support.imagej import ImageJ, imagej

__all__ = ["imagej"]

SHAPE = (420, 570)
"""Of several strips, and none of its sides a multiple of anything."""


@pytest.fixture
def out(tmp_path: Path, engine: Engine) -> Path:
    save(tmp_path / "in" / "m.png", blobs(*SHAPE, seed=4))
    options = SegmentOptions(
        tmp_path / "in", tmp_path / "out", pixel_size_um=0.25, rescale="off", overlay="none",
        confidence=True, also=("labels", "rois"),
    )  # fmt: skip
    return segment(options, engine).out


@pytest.mark.parametrize(
    ("kind", "bits"), [("classes", "8"), ("confidence", "8"), ("particles", "16")]
)
def test_maps_have_their_pixels_and_their_scale(
    out: Path, imagej: ImageJ, kind: str, bits: str
) -> None:
    path = out / f"m_{kind}.tif"
    (line,), numbers = imagej.open(path)
    height, width = SHAPE
    assert line[:3] == [str(width), str(height), bits]
    assert [float(side) for side in line[3:5]] == pytest.approx([0.25, 0.25], rel=1e-9)
    assert line[5] == "µm"
    known = tifffile.imread(path)
    assert len(np.unique(known)) > 2
    np.testing.assert_array_equal(numbers.reshape(SHAPE), known)
    if kind == "classes":
        colours = [*(phase.colour for phase in PAPER_PHASES), (128, 128, 128)]
        assert line[6:] == ["{:02x}{:02x}{:02x}".format(*colour) for colour in colours]


def test_regions_are_the_particles(out: Path, imagej: ImageJ) -> None:
    lines, numbers = imagej.open(out / "m_particles.zip")
    particles, classes = (tifffile.imread(out / f"m_{k}.tif") for k in ("particles", "classes"))
    drawn, at = np.zeros_like(particles), 0
    for name, colour, *bounds in lines:
        x, y, width, height = map(int, bounds)
        mask = numbers[at : at + width * height].reshape(height, width) == 1
        at += width * height
        number, key = name.split(" ")
        window = np.s_[y : y + height, x : x + width]
        assert not drawn[window][mask].any(), "two regions share a pixel"
        drawn[window][mask] = int(number)
        (phase,) = {PAPER_PHASES[index] for index in classes[window][mask]}
        assert (key, colour) == (phase.key, "{:02x}{:02x}{:02x}".format(*phase.colour))
    assert at == numbers.size
    assert len(lines) == particles.max() > 20
    np.testing.assert_array_equal(drawn, particles)


def test_a_label_image_of_more_than_65535_particles(tmp_path: Path, imagej: ImageJ) -> None:
    """ImageJ makes floating point of 32 bits, which is exact for so many."""
    classes = np.zeros((520, 520), np.uint8)
    classes[::2, ::2] = 1
    path = tmp_path / "a.tif"
    write_labels(path, Numbered(banded_rows(classes), 2), {"pixel_size_um": None}, tiled=False)
    (line,), numbers = imagej.open(path)
    assert line[:6] == ["520", "520", "32", "1.0", "1.0", " "]  # no unit, so no scale
    np.testing.assert_array_equal(numbers.reshape(520, 520)[::2, ::2].ravel(), np.arange(67600) + 1)
    assert np.count_nonzero(numbers) == 67600
