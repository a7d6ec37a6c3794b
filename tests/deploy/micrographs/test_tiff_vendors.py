"""Pixel sizes in microscopes' private tags, written as these programs write them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from hptl_deploy.micrographs import Calibration, open_micrograph
from support.vendor_damage import outlives

GREY = np.zeros((8, 9), np.uint8)
SCREEN: dict[str, Any] = {"resolution": (72, 72), "resolutionunit": 2}


def _of(folder: Path, *tags: tuple[int, str | int, int, Any, bool], **options: Any) -> Calibration:
    path = folder / "x.tif"
    settings = {"photometric": "minisblack", "metadata": None} | SCREEN | options
    tifffile.imwrite(path, GREY, extratags=list(tags), **settings)
    with open_micrograph(path) as micrograph:
        return micrograph.pages[0].calibration


def _text(code: int, text: str) -> tuple[int, str | int, int, Any, bool]:
    data = text.encode("cp1252") + b"\0"
    return code, 7 if code == 34118 else 2, len(data), data, True


def _zeiss(line: str) -> tuple[int, str | int, int, Any, bool]:
    return _text(
        34118, f"DP_BEAM\r\nBeam State = On\r\nAP_IMAGE_PIXEL_SIZE\r\n{line}\r\nAP_MAG\r\n"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Image Pixel Size = 279.1 nm", Calibration(0.2791, "Zeiss SEM tags")),
        ("Image Pixel Size = 1.25 µm", Calibration(1.25, "Zeiss SEM tags")),
        ("Image Pixel Size = 500000 pm", Calibration(0.5, "Zeiss SEM tags")),
        (
            "Image Pixel Size = 2.5 nm",
            Calibration(None, "Zeiss SEM tags: 0.0025 um per pixel is outside 0.01 to 20"),
        ),
        (
            "Image Pixel Size = 2.5 px",
            Calibration(None, "Zeiss SEM tags: the unit 'px' is unknown"),
        ),
        (
            "Image Pixel Size = unknown",
            Calibration(None, "Zeiss SEM tags: the pixel size cannot be understood"),
        ),
        (
            "Image Pixel Size = 279.1 nm\r\nDP_IMAGE_STORE\r\nStore resolution = 9 * 8",
            Calibration(0.2791, "Zeiss SEM tags"),
        ),
        (
            "Image Pixel Size = 279.1 nm\r\nDP_IMAGE_STORE\r\nStore resolution = 18 * 16",
            Calibration(None, "Zeiss SEM tags: stated for 18 columns, the picture has 9"),
        ),
        ("", Calibration(None, "TIFF tags: 72 dpi is a screen's")),
    ],
)
def test_zeiss(tmp_path: Path, line: str, expected: Calibration) -> None:
    assert _of(tmp_path, _zeiss(line)) == expected


def _fei(width: str, height: str, columns: int = 9) -> str:
    return (
        f"[User]\r\nDate=01/02/2024\r\n\r\n[Scan]\r\nPixelWidth={width}\r\nPixelHeight={height}\r\n"
        f"\r\n[Image]\r\nResolutionX={columns}\r\nResolutionY=8\r\n"
    )


@pytest.mark.parametrize("code", [34680, 34682])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (_fei("2.69775e-008", "2.69775e-008"), Calibration(0.0269775, "FEI tags")),
        (
            _fei("2e-8", "4e-8"),
            Calibration(None, "FEI tags: pixels are not square (0.02 x 0.04 um)"),
        ),
        (
            _fei("2e-8", "2e-8", columns=18),
            Calibration(None, "FEI tags: stated for 18 columns, the picture has 9"),
        ),
        ("[User]\r\nDate=01/02/2024\r\n", Calibration(None, "TIFF tags: 72 dpi is a screen's")),
    ],
)
def test_fei(tmp_path: Path, code: int, text: str, expected: Calibration) -> None:
    assert _of(tmp_path, _text(code, text)) == expected


def _olympus(path: Path, exponent: int, width: float, height: float) -> Calibration:
    """Two structures behind the picture; the tag points to the first, that to the second."""
    tifffile.imwrite(
        path, GREY, photometric="minisblack", metadata=None, extratags=[(33560, 4, 1, 0, True)],
        **SCREEN,
    )  # fmt: skip
    content = bytearray(path.read_bytes())
    entry = content.index(struct.pack("<HHI", 33560, 4, 1))
    general = struct.pack("<10xhdd8xd2x34s32s", exponent, width, height, 50.0, b"camera", b"bright")
    head = struct.pack("<4s6xhhhhh6x32sH", b"SIS0", 30, 12, 1, 1, 124, b"name", 1)
    struct.pack_into("<I", content, entry + 8, len(content))
    content += head + struct.pack("<hhI", 1, 1, len(content) + len(head) + 8) + general
    path.write_bytes(content)
    with open_micrograph(path) as micrograph:
        return micrograph.pages[0].calibration


@pytest.mark.parametrize(
    ("exponent", "width", "expected"),
    [
        (-6, 0.33, Calibration(0.33, "Olympus tags")),
        (-9, 128.5, Calibration(0.1285, "Olympus tags")),
        (0, 0.0, Calibration(None, "TIFF tags: 72 dpi is a screen's")),
        (0, 1.0, Calibration(None, "Olympus tags: 1e+06 um per pixel is outside 0.01 to 20")),
        (9999, 1.0, Calibration(None, "TIFF tags: 72 dpi is a screen's")),
    ],
)
def test_olympus(tmp_path: Path, exponent: int, width: float, expected: Calibration) -> None:
    assert _olympus(tmp_path / "x.tif", exponent, width, width) == expected


def test_the_microscope_comes_before_the_resolution(tmp_path: Path) -> None:
    stated = {"resolution": (20000, 20000), "resolutionunit": 3}
    line = _zeiss("Image Pixel Size = 279.1 nm")
    assert _of(tmp_path, line, **stated) == Calibration(0.2791, "Zeiss SEM tags")
    # What Fiji has saved is Fiji's.
    found = _of(tmp_path, line, description="ImageJ=1.54f\nunit=micron\n", resolution=(2, 2),
                resolutionunit=1)  # fmt: skip
    assert found == Calibration(0.5, "ImageJ")


def test_a_tag_of_another_kind(tmp_path: Path) -> None:
    for code in (34118, 34680, 34682, 33560):
        assert _of(tmp_path, (code, 3, 2, (1, 2), True)).source == "TIFF tags: 72 dpi is a screen's"


def test_a_tag_that_many_pages_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tag = _zeiss("Image Pixel Size = 279.1 nm")
    monkeypatch.setattr("hptl_deploy.micrographs.tiff_vendors._LARGEST_TAGS", 2 * tag[2])
    assert _of(tmp_path, tag).source == "Zeiss SEM tags"
    with tifffile.TiffWriter(tmp_path / "y.tif") as writer:
        for _ in range(3):
            writer.write(GREY, photometric="minisblack", metadata=None, extratags=[tag])
    with open_micrograph(tmp_path / "y.tif") as micrograph:
        assert {page.calibration.source for page in micrograph.pages} == {"not stated"}


def test_damage_does_not_end_the_process(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.tif" for name in ("zeiss", "fei", "olympus")]
    _olympus(files[2], -6, 0.33, 0.33)
    for path, tag in (
        (files[0], _zeiss("Image Pixel Size = 279.1 nm")),
        (files[1], _text(34682, _fei("2e-8", "2e-8"))),
    ):
        tifffile.imwrite(path, GREY, photometric="minisblack", metadata=None, extratags=[tag])
    assert 0 < outlives(files, tmp_path, 300) < 300
