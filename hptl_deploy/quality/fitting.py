"""From the features of training micrographs to their statistics.

With a few dozen micrographs and a dozen features, a covariance taken as it comes is so well fitted
to these very micrographs that any other looks unlike them. It is therefore drawn to its diagonal
(O. Ledoit and M. Wolf, A well-conditioned estimator for large-dimensional covariance matrices,
J. Multivariate Anal. 88 (2004) 365, on standardised features), and the limit is set on distances of
micrographs that had no part in it: each training micrograph's from the statistics of all others,
and those of the validation split.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.quality.statistics import LIMITS, TrainingStatistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_FRAMES = 12
"""Training micrographs; fewer say nothing of how micrographs of their kind differ."""
WITHIN = 0.99
"""Share of micrographs of the training set's kind that are to stay within the limits."""
_DIGITS = 6


@dataclass(frozen=True)
class Observed:
    """What is known of one micrograph of the data set."""

    features: NDArray[np.float64]
    """[F]"""
    figures: dict[str, float | None]
    """Of LIMITS."""
    pixel_size_um: float | None


def fit(
    names: Sequence[str], training: Sequence[Observed], held_out: Sequence[Observed]
) -> TrainingStatistics | None:
    """Statistics of `training`, with limits that `held_out` had a say in; `names` [F].

    None with fewer than LEAST_FRAMES training micrographs.
    """
    if len(training) < LEAST_FRAMES:
        return None
    table = np.array([one.features for one in training])
    centre, whitening = _whitened(table)
    others = [
        _distance(one, *_whitened(np.delete(table, place, axis=0)))
        for place, one in enumerate(table)
    ]
    apart = [_distance(one.features, centre, whitening) for one in held_out]
    known = [*training, *held_out]
    figures = {
        name: [value for one in known if (value := one.figures[name]) is not None]
        for name in LIMITS
    }
    return TrainingStatistics(
        frames=len(training),
        held_out=len(held_out),
        features=tuple(names),
        centre=_rounded(centre),
        whitening=_rounded(whitening[np.tril_indices(len(centre))]),
        distance=_rounded([within([*others, *apart])])[0],
        limits={
            name: limit
            for name, values in figures.items()
            if values and (limit := _rounded([within(values)])[0]) > 0
        },
        pixel_sizes_um=_sizes([one.pixel_size_um for one in known]),
    )


def within(values: Sequence[float]) -> float:
    """What WITHIN of values like these, all drawn alike, stay below: an order statistic.

    One more value is above the k-th smallest of n with probability 1 - k / (n + 1), whatever the
    distribution. With fewer than 99 values that is the largest, which 1 in n + 1 exceeds.
    """
    ordered = sorted(values)
    return ordered[min(len(ordered), math.ceil(WITHIN * (len(ordered) + 1))) - 1]


def _whitened(table: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(centre [F], whitening [F, F], lower triangular) of micrographs [N, F]."""
    centre, spread = table.mean(axis=0), table.std(axis=0, ddof=1)
    # A feature that never varied, as the tint of grey cameras, must not make everything else
    # unlike it: 0.05, or 5 %, at least.
    spread = np.maximum(spread, 0.05)
    covariance = _shrunk((table - centre) / spread)
    lower = np.linalg.cholesky(covariance)
    whitening = np.linalg.solve(lower, np.diag(1 / spread))
    return centre, whitening


def _shrunk(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ledoit and Wolf's covariance [F, F] of centred rows [N, F]."""
    count, size = table.shape
    sample = table.T @ table / count
    target = float(np.trace(sample)) / size
    apart = float(((sample - target * np.eye(size)) ** 2).sum())
    squares = table**2
    scatter = float((squares.T @ squares / count - sample**2).sum()) / count
    share = min(1.0, scatter / apart) if apart > 0 else 1.0
    shrunk = (1 - share) * sample + share * target * np.eye(size)
    # Of micrographs that are all the same nothing is left to shrink towards.
    found: NDArray[np.float64] = shrunk + 1e-3 * np.eye(size)
    return found


def _distance(
    one: NDArray[np.float64], centre: NDArray[np.float64], whitening: NDArray[np.float64]
) -> float:
    return float(np.linalg.norm(whitening @ (one - centre)))


def _sizes(sizes: Sequence[float | None]) -> tuple[float, float] | None:
    known = [size for size in sizes if size is not None]
    return (min(known), max(known)) if known and len(known) == len(sizes) else None


def _rounded(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, ...]:
    """Digits beyond these say nothing of a few dozen micrographs."""
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)
