"""Features against closed forms, and in tiles against the whole frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from hptl_train.rivals.features import features, features_of_tile, names, reach, tiles
from support.labelled import draw

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIGMAS = (1.0, 2.0, 4.0)
KERNELS = 2e-3
"""Relative: kernels end at four sigma, where 1.1e-3 of a Gaussian's variance lies beyond."""


def named(grey: NDArray[np.float64], sigmas: tuple[float, ...]) -> dict[str, NDArray[np.float32]]:
    pixels = np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)
    return dict(zip(names(sigmas), features(pixels, sigmas), strict=True))


@pytest.mark.parametrize("sigma", SIGMAS)
def test_a_ramp_has_its_slope_and_no_curvature(sigma: float) -> None:
    rows, columns = np.mgrid[:60, :80]
    found = named(2.0 * rows + columns, SIGMAS)
    inside = slice(24, 36), slice(24, 56)
    slope = np.hypot(2, 1)
    for name in ("gradient", "coherent"):
        assert found[f"{name}@{sigma:g}"][inside] == pytest.approx(slope, rel=2 * KERNELS)
    for name in ("hessian+", "hessian-"):
        assert found[f"{name}@{sigma:g}"][inside] == pytest.approx(0, abs=2e-4 * 200)
    # Roots of what rounding leaves of 5 - 5.
    assert found[f"diffuse@{sigma:g}"][inside] == pytest.approx(0, abs=5e-3)
    assert found[f"green@{sigma:g}"][inside] == pytest.approx((2.0 * rows + columns)[inside])


@pytest.mark.parametrize("sigma", SIGMAS)
def test_a_blob_has_the_hessian_of_a_wider_one(sigma: float) -> None:
    """A Gaussian of variance s^2 smoothed at sigma is one of variance v = s^2 + sigma^2.

    Its height is h = 240 s^2 / v; at distance r from the middle the Hessian's eigenvalues
    are -h/v e along the circle and (r^2/v - 1) h/v e across it, e = exp(-r^2 / 2v); their sum,
    the Laplacian of Gaussian, (r^2/v - 2) h/v e.
    """
    rows, columns = np.mgrid[:97, :97] - 48.0
    s = 8.0
    found = named(240 * np.exp(-(rows**2 + columns**2) / (2 * s**2)), SIGMAS)
    v = s**2 + sigma**2
    for row, column in ((0, 0), (3, 4), (0, 8), (-12, 9), (14, -14)):
        r2 = row**2 + column**2
        unit = 240 * s**2 / v**2 * np.exp(-r2 / (2 * v))
        along, across = -unit, (r2 / v - 1) * unit
        place = 48 + row, 48 + column
        larger, smaller = (found[f"hessian{sign}@{sigma:g}"][place] for sign in "+-")
        # What rounding to whole greys makes of a second derivative, 0.29 sqrt(3 / 16 pi) / sigma^3.
        noise = 4 * 0.07 / sigma**3
        assert larger == pytest.approx(max(along, across), rel=0.005, abs=noise)
        assert smaller == pytest.approx(min(along, across), rel=0.005, abs=noise)
        assert larger + smaller == pytest.approx((r2 / v - 2) * unit, rel=0.005, abs=2 * noise)
        slope = unit * np.sqrt(r2)
        assert found[f"gradient@{sigma:g}"][place] == pytest.approx(
            slope, rel=0.005, abs=0.12 / sigma**2
        )


def test_a_grating_is_coherent() -> None:
    """Of A sin(w x), gradients at sigma 1 are A w exp(-w^2 / 2) cos(w x); their mean square is
    half of the height's."""
    columns = np.mgrid[:90, :120][1]
    w = 2 * np.pi / 12
    found = named(128 + 100 * np.sin(w * columns), (1.0, 8.0))
    inside = slice(40, 50), slice(45, 75)
    height = 100 * w * np.exp(-(w**2) / 2)
    assert found["coherent@8"][inside] == pytest.approx(height / np.sqrt(2), rel=0.005)
    assert found["diffuse@8"][inside] == pytest.approx(0, abs=0.01 * height)


def test_colours_are_told_apart() -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = 200, 90, 7
    found = dict(zip(names((1.0, 3.0)), features(pixels, (1.0, 3.0)), strict=True))
    for colour, value in zip(("red", "green", "blue"), (200, 90, 7), strict=True):
        for name in (colour, f"{colour}@1", f"{colour}@3"):
            assert found[name] == pytest.approx(np.full((20, 30), value), rel=1e-6)
    assert len(names((1.0, 3.0))) == 3 + 2 * 8


@pytest.mark.parametrize("shape", [(70, 95), (33, 200), (6, 5)])
def test_tiles_have_the_features_of_the_whole(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    whole = features(pixels, SIGMAS)
    pieced = np.full_like(whole, np.nan)
    for tile in tiles(pixels.shape, SIGMAS, 32):
        pieced[:, *tile.write.slices] = features_of_tile(pixels, SIGMAS, tile)
    assert np.array_equal(pieced, whole)


def test_nothing_beyond_the_reach_is_felt() -> None:
    pixels, _ = draw((61, 61), np.random.default_rng(0))
    changed = pixels.copy()
    changed[30, 30] = 255 - changed[30, 30]
    different = (features(changed, SIGMAS) != features(pixels, SIGMAS)).any(axis=0)
    rows, columns = np.nonzero(different)
    farthest = max(np.abs(rows - 30).max(), np.abs(columns - 30).max())
    # 16 of the widest Gaussian and 4 of the gradients behind it.
    assert 16 < farthest <= reach(SIGMAS) == 20
