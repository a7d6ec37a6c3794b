"""Mean, spread and confidence interval over fields, and how many fields are still needed.

In the manner of ASTM E562 and E1245: a field is one observation. Pixels are none, because
neighbours are correlated: an interval over pixels would be far too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

RELATIVE_ACCURACY = 0.1
"""Half-width of the interval over the mean that the number of fields needed is stated for."""

_UPPER = 0.975
"""Two-sided 95 %."""


@dataclass(frozen=True)
class Estimate:
    """A quantity over n fields, in its own unit."""

    n: int
    mean: float
    s: float | None
    """Standard deviation between fields, divisor n - 1; None for one field."""
    ci95: float | None
    """Half-width of the 95 % confidence interval of the mean, t(0.975, n - 1) s / sqrt(n); None
    for one field, and where all are equal: no field shows how much they differ, and +- 0 would
    look like certainty."""
    ra_percent: float | None
    """Relative accuracy, 100 ci95 / mean; None as above, and where the mean is not above 0."""
    needed: int | None
    """Fields that would bring the relative accuracy to 10 %, `fields_needed`; None as above."""
    minimum: float
    maximum: float

    @property
    def more_needed(self) -> int | None:
        """Fields still to be taken for that."""
        return None if self.needed is None else max(0, self.needed - self.n)


def estimate(values: Sequence[float]) -> Estimate:
    """What `values`, one per field, say of the mean.

    Raises ValueError without values, and for one that is not finite.
    """
    if not values or not all(map(math.isfinite, values)):
        raise ValueError("expected finite values, at least one")
    n, low, high = len(values), min(values), max(values)
    mean = math.fsum(values) / n
    if n < 2:
        return Estimate(n, mean, None, None, None, None, low, high)
    if low == high:  # a phase that is nowhere, or the same frame several times
        return Estimate(n, mean, 0.0, None, None, None, low, high)
    s = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    ci95 = student_t(n - 1) * s / math.sqrt(n)
    if mean <= 0:
        return Estimate(n, mean, s, ci95, None, None, low, high)
    return Estimate(n, mean, s, ci95, 100 * ci95 / mean, fields_needed(mean, s), low, high)


def fields_needed(mean: float, s: float) -> int:
    """The smallest n of at least 2 with t(0.975, n - 1) s / sqrt(n) <= 0.1 mean.

    It takes mean (above 0) and s for what more fields would show, too. t is that of the n sought,
    not of the fields at hand, so it is found by bisection: the left side falls with n.
    """
    spread = s / mean

    def suffices(n: int) -> bool:
        return student_t(n - 1) * spread <= RELATIVE_ACCURACY * math.sqrt(n)

    low, high = 1, 2
    while not suffices(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def student_t(degrees: int) -> float:
    """The quantile t(0.975, degrees) of Student's distribution."""
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    return float(stdtrit(degrees, _UPPER))
