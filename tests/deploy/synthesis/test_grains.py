"""Grains against a Voronoi tessellation by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hptl_deploy.synthesis.grains import Grains
from support.synthesis import depth

HEIGHT, WIDTH, SIZE = 240, 320, 90.0
_COARSE = 8


@pytest.fixture
def straight(monkeypatch: pytest.MonkeyPatch) -> Grains:
    """Grains whose boundaries are not bent."""
    monkeypatch.setattr(
        "hptl_deploy.synthesis.grains.smooth_noise",
        lambda rng, height, width, sigma: np.zeros((height, width), np.float32),
    )
    return Grains(np.random.default_rng(3), HEIGHT, WIDTH, SIZE)


def brute_force() -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Distances to all centres [H, W, n] and the nearest one's number [H, W]."""
    margin = 1.5 * SIZE
    count = round((HEIGHT + 2 * margin) * (WIDTH + 2 * margin) / SIZE**2)
    centres = np.random.default_rng(3).uniform(
        (-margin, -margin), (HEIGHT + margin, WIDTH + margin), size=(count, 2)
    )
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    distances = np.hypot(y[..., None] - centres[:, 0], x[..., None] - centres[:, 1])
    return distances, distances.argmin(axis=-1)


def test_distance_is_that_to_the_voronoi_boundary(straight: Grains) -> None:
    distances, nearest = brute_force()
    assert straight.count == distances.shape[-1]
    first, second = np.sort(distances, axis=-1)[..., :2].transpose(2, 0, 1)
    found = straight.distance()
    assert found.shape == (HEIGHT, WIDTH)
    error = np.abs(found - (second - first) / 2)
    # Between places of the coarse grid a ridge or a valley is rounded off.
    assert error.max() < _COARSE / 2
    assert error.mean() < 0.4
    # It never overstates how far a pixel lies from a change of grain, seen pixel by pixel ...
    edge = np.zeros((HEIGHT, WIDTH), bool)
    edge[:-1] |= nearest[:-1] != nearest[1:]
    edge[:, :-1] |= nearest[:, :-1] != nearest[:, 1:]
    true = depth(~edge)
    assert (found - true).max() < _COARSE / 2
    # ... and what it says less, where boundaries meet, is a few tenths on the mean.
    inside = (true > 12) & (true < 25)
    assert 0.6 < (found[inside] / true[inside]).mean() <= 1


def test_a_value_per_grain_is_laid_out_on_it(straight: Grains) -> None:
    _, nearest = brute_force()
    values = np.arange(straight.count, dtype=np.float32)
    found = straight.value(values)
    away = straight.distance() > 3 * _COARSE  # beyond the interpolation's reach
    assert away.mean() > 0.05
    np.testing.assert_allclose(found[away], values[nearest][away], atol=1e-3)


@pytest.mark.parametrize(("share", "median"), [(0.0, 0.5), (1.0, 1 - 0.5 ** (1 / 12))])
def test_places(share: float, median: float) -> None:
    """Anywhere; or the nearest of twelve to a boundary, whose median rank is known."""
    grains = Grains(np.random.default_rng(4), 600, 800, 150.0)
    distance = grains.distance()
    rng = np.random.default_rng(5)
    places = np.array([grains.place(rng, share) for _ in range(1500)])
    assert places.min() >= 0
    assert (places < (800, 600)).all()
    x, y = places.astype(int).T
    ranks = np.searchsorted(np.sort(distance, axis=None), distance[y, x]) / distance.size
    assert np.median(ranks) == pytest.approx(median, abs=0.04)


def test_boundaries_are_bent() -> None:
    """Without it, every boundary is a straight line."""
    bent = Grains(np.random.default_rng(3), HEIGHT, WIDTH, SIZE).distance()
    distances, _ = brute_force()
    first, second = np.sort(distances, axis=-1)[..., :2].transpose(2, 0, 1)
    moved = np.abs(bent - (second - first) / 2)
    assert 1 < moved.mean() < 0.2 * SIZE
