"""Measurements of a field: one micrograph, or one page of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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

    area_fractions: dict[str, float]
    """Area of each phase, by key, over the area of all pixels that are some phase: 0 to 1.
    All 0 where there is no such pixel."""
    mean_confidence: float
    """Mean probability of the winning class over the same pixels, 0 to 1."""


def measure_field(
    classes: NDArray[np.uint8], confidence: NDArray[np.uint8], phases: Sequence[Phase]
) -> Field:
    """Measure a class map [H, W] (indices; 255 is left out) with its confidence x 255 [H, W].

    Raises EngineError when the map holds an index that is no phase.
    """
    counts = np.zeros(256, np.int64)
    total = 0
    rows = max(1, _PIECE // max(1, classes.shape[1]))
    for top in range(0, classes.shape[0], rows):
        piece = classes[top : top + rows]
        counts += np.bincount(piece.ravel(), minlength=256)
        sure = confidence[top : top + rows]
        total += int(sure.sum(dtype=np.int64))
        if counts[IGNORE]:
            total -= int(sure[piece == IGNORE].sum(dtype=np.int64))
    unknown = np.flatnonzero(counts[len(phases) : IGNORE])
    if unknown.size:
        raise EngineError(
            f"the class map holds index {unknown[0] + len(phases)}, "
            f"the model's card lists {len(phases)} phases (0 to {len(phases) - 1})",
            hint="Export the model again",
        )
    known = int(counts[: len(phases)].sum())
    fractions = {
        phase.key: float(counts[index] / known) if known else 0.0
        for index, phase in enumerate(phases)
    }
    return Field(fractions, total / known / 255 if known else 0.0)
