"""Scaling against exact fractions, palettes, and other libraries' decoding."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import imagecodecs
import imageio.v3
import numpy as np
import pytest
from PIL import Image

from hptl_deploy.micrographs import open_micrograph
from hptl_deploy.micrographs.pixels import look_up, palette_table, scaling_table, to_rgb
from support.micrograph_samples import SAMPLES, Sample, grey, ramp, scaled


@pytest.mark.parametrize("bits", range(1, 17))
def test_table_is_exact(bits: int) -> None:
    largest = 2**bits - 1
    expected = [round(Fraction(value * 255, largest)) for value in range(largest + 1)]
    assert scaling_table(bits, bits).tolist() == expected
    assert scaling_table(bits, bits, inverted=True).tolist() == [255 - v for v in expected]


def test_samples_above_the_declared_range_are_white() -> None:
    table = scaling_table(16, 12)
    assert table.shape == (65536,)
    assert table[4095:].min() == 255
    assert table[:4096].tolist() == scaling_table(12, 12).tolist()


@pytest.mark.parametrize("factor", [1, 256, 257])
def test_palettes_of_every_habit(factor: int) -> None:
    values = np.arange(256, dtype=np.uint16)
    colours = np.stack([values, values[::-1], np.full(256, 255, np.uint16)]) * np.uint16(factor)
    assert palette_table(colours).tolist() == [[v, 255 - v, 255] for v in range(256)]


def test_palette_of_full_depth() -> None:
    colours = np.array([[32768], [1], [65535]], np.uint16)
    assert palette_table(colours).tolist() == [[128, 0, 255]]  # 32768 * 255 / 65535 = 127.5039


def test_boolean_samples_are_looked_up() -> None:
    assert look_up(scaling_table(1, 1), np.array([True, False])).tolist() == [255, 0]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_to_rgb(channels: int) -> None:
    levels = np.arange(2 * 3 * channels, dtype=np.uint8).reshape(2, 3, channels)
    expected = levels[..., :3] if channels >= 3 else grey(levels[..., 0])
    assert to_rgb(levels).tolist() == expected.tolist()


def test_the_pixels_own_range_does_not_matter(tmp_path: Path) -> None:
    dark = (ramp(16) // 16).astype(np.uint16)
    (tmp_path / "dark.png").write_bytes(imagecodecs.png_encode(dark))
    with open_micrograph(tmp_path / "dark.png") as micrograph:
        assert np.array_equal(micrograph.pages[0].read(), grey(scaled(dark, 16)))


_EIGHT_BIT = [
    s for s in SAMPLES
    if "16" not in s.name and "jpeg2000" not in s.name and len(s.pages) == 1
]  # fmt: skip


@pytest.mark.parametrize(
    "sample",
    [s for s in _EIGHT_BIT if s.name.startswith(("tiff-grey8", "tiff-red", "tiff-pillow", "bmp"))],
    ids=lambda sample: sample.name,
)
def test_pillow_agrees(sample: Sample, tmp_path: Path) -> None:
    path = sample.file(tmp_path)
    try:
        with Image.open(path) as picture:
            expected = np.asarray(picture.convert("RGB"))
    except OSError:
        pytest.skip("Pillow cannot read this kind")
    with open_micrograph(path) as micrograph:
        found = micrograph.pages[0].read()
    if "planar-tiled" in sample.name:
        expected = sample.pages[0]  # Pillow takes the planes for one
    assert int(np.abs(found.astype(int) - expected).max()) <= sample.tolerance


@pytest.mark.parametrize(
    "sample", [s for s in SAMPLES if s.suffix == ".png"], ids=lambda sample: sample.name
)
def test_libpng_agrees(sample: Sample, tmp_path: Path) -> None:
    path = sample.file(tmp_path)
    decoded = imagecodecs.png_decode(path.read_bytes())
    levels = scaled(decoded, 16) if decoded.dtype == np.uint16 else decoded
    with open_micrograph(path) as micrograph:
        assert np.array_equal(micrograph.pages[0].read(), to_rgb(np.asarray(levels, np.uint8)))


def test_cmyk_jpeg_agrees_with_imageio(tmp_path: Path) -> None:
    sample = next(s for s in SAMPLES if s.name == "jpeg-cmyk")
    path = sample.file(tmp_path)
    expected = imageio.v3.imread(path, mode="RGB")
    with open_micrograph(path) as micrograph:
        assert np.array_equal(micrograph.pages[0].read(), expected)
