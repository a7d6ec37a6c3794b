from __future__ import annotations

import numpy as np
import pytest

from hptl_deploy.synthesis.fields import chance, enlarged, log_uniform, smooth_noise


@pytest.mark.parametrize("sigma", [0.8, 1.9, 3.0, 7.0, 25.0])
def test_smooth_noise_is_white_noise_behind_a_gaussian(sigma: float) -> None:
    """Its autocorrelation is exp(-(d / 2 sigma)^2): the Gaussian with itself."""
    height, width = 500, 611
    fields = [smooth_noise(np.random.default_rng(s), height, width, sigma) for s in range(8)]
    assert {field.shape for field in fields} == {(height, width)}
    assert {field.dtype for field in fields} == {np.dtype(np.float32)}
    # As many independent places as areas of 4 pi sigma^2 fit, in all fields.
    places = 8 * height * width / (4 * np.pi * sigma**2)
    slack = 4 / np.sqrt(places)
    stack = np.stack(fields).astype(float)
    assert abs(stack.mean()) < slack
    assert stack.std() == pytest.approx(1, abs=0.02 + slack)
    for lag in {1, round(sigma), round(2 * sigma), round(3 * sigma)} - {0}:
        expected = np.exp(-((lag / (2 * sigma)) ** 2))
        down = (stack[:, lag:] * stack[:, :-lag]).mean() / (stack**2).mean()
        right = (stack[:, :, lag:] * stack[:, :, :-lag]).mean() / (stack**2).mean()
        assert down == pytest.approx(expected, abs=0.015 + slack)
        assert right == pytest.approx(expected, abs=0.015 + slack)


def test_smooth_noise_is_the_draws_alone() -> None:
    first, again, other = (smooth_noise(np.random.default_rng(s), 90, 70, 12) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.5


def test_enlarged_keeps_places() -> None:
    """A ramp stays the ramp through the middles of the pixels."""
    coarse = np.tile((np.arange(10, dtype=np.float32) + 0.5) * 8, (6, 1))
    fine = enlarged(coarse, 48, 80)
    assert fine.shape == (48, 80)
    np.testing.assert_allclose(fine[:, 16:-16], np.tile(np.arange(80) + 0.5, (48, 1))[:, 16:-16],
                               atol=1e-3)  # fmt: skip


def test_log_uniform_likes_every_octave_the_same() -> None:
    rng = np.random.default_rng(5)
    drawn = np.array([log_uniform(rng, 0.5, 8.0) for _ in range(8000)])
    assert drawn.min() >= 0.5
    assert drawn.max() <= 8.0
    octaves = np.bincount(np.floor(np.log2(drawn)).astype(int) + 1, minlength=4)
    # Four octaves of 2000 each; the deviation of such a count is 39.
    assert np.abs(octaves - 2000).max() < 160


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_chance(share: float) -> None:
    rng = np.random.default_rng(6)
    assert np.mean([chance(rng, share) for _ in range(4000)]) == pytest.approx(share, abs=0.03)
