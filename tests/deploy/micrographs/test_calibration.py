"""Pixel sizes: units, priority, plausibility; and the reasons where they are unknown."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from hptl_deploy.errors import UsageError
from hptl_deploy.micrographs import Calibration, from_option, open_micrograph
from hptl_deploy.micrographs.calibration import from_density, from_sizes

GREY = np.zeros((8, 9), np.uint8)


def _of(path: Path) -> Calibration:
    with open_micrograph(path) as micrograph:
        return micrograph.pages[0].calibration


def _tiff(folder: Path, **options: Any) -> Calibration:
    options.setdefault("photometric", "minisblack")
    tifffile.imwrite(folder / "x.tif", GREY, **options)
    return _of(folder / "x.tif")


@pytest.mark.parametrize(
    ("unit", "um"),
    [("um", 1), ("µm", 1), ("μm", 1), ("\\u00B5m", 1), ("micron", 1), ("microns", 1), ("mm", 1e3),
     ("nm", 1e-3), ("cm", 1e4), ("inch", 25400)],
)  # fmt: skip
def test_imagej_units(tmp_path: Path, unit: str, um: float) -> None:
    density = 2 * um  # half a micrometre per pixel
    found = _tiff(tmp_path, description=f"ImageJ=1.54f\nunit={unit}\n".encode(), metadata=None,
                  resolution=(density, density), resolutionunit=1)  # fmt: skip
    assert found.source == "ImageJ"
    assert found.pixel_size_um == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("unit", "um"), [("µm", 1), ("nm", 1e-3), ("mm", 1e3), ("m", 1e6), (None, 1)]
)
def test_ome_units(tmp_path: Path, unit: str | None, um: float) -> None:
    metadata: dict[str, Any] = {"axes": "YX", "PhysicalSizeX": 0.25 / um}
    if unit:
        metadata["PhysicalSizeXUnit"] = unit
    found = _tiff(tmp_path, ome=True, metadata=metadata)
    assert found.source == "OME"
    assert found.pixel_size_um == pytest.approx(0.25)


def test_ome_before_tags(tmp_path: Path) -> None:
    metadata = {"axes": "YX", "PhysicalSizeX": 0.3, "PhysicalSizeXUnit": "µm"}
    tags = {"resolution": (20000, 20000), "resolutionunit": 3}
    assert _tiff(tmp_path, ome=True, metadata=metadata, **tags) == Calibration(0.3, "OME")
    assert _tiff(tmp_path, ome=True, metadata={"axes": "YX"}, **tags).source == "TIFF tags"


def test_imagej_without_unit_falls_back_to_tags(tmp_path: Path) -> None:
    found = _tiff(tmp_path, description="ImageJ=1.54f\nunit=pixel\n", metadata=None,
                  resolution=(20000, 20000), resolutionunit=3)  # fmt: skip
    assert found == Calibration(0.5, "TIFF tags")


@pytest.mark.parametrize(
    ("resolution", "unit", "reason"),
    [
        ((1, 1), 1, "not stated"),
        ((1, 1), 2, "not stated"),
        ((72, 72), 2, "TIFF tags: 72 dpi is a screen's"),
        ((96, 96), 2, "TIFF tags: 96 dpi is a screen's"),
        ((28.35, 28.35), 3, "TIFF tags: 72 dpi is a screen's"),
        ((300, 300), 2, "TIFF tags: 300 dpi is a printer's"),
        ((4800, 4800), 2, "TIFF tags: 4800 dpi is a scanner's"),
        ((431, 431), 2, "TIFF tags: 58.93 um per pixel is outside 0.01 to 20"),
        ((5e6, 5e6), 3, "TIFF tags: 0.002 um per pixel is outside 0.01 to 20"),
        ((20000, 10000), 3, "TIFF tags: pixels are not square (0.5 x 1 um)"),
        ((3, 3), 1, "TIFF tags: a resolution without a unit"),
    ],
)
def test_unknown_from_tags(
    tmp_path: Path, resolution: tuple[float, float], unit: int, reason: str
) -> None:
    found = _tiff(tmp_path, metadata=None, resolution=resolution, resolutionunit=unit)
    assert found == Calibration(None, reason)


def test_absent_tags_and_unknown_units(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "x.png")
    assert _of(tmp_path / "x.png") == Calibration(None, "not stated")
    found = _tiff(tmp_path, description="ImageJ=1.54f\nunit=furlong\n", metadata=None,
                  resolution=(3, 3), resolutionunit=1)  # fmt: skip
    assert found == Calibration(None, "ImageJ: the unit 'furlong' is unknown")
    damaged = _tiff(tmp_path, description="<OME><Image</OME>", metadata=None)
    assert damaged == Calibration(None, "OME: the metadata cannot be understood")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_screen_resolution_of_rasters(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    Image.fromarray(GREY).save(path, dpi=(72, 72))
    name = {".png": "PNG", ".jpg": "JPEG", ".bmp": "BMP"}[suffix]
    assert _of(path) == Calibration(None, f"{name}: 72 dpi is a screen's")


def test_ten_micrometres_are_no_scanner() -> None:
    assert from_density(2540, 2540, 25400, "TIFF tags") == Calibration(10.0, "TIFF tags")


@pytest.mark.parametrize("value", [0.01, 0.5, 20])
def test_option(value: float) -> None:
    assert from_option(value) == Calibration(value, "--pixel-size")


@pytest.mark.parametrize("value", [0, -1, 0.0099, 20.1, math.inf, math.nan])
def test_option_out_of_range(value: float) -> None:
    with pytest.raises(UsageError) as caught:
        from_option(value)
    assert str(caught.value) == (
        f"--pixel-size {value:g}: expected 0.01 to 20 micrometres per pixel"
    )


def test_one_per_cent() -> None:
    assert from_sizes(1.0, 1.0099, "OME") == Calibration(1.0, "OME")
    assert from_sizes(1.0, 1.02, "OME").pixel_size_um is None
    assert from_sizes(math.nan, 1.0, "OME").source == "OME: nan x 1 um is no pixel size"
