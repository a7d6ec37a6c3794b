from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hptl_deploy.statistics.intervals import estimate, fields_needed, student_t


def test_five_fields_worked_by_hand() -> None:
    # Mg2Si in %: 1.0 1.2 0.8 1.4 1.1. Sum 5.5, mean 1.1.
    # Squares of the deviations: 0.01 + 0.01 + 0.09 + 0.09 + 0 = 0.20; s = sqrt(0.20 / 4) = 0.2236.
    # t(0.975, 4) = 2.776 (table); CI = 2.776 x 0.2236 / sqrt(5) = 0.2776; %RA = 25.24.
    # Needed: t s / sqrt(n) <= 0.11, sqrt(n) / t >= 2.0328.
    #   17: t(16) = 2.120, 4.1231 / 2.120 = 1.945; 18: t(17) = 2.110, 4.2426 / 2.110 = 2.011;
    #   19: t(18) = 2.101, 4.3589 / 2.101 = 2.075: enough. So 19, 14 more.
    # E562's short formula with t of the five fields at hand would ask for (25.24 / 10)^2 x 5 = 32.
    found = estimate([1.0, 1.2, 0.8, 1.4, 1.1])
    assert found.n == 5
    assert found.mean == pytest.approx(1.1)
    assert found.s == pytest.approx(0.22361, abs=5e-6)
    assert found.ci95 == pytest.approx(0.2776, abs=5e-5)
    assert found.ra_percent == pytest.approx(25.24, abs=5e-3)
    assert (found.needed, found.more_needed) == (19, 14)
    assert (found.minimum, found.maximum) == (0.8, 1.4)


def test_student_t_is_the_tables() -> None:
    # Two-sided 95 %, as in any table of the distribution.
    table = {1: 12.706, 2: 4.303, 4: 2.776, 9: 2.262, 29: 2.045, 120: 1.980}
    for degrees, t in table.items():
        assert student_t(degrees) == pytest.approx(t, abs=5e-4)
    for degrees in (10**6, 10**9, 10**12, 10**15):
        assert student_t(degrees) == pytest.approx(stats.norm.ppf(0.975), abs=1e-5)


def test_one_field_has_no_interval() -> None:
    found = estimate([0.25])
    assert (found.n, found.mean, found.minimum, found.maximum) == (1, 0.25, 0.25, 0.25)
    assert found.s is None
    assert found.ci95 is None
    assert found.ra_percent is None
    assert found.needed is None
    assert found.more_needed is None


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0])
def test_equal_fields_have_no_interval(value: float) -> None:
    # A phase that is nowhere, or one frame three times: +- 0 would look like certainty.
    found = estimate([value] * 3)
    assert found.mean == pytest.approx(value)
    assert (found.n, found.s) == (3, 0.0)
    assert (found.ci95, found.ra_percent) == (None, None)
    assert (found.needed, found.more_needed) == (None, None)


@pytest.mark.parametrize("values", [[], [0.1, math.nan], [math.inf]])
def test_what_is_no_sample_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="expected finite values, at least one"):
        estimate(values)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40))
def test_as_scipy_has_it(values: list[float]) -> None:
    found = estimate(values)
    assert found.s == pytest.approx(np.std(values, ddof=1), rel=1e-9, abs=1e-12)
    assert (found.ci95 is None) == (min(values) == max(values))
    if found.ci95 is not None and np.ptp(values) > 1e-6:
        low, high = stats.t.interval(
            0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values)
        )
        assert found.mean - found.ci95 == pytest.approx(low, rel=1e-9, abs=1e-12)
        assert found.mean + found.ci95 == pytest.approx(high, rel=1e-9, abs=1e-12)


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=40))
def test_no_more_are_needed_where_the_accuracy_is_reached(values: list[float]) -> None:
    found = estimate(values)
    assert (found.ra_percent is None) == (min(values) == max(values))
    if found.ra_percent is not None and abs(found.ra_percent - 10) > 1e-6:
        assert (found.more_needed == 0) == (found.ra_percent < 10)


@pytest.mark.parametrize("ratio", [0.001, 0.03, 0.2, 0.7, 1.5, 6.0])
def test_fields_needed_is_the_first_number_that_suffices(ratio: float) -> None:
    def accuracy(n: int) -> float:
        return float(stats.t.ppf(0.975, n - 1) * ratio / math.sqrt(n))

    brute = next(n for n in range(2, 100_000) if accuracy(n) <= 0.1)
    assert fields_needed(2.0, 2.0 * ratio) == brute


def test_of_a_very_rare_phase_millions_are_needed() -> None:
    # One field in 10 000 shows it: s = 0.01, mean 0.0001, (1.96 x 100 / 0.1)^2 = 3 841 459.
    assert fields_needed(0.0001, 0.01) == pytest.approx((1.959964 * 1000) ** 2, rel=1e-5)
