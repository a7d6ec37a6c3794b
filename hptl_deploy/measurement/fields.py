"""Measurements of a field: one micrograph, or one page of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy.errors import EngineError
from hptl_deploy.phases import IGNORE, Phase

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Pixels counted at once: numpy widens what it counts to 8 bytes per pixel.
_PIECE = 1 << 22


@dataclass(frozen=True)
class Field:
    """What is measured over a whole field."""

    area_fractions: dict[str, float | None]
    """Area of each phase, by key, over the area of all pixels that are some phase: 0 to 1.
    All None where there is no such pixel: 0 would look like a result."""
    mean_confidence: float | None
    """Mean probability of the winning class over the same pixels, 0 to 1, or None likewise."""
    left_out_px: int
    """Pixels that are no phase."""


class Tally:
    """Pixels by class index, and their confidence: what a field's figures are made of.

    Fields are tallied whole or in parts.
    """

    def __init__(self) -> None:
        self.pixels = np.zeros(256, np.int64)
        """By class index."""
        self.sure = 0
        """Sum of the confidence x 255 over all pixels that are some phase."""

    def add(self, classes: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> None:
        """Count a class map [H, W] (indices; 255 is left out) with its confidence [H, W]."""
        rows = max(1, _PIECE // max(1, classes.shape[1]))
        for top in range(0, classes.shape[0], rows):
            piece = classes[top : top + rows]
            counts = np.bincount(piece.ravel(), minlength=256)
            self.pixels += counts
            sure = confidence[top : top + rows]
            self.sure += int(sure.sum(dtype=np.int64))
            if counts[IGNORE]:
                self.sure -= int(sure[piece == IGNORE].sum(dtype=np.int64))

    def join(self, other: Tally) -> None:
        """Count what `other` has counted, too."""
        self.pixels += other.pixels
        self.sure += other.sure

    def field(self, phases: Sequence[Phase]) -> Field:
        """The figures. Raises EngineError when an index was counted that is no phase."""
        unknown = np.flatnonzero(self.pixels[len(phases) : IGNORE])
        if unknown.size:
            raise EngineError(
                f"the class map holds index {unknown[0] + len(phases)}, "
                f"the model's card lists {len(phases)} phases (0 to {len(phases) - 1})",
                hint="Export the model again",
            )
        known = int(self.pixels[: len(phases)].sum())
        fractions = {
            phase.key: float(self.pixels[index] / known) if known else None
            for index, phase in enumerate(phases)
        }
        sure = self.sure / known / 255 if known else None
        return Field(fractions, sure, int(self.pixels[IGNORE]))

    def to_json(self) -> dict[str, Any]:
        """For storing; `from_json` takes it."""
        counted = {str(index): int(self.pixels[index]) for index in np.flatnonzero(self.pixels)}
        return {"pixels": counted, "sure": self.sure}

    @classmethod
    def from_json(cls, document: Any) -> Tally:  # noqa: ANN401
        """What `to_json` gave. Raises ValueError for anything else."""
        tally = cls()
        try:
            counted = {int(index): int(count) for index, count in document["pixels"].items()}
            tally.sure = int(document["sure"])
            if min([tally.sure, *counted, *counted.values()]) < 0:  # -1 would be the last index
                raise ValueError("negative")
            for index, count in counted.items():
                tally.pixels[index] = count
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
            raise ValueError("no tally") from exc
        return tally


def measure_field(
    classes: NDArray[np.uint8], confidence: NDArray[np.uint8], phases: Sequence[Phase]
) -> Field:
    """Measure a class map [H, W] (indices; 255 is left out) with its confidence x 255 [H, W].

    Raises EngineError when the map holds an index that is no phase.
    """
    tally = Tally()
    tally.add(classes, confidence)
    return tally.field(phases)
