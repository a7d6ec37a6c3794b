"""Pixels that are saturated, and pixels that the network was not sure of: counted in parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy.phases import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

SURE = 0.6
"""A pixel whose class has a lower probability than this could well be another phase."""
LEAST_SURE = np.uint8(153)
"""SURE x 255."""
_PIECE = 1 << 20
"""Pixels counted at once."""


@dataclass(frozen=True)
class Counts:
    """Of a page or of a part of it, without what is left out (255 in the class map)."""

    pixels: int = 0
    saturated: int = 0
    """With any channel at 0 or at 255, where the camera tells no difference any more."""
    unsure: int = 0
    """With a probability below SURE."""

    def __add__(self, other: Counts) -> Counts:
        """Of both parts together."""
        return Counts(
            self.pixels + other.pixels,
            self.saturated + other.saturated,
            self.unsure + other.unsure,
        )

    @property
    def saturated_fraction(self) -> float | None:
        """0 to 1; None without any pixel."""
        return self.saturated / self.pixels if self.pixels else None

    @property
    def unsure_fraction(self) -> float | None:
        """0 to 1; None without any pixel."""
        return self.unsure / self.pixels if self.pixels else None

    def to_json(self) -> dict[str, Any]:
        """For storing; `from_json` takes it."""
        return {"pixels": self.pixels, "saturated": self.saturated, "unsure": self.unsure}

    @classmethod
    def from_json(cls, document: Any) -> Counts:  # noqa: ANN401
        """What `to_json` gave. Raises ValueError for anything else."""
        try:
            values = [int(document[name]) for name in ("pixels", "saturated", "unsure")]
        except (KeyError, TypeError, ValueError) as exc:
            raise ValueError("no counts") from exc
        if not 0 <= max(values[1:]) <= values[0] or min(values) < 0:
            raise ValueError("no counts")
        return cls(*values)


def count(
    pixels: NDArray[np.uint8], classes: NDArray[np.uint8], confidence: NDArray[np.uint8]
) -> Counts:
    """Of `pixels`, uint8 [H, W, 3], with their `classes` and `confidence` x 255, uint8 [H, W]."""
    found = Counts()
    rows = max(1, _PIECE // max(1, classes.shape[1]))
    for top in range(0, classes.shape[0], rows):
        piece = slice(top, top + rows)
        known = classes[piece] != IGNORE
        ends = pixels[piece] - np.uint8(1) >= 254  # 0 - 1 is 255
        saturated = (ends[..., 0] | ends[..., 1] | ends[..., 2]) & known
        found += Counts(
            int(np.count_nonzero(known)),
            int(np.count_nonzero(saturated)),
            int(np.count_nonzero((confidence[piece] < LEAST_SURE) & known)),
        )
    return found
