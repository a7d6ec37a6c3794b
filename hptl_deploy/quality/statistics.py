"""What the micrographs of a training set are like, kept in the model's card: a few kB.

`fitting` makes it where a model is exported; a card of an earlier version has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hptl_deploy.wording import shown_value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hptl_deploy.card_fields import Fields

MOST_FEATURES = 64
"""That a card may have, of this version or another."""
LIMITS = ("focus", "saturated_fraction", "illumination_range", "unsure_fraction")
"""Figures whose value that 99 in 100 micrographs of the training set's kind stay within is kept."""


@dataclass(frozen=True)
class TrainingStatistics:
    """The distribution of the training micrographs' features, and the limits that follow."""

    frames: int
    """Training micrographs it was made from."""
    held_out: int
    """Validation micrographs the limits were set on, too."""
    features: tuple[str, ...]
    """What the F numbers of a micrograph are."""
    centre: tuple[float, ...]
    """Their means [F]."""
    whitening: tuple[float, ...]
    """Lower triangle, row by row, of the matrix [F, F] that turns deviations from the centre into
    independent ones of variance 1."""
    distance: float
    """That 99 in 100 micrographs of the same kind stay within."""
    limits: dict[str, float]
    """Of LIMITS, those that were known of any micrograph."""
    pixel_sizes_um: tuple[float, float] | None
    """Smallest and largest that the micrographs state; None where any of them does not."""

    def unlikeness(self, features: NDArray[np.float64]) -> float:
        """Distance of a micrograph from the training set's centre, over the limit.

        `features` [F] are those that `self.features` names. Above 1: unlike the training set.
        """
        import numpy as np

        size = len(self.features)
        whitening = np.zeros((size, size))
        whitening[np.tril_indices(size)] = self.whitening
        away = whitening @ (features - np.array(self.centre))
        return float(np.sqrt((away**2).sum()) / self.distance)

    def to_json(self) -> dict[str, Any]:
        """The form stored in the card."""
        return {
            "frames": self.frames,
            "held_out": self.held_out,
            "features": list(self.features),
            "centre": list(self.centre),
            "whitening": list(self.whitening),
            "distance": self.distance,
            "limits": self.limits,
            "pixel_sizes_um": None if self.pixel_sizes_um is None else list(self.pixel_sizes_um),
        }

    @classmethod
    def from_fields(cls, found: Fields) -> TrainingStatistics:
        """Read what `to_json` wrote. Raises KeyError or ValueError."""
        features = found.texts("features")
        centre, whitening = found.series("centre"), found.series("whitening")
        size = len(features)
        if not 1 <= size <= MOST_FEATURES or len(set(features)) != size:
            raise ValueError(
                f"training statistics of {shown_value(list(features))}, expected 1 to "
                f"{MOST_FEATURES} different features"
            )
        if len(centre) != size or len(whitening) != size * (size + 1) // 2:
            raise ValueError(
                f"training statistics with {len(centre)} means and {len(whitening)} weights of "
                f"{size} features, expected {size} and {size * (size + 1) // 2}"
            )
        sizes = found.series("pixel_sizes_um") if found.has("pixel_sizes_um") else None
        statistics = cls(
            frames=found.whole("frames"),
            held_out=found.whole("held_out"),
            features=features,
            centre=centre,
            whitening=whitening,
            distance=found.number("distance"),
            limits=_limits(found),
            pixel_sizes_um=None if sizes is None else _range(sizes),
        )
        _check_positive("distance", statistics.distance)
        return statistics


def _limits(found: Fields) -> dict[str, float]:
    limits = found.numbers("limits")
    if unknown := limits.keys() - set(LIMITS):
        raise ValueError(f"a limit of {shown_value(min(unknown))}, expected {', '.join(LIMITS)}")
    for name, limit in limits.items():
        _check_positive(f"limits.{name}", limit)
    return limits


def _range(sizes: tuple[float, ...]) -> tuple[float, float]:
    if len(sizes) != 2 or not 0 < sizes[0] <= sizes[1] < 1000:
        raise ValueError(
            f"pixel_sizes_um {shown_value(list(sizes))}, expected the smallest and the largest"
        )
    return sizes[0], sizes[1]


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"training statistics with {name} {value}, expected more than 0")
