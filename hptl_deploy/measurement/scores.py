"""Scores of class maps against a truth, pooled over pixels.

K phases; the confusion matrix C [K, K] counts pixels, rows true, columns predicted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy.phases import IGNORE, Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Confusion:
    """A confusion matrix that grows frame by frame."""

    def __init__(self, phases: Sequence[Phase]) -> None:
        self.phases = tuple(phases)
        self.matrix: NDArray[np.int64] = np.zeros((len(phases), len(phases)), np.int64)

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> None:
        """Count one frame, uint8 [H, W] each; pixels that are 255 in either are left out.

        Raises ValueError when the shapes differ or an index is none of the K phases'.
        """
        if truth.shape != predicted.shape:
            raise ValueError(f"shapes differ: truth {truth.shape}, predicted {predicted.shape}")
        kinds = len(self.phases)
        counted = (truth != IGNORE) & (predicted != IGNORE)
        true, found = truth[counted].astype(np.int64), predicted[counted]
        if true.size and max(true.max(), found.max()) >= kinds:
            raise ValueError(f"class index {max(true.max(), found.max())} with {kinds} phases")
        counts = np.bincount(true * kinds + found, minlength=kinds * kinds)
        self.matrix += counts.reshape(kinds, kinds)

    @property
    def pixels(self) -> int:
        """Pixels counted."""
        return int(self.matrix.sum())

    @property
    def accuracy(self) -> float:
        """Share of pixels labelled right (the paper's Eqs. 8-9); NaN without pixels."""
        return _ratio(self.matrix.trace(), self.matrix.sum())

    @property
    def iou(self) -> tuple[float, ...]:
        """Intersection over union per phase; NaN where it is in neither map."""
        hit = self.matrix.diagonal()
        union = self.matrix.sum(0) + self.matrix.sum(1) - hit
        return tuple(_ratio(h, u) for h, u in zip(hit, union, strict=True))

    @property
    def mean_iou(self) -> float:
        """Mean over the phases that occur; NaN where none does."""
        occurring = [value for value in self.iou if not np.isnan(value)]
        return float(np.mean(occurring)) if occurring else float("nan")

    @property
    def area_fraction_true(self) -> tuple[float, ...]:
        """Share of each phase in the truth."""
        return tuple(_ratio(count, self.matrix.sum()) for count in self.matrix.sum(1))

    @property
    def area_fraction_predicted(self) -> tuple[float, ...]:
        """Share of each phase in the prediction, over the same pixels."""
        return tuple(_ratio(count, self.matrix.sum()) for count in self.matrix.sum(0))

    def to_json(self) -> dict[str, Any]:
        """Every score; NaN becomes null."""
        phases = [
            {
                "key": phase.key,
                "iou": _number(iou),
                "area_fraction_true": _number(true),
                "area_fraction_predicted": _number(found),
                "area_fraction_error": _number(found - true),
            }
            for phase, iou, true, found in zip(
                self.phases,
                self.iou,
                self.area_fraction_true,
                self.area_fraction_predicted,
                strict=True,
            )
        ]
        return {
            "pixels": self.pixels,
            "accuracy": _number(self.accuracy),
            "mean_iou": _number(self.mean_iou),
            "phases": phases,
            "confusion": self.matrix.tolist(),
        }


class AreaErrors:
    """How far the area fractions of single micrographs are off, on the mean.

    In pooled fractions too much on one micrograph makes up for too little on another; not here.
    """

    def __init__(self, phases: Sequence[Phase]) -> None:
        self.sums: NDArray[np.float64] = np.zeros(len(phases))
        """Per phase, sum over micrographs of |fraction found - fraction true|."""
        self.micrographs = 0

    def add(self, one: Confusion) -> None:
        """Count one micrograph, unless none of its pixels is counted."""
        if one.pixels:
            self.sums += np.abs(np.subtract(one.area_fraction_predicted, one.area_fraction_true))
            self.micrographs += 1

    @property
    def mean(self) -> tuple[float, ...]:
        """Per phase, 0 to 1; NaN without micrographs."""
        if not self.micrographs:
            return (float("nan"),) * len(self.sums)
        return tuple((self.sums / self.micrographs).tolist())

    def with_pooled(self, pooled: Confusion) -> dict[str, Any]:
        """`pooled.to_json()`, of the same micrographs, with these errors among its phases."""
        document = pooled.to_json()
        for entry, error in zip(document["phases"], self.mean, strict=True):
            entry["mean_absolute_area_error"] = _number(error)
        return document


def _ratio(part: np.int64, whole: np.int64) -> float:
    return float(part) / float(whole) if whole else float("nan")


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
