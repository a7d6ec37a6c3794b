"""False rims: a phase seen round another where there is none.

Blur makes the rim of a dark particle pass through the grey of a paler phase, so a threshold
draws a ring of it round every dark particle. How much of such a rim a class map holds is
the share below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from hptl_deploy.phases import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEAR_PX = 4
FAR_PX = 8


@dataclass(frozen=True)
class FalseRims:
    """Counts of pixels; those of several frames add up."""

    counted: int = 0
    """Near an edge of the phase that is there, far from the one that is not."""
    called: int = 0
    """Of these, found to be the one that is not."""

    def __add__(self, other: FalseRims) -> FalseRims:
        return FalseRims(self.counted + other.counted, self.called + other.called)

    @property
    def share(self) -> float:
        """`called` of `counted`; NaN where nothing was counted."""
        return self.called / self.counted if self.counted else float("nan")

    def to_json(self) -> dict[str, float | int | None]:
        """Counts and share; NaN becomes null."""
        return {**vars(self), "share": self.share if self.counted else None}


def false_rims(
    truth: NDArray[np.uint8], found: NDArray[np.uint8], *, around: int, mistaken_for: int
) -> FalseRims:
    """Rims of class `mistaken_for` round class `around` in `found` [H, W].

    Counted are the pixels within 4 px of an edge of `around` in `truth` [H, W], on either side
    of it, that lie farther than 8 px from every true pixel of `mistaken_for`. Distances are
    Euclidean, between pixel centres; pixels that are 255 in either map are left out. Raises
    ValueError when the shapes differ.
    """
    if truth.shape != found.shape:
        raise ValueError(f"shapes differ: truth {truth.shape}, found {found.shape}")
    inside = truth == around
    if not inside.any():
        return FalseRims()
    if inside.all():
        return FalseRims()  # no edge
    near = _within(inside, NEAR_PX) & _within(~inside, NEAR_PX)
    counted = near & ~_within(truth == mistaken_for, FAR_PX)
    counted &= (truth != IGNORE) & (found != IGNORE)
    return FalseRims(int(counted.sum()), int((found[counted] == mistaken_for).sum()))


def _within(mask: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    """Pixels [H, W] at most `distance` px from one of `mask` [H, W]."""
    if not mask.any():
        return np.zeros_like(mask)
    distances = ndimage.distance_transform_edt(~mask)
    near: NDArray[np.bool_] = distances <= distance
    return near
