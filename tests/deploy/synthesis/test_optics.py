"""Lens, light, camera and file against closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import erf

from hptl_deploy.micrographs import open_micrograph
from hptl_deploy.synthesis.conditions import Camera
from hptl_deploy.synthesis.optics import photograph, to_jpeg
from support.synthesis import camera


def flat(height: int, width: int, level: float = 1.0) -> list[NDArray[np.float32]]:
    return [np.full((height, width), level, np.float32)] * 3


def taken(brightness: list[NDArray[np.float32]], lens: Camera, seed: int = 0) -> NDArray[np.uint8]:
    pixels = photograph(np.random.default_rng(seed), brightness, lens)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (*brightness[0].shape, 3)
    return pixels


@pytest.mark.parametrize("size", [0.06, 0.0713, 0.088, 0.1, 0.1234, 0.14])
def test_the_file_states_its_pixel_size(tmp_path: Path, size: float) -> None:
    pixels = np.random.default_rng(1).integers(100, 140, (70, 90, 3)).astype(np.uint8)
    path = tmp_path / "x.jpg"
    path.write_bytes(to_jpeg(pixels, camera(pixel_size_um=size)))
    with open_micrograph(path) as micrograph:
        (page,) = micrograph.pages
        assert page.calibration.source == "JPEG EXIF"
        assert page.calibration.pixel_size_um == pytest.approx(size, rel=1e-6)
        assert page.read().shape == (70, 90, 3)


def test_a_better_quality_makes_a_larger_and_truer_file() -> None:
    pixels = np.random.default_rng(2).integers(60, 200, (80, 80, 3)).astype(np.uint8)
    sizes = [len(to_jpeg(pixels, camera(jpeg_quality=q))) for q in (72, 85, 97)]
    assert sizes == sorted(sizes)
    halved = to_jpeg(pixels, camera(jpeg_subsampling=2))
    assert len(halved) < sizes[2]


@pytest.mark.parametrize("tone", [0.8, 1.0, 1.25])
@pytest.mark.parametrize("level", [0.2, 0.6, 1.0])
def test_a_ratio_is_seen_through_the_curve(level: float, tone: float) -> None:
    """`conditions` says: as r ** tone."""
    pixels = taken(flat(40, 40, level), camera(tone=tone, matrix=(150, 120, 180)))
    for channel, matrix in enumerate((150, 120, 180)):
        assert pixels[..., channel] == pytest.approx(matrix * level**tone, abs=0.6)


def test_light_falls_off_to_the_corners_and_tilts() -> None:
    """Along a diagonal through the middle by the square of the distance."""
    pixels = taken(flat(200, 300), camera(falloff=0.3)).astype(float)[..., 1] / 160
    for share in (0.0, 0.25, 0.5):
        y, x = round(100 + share * 200), round(150 + share * 300)
        expected = 1 - 0.3 * (2 * share**2) / 0.5
        assert pixels[min(y, 199), min(x, 299)] == pytest.approx(expected, abs=0.01)
    tilted = taken(flat(200, 300), camera(tilt=(0.1, -0.04))).astype(float)[..., 1] / 160
    assert tilted[-1, 0] - tilted[0, 0] == pytest.approx(0.1, abs=0.008)
    assert tilted[0, -1] - tilted[0, 0] == pytest.approx(-0.04, abs=0.008)
    moved = taken(flat(200, 300), camera(falloff=0.3, centre=(0.4, 0.65)))[..., 1]
    bright = np.argwhere(moved == moved.max()).mean(axis=0)
    np.testing.assert_allclose(bright, (80, 195), atol=3)


@pytest.mark.parametrize("blur", [0.9, 1.6, 3.0])
def test_an_edge_becomes_the_integral_of_a_gaussian(blur: float) -> None:
    step = np.ones((40, 80), np.float32)
    step[:, :40] = 0.3
    pixels = taken([step] * 3, camera(blur=(blur, blur, blur)))
    x = np.arange(80) - 39.5  # the edge runs between columns 39 and 40
    expected = 0.3 + 0.7 * (1 + erf(x / (blur * np.sqrt(2)))) / 2
    # The kernel ends three deviations out, so the tails differ by 0.3 %.
    np.testing.assert_allclose(pixels[20, :, 1] / 160, expected, atol=0.012)


def test_channels_have_their_own_blur() -> None:
    step = np.ones((40, 80), np.float32)
    step[:, :40] = 0.3
    pixels = taken([step] * 3, camera(blur=(3.0, 1.0, 2.0), matrix=(160, 160, 160)))
    slopes = np.diff(pixels[20].astype(float), axis=0).max(axis=0)
    expected = 0.7 * 160 / (np.array([3.0, 1.0, 2.0]) * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(slopes, expected, rtol=0.06)


def test_defocus_adds_in_quadrature_where_the_specimen_tilts_away() -> None:
    """With the centre right of the middle, the right edge is out of focus, the left in it."""
    step = np.ones((120, 160), np.float32)
    step[:60] = 0.2
    lens = camera(blur=(1.5, 1.5, 1.5), defocus=2.0, centre=(0.5, 0.65), matrix=(200, 200, 200))
    pixels = taken([step] * 3, lens).astype(float)[..., 1]
    places = np.arange(119) + 0.5
    for column, expected in ((5, 1.5), (159, np.hypot(1.5, 2.0))):
        slope = np.diff(pixels[:, column])
        middle = np.average(places, weights=slope)
        width = np.sqrt(np.average((places - middle) ** 2, weights=slope))
        assert width == pytest.approx(expected, rel=0.05)


def test_noise_is_as_strong_as_asked_and_grows_with_the_root_of_the_level() -> None:
    lens = camera(noise=4.0, matrix=(160, 160, 160))
    for level in (1.0, 0.25):
        pixels = taken(flat(300, 300, level), lens).astype(float)
        np.testing.assert_allclose(pixels.std(axis=(0, 1)), 4 * np.sqrt(level), rtol=0.03)
        assert pixels.mean() == pytest.approx(160 * level, abs=0.1)
        # A share of 0.6 is common: 0.36 of the variance.
        together = np.corrcoef(pixels.reshape(-1, 3).T)
        assert together[0, 1] == pytest.approx(0.36, abs=0.02)
        assert together[1, 2] == pytest.approx(0.36, abs=0.02)


def test_grain_correlates_the_noise_and_keeps_its_strength() -> None:
    """A Gaussian of deviation s correlates neighbours by exp(-1 / (4 s^2))."""
    lens = camera(noise=4.0, noise_grain=0.9, matrix=(160, 160, 160))
    noise = taken(flat(300, 400, 1.0), lens)[..., 1].astype(float)
    noise -= noise.mean()
    assert noise.std() == pytest.approx(4.0, rel=0.05)
    beside = float((noise[:, 1:] * noise[:, :-1]).mean() / noise.var())
    assert beside == pytest.approx(np.exp(-1 / (4 * 0.9**2)), abs=0.04)


def test_a_monochrome_camera_is_grey_noise_included() -> None:
    lens = camera(noise=4.0, monochrome=True, matrix=(150, 150, 150))
    pixels = taken(flat(60, 60), lens)
    assert pixels.std() > 2
    assert (pixels == pixels[..., :1]).all()


def test_sharpening_takes_off_a_wider_edge() -> None:
    """The edge doubled, less the edge behind a Gaussian of 1.5 px more: it overshoots."""
    step = np.ones((40, 80), np.float32)
    step[:, :40] = 0.3
    found = taken([step] * 3, camera(blur=(1.0, 1.0, 1.0), sharpening=1.0))[20, :, 1] / 160
    x = (np.arange(80) - 39.5) / np.sqrt(2)
    expected = 0.3 + 0.7 * (1 + 2 * erf(x / 1.0) - erf(x / np.hypot(1.0, 1.5))) / 2
    np.testing.assert_allclose(found, expected, atol=0.012)
    assert found.max() > 1.05
