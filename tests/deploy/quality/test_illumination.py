"""The range of the light, against light that is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hptl_deploy.quality.illumination import illumination_range
from support.drawings import blobs

SIZE = (480, 640)


def lit(surface: NDArray[np.float64], noise: float = 3.0) -> NDArray[np.uint8]:
    grey = surface + np.random.default_rng(1).normal(0, noise, surface.shape)
    return np.repeat(np.rint(grey).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def axes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SIZE), indexing="ij")
    return y, x


@pytest.mark.parametrize("tilt", [0.0, 0.05, 0.2, 0.4])
def test_a_tilted_light(tilt: float) -> None:
    y, x = axes()
    surface = 140 * (1 + tilt / 4 * y + tilt / 4 * x)  # from corner to corner: tilt
    found = illumination_range(lit(surface), np.zeros(SIZE, np.uint8))
    assert found == pytest.approx(tilt, abs=0.01)


def test_a_falloff_to_the_corners() -> None:
    y, x = axes()
    surface = 160 * (1 - 0.3 * (y**2 + x**2) / 2)
    found = illumination_range(lit(surface), np.zeros(SIZE, np.uint8))
    assert found == pytest.approx(0.3 / (1 - 0.3 / 3), abs=0.015)  # over the mean


def test_particles_do_not_count() -> None:
    y, _ = axes()
    surface = 140 * (1 + 0.1 * y)
    classes = (blobs(*SIZE, seed=2) > 150).astype(np.uint8)
    assert 0.1 < classes.mean() < 0.7
    surface[classes == 1] = 30
    assert illumination_range(lit(surface), classes) == pytest.approx(0.2, abs=0.015)


def test_a_stain_weighs_little() -> None:
    y, _ = axes()
    surface = 140 * (1 + 0.1 * y)
    surface[60:180, 400:520] = 70  # 5 % of the field, taken for matrix
    found = illumination_range(lit(surface), np.zeros(SIZE, np.uint8))
    assert found == pytest.approx(0.2, abs=0.02)


def test_without_matrix_it_is_unknown() -> None:
    pixels = lit(np.full(SIZE, 140.0))
    assert illumination_range(pixels, np.full(SIZE, 2, np.uint8)) is None
    half = np.full(SIZE, 255, np.uint8)
    half[:, :200] = 0
    assert illumination_range(pixels, half) is None
    assert illumination_range(pixels[:5, :5], np.zeros((5, 5), np.uint8)) is None
    assert illumination_range(np.zeros_like(pixels), np.zeros(SIZE, np.uint8)) is None
