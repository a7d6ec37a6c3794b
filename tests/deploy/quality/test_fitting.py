"""Statistics of a training set: against scikit-learn, and against fresh draws."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hptl_deploy.quality import fitting
from hptl_deploy.quality.fitting import LEAST_FRAMES, Observed, fit, within
from hptl_deploy.quality.statistics import LIMITS, TrainingStatistics

SIZE = 14
NAMES = [f"feature {n}" for n in range(SIZE)]
_MIXING = np.random.default_rng(9).normal(0, 0.3, (SIZE, SIZE)) + np.eye(SIZE)


def drawn(count: int, seed: int) -> NDArray[np.float64]:
    """Correlated features [count, F] of one kind of micrographs."""
    drawn: NDArray[np.float64] = np.random.default_rng(seed).normal(0, 1, (count, SIZE)) @ _MIXING
    return drawn


def observed(table: NDArray[np.float64], size: float | None = 0.1) -> list[Observed]:
    return [Observed(row, dict.fromkeys(LIMITS, 1.0 + n), size) for n, row in enumerate(table)]


def fitted(count: int, held_out: int = 0, seed: int = 0) -> TrainingStatistics:
    found = fit(NAMES, observed(drawn(count, seed)), observed(drawn(held_out, seed + 1000)))
    assert found is not None
    return found


@pytest.mark.parametrize("count", [16, 40, 200])
def test_the_covariance_is_ledoit_and_wolfs(count: int) -> None:
    ledoit_wolf = pytest.importorskip("sklearn.covariance").ledoit_wolf
    table = drawn(count, 3)
    table = (table - table.mean(axis=0)) / table.std(axis=0, ddof=1)
    expected, _ = ledoit_wolf(table, assume_centered=True)
    np.testing.assert_allclose(fitting._shrunk(table), expected + 1e-3 * np.eye(SIZE), rtol=1e-10)


@pytest.mark.parametrize(("count", "expected"), [(14, 0.07), (40, 0.03), (100, 0.02)])
def test_others_of_the_kind_stay_within(count: int, expected: float) -> None:
    """1 in n + 1 is to be beyond the largest of n; means over twenty training sets."""
    beyond = []
    for seed in range(20):
        statistics = fitted(count, seed=seed)
        others = drawn(200, 5000 + seed)
        beyond.append(np.mean([statistics.unlikeness(one) > 1 for one in others]))
    assert 0 < np.mean(beyond) < 1.6 * expected


def test_what_is_of_another_kind_is_beyond() -> None:
    statistics = fitted(40, 10)
    others = drawn(50, 77)
    far = [statistics.unlikeness(one + 8 * np.eye(SIZE)[3]) for one in others]
    assert np.mean(np.array(far) > 1) > 0.95
    # Each feature lies in its range, but never both together in this way.
    table = drawn(300, 5)
    table[:, 1] = table[:, 0] + 0.02 * table[:, 1]
    pair = fit(NAMES, observed(table), [])
    assert pair is not None
    odd = table[0].copy()
    odd[:2] = 1.5 * table[:, 0].std(), -1.5 * table[:, 0].std()
    assert pair.unlikeness(odd) > 1


def test_a_feature_that_never_varied_does_not_decide() -> None:
    table = drawn(40, 0)
    table[:, 5] = 0.0
    statistics = fit(NAMES, observed(table), [])
    assert statistics is not None
    other = drawn(1, 50)[0]
    other[5] = 0.0
    before = statistics.unlikeness(other)
    other[5] = 0.02  # 2 %
    assert statistics.unlikeness(other) == pytest.approx(before, rel=0.05)


def test_the_share_beyond_an_order_statistic() -> None:
    rng = np.random.default_rng(0)
    for count, share in ((20, 1 / 21), (150, 1 / 151), (250, 2 / 251)):
        tries = rng.exponential(size=(4000, count + 1))
        beyond = np.mean([row[-1] > within(row[:-1].tolist()) for row in tries])
        assert beyond == pytest.approx(share, abs=4 * np.sqrt(share / 4000))


def test_limits_sizes_and_too_few() -> None:
    training, held_out = observed(drawn(LEAST_FRAMES, 0)), observed(drawn(3, 1), 0.3)
    found = fit(NAMES, training, held_out)
    assert found is not None
    assert found.limits == dict.fromkeys(LIMITS, float(LEAST_FRAMES))
    assert found.pixel_sizes_um == (0.1, 0.3)
    assert (found.frames, found.held_out) == (LEAST_FRAMES, 3)
    unknown = [*training[:-1], Observed(training[0].features, dict.fromkeys(LIMITS), None)]
    found = fit(NAMES, unknown, [])
    assert found is not None
    assert found.pixel_sizes_um is None
    assert found.limits == dict.fromkeys(LIMITS, LEAST_FRAMES - 1.0)
    assert fit(NAMES, training[:-1], held_out) is None
