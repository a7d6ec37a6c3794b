"""OTSU: global thresholds on grey, each micrograph's own.

The paper's row is a global threshold after Otsu (1979). K phases need K - 1 of them: those
that maximise the variance between the K bands of grey (multi-Otsu). What is learned from
labels is which band is which phase and nothing else: the phases that occur in the training
labels are ranked by the median grey of their labelled pixels, all frames pooled, and the
darkest band is the phase of the lowest median. For the paper's phases that is
Mg2Si < Fe-containing phase < matrix.

All sets of thresholds are tried, so their number grows fast with the phases: where there would
be more than a few seconds' worth, the recipe's bins of grey are halved until there are not (256
bins serve five phases, 128 six, 64 seven, 32 eight to 32), and `Rival.notes` says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy import ndimage

from hptl_deploy.errors import RecipeError
from hptl_train.rivals.base import Rival

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_train.data.crops import Frame
    from hptl_train.rivals.base import Arrays
    from hptl_train.rivals.tables import OtsuTable

LEVELS = 256

_STEP = 4
"""The wide Gaussian is computed on every fourth pixel: it holds nothing finer."""

_MOST_SETS = 4 * 10**8
"""Sets of thresholds tried on a micrograph: up to 4 s of a core for 8 phases, 11 s for 16."""


class Otsu(Rival):
    """Multi-Otsu; learned is the median grey of each phase, NaN where it does not occur."""

    arrays: ClassVar[Mapping[str, str]] = {"medians": "K"}

    def __init__(self, table: OtsuTable) -> None:
        super().__init__()
        self._table = table

    def _fit(self, frames: Sequence[Frame], phases: int, seed: int) -> Arrays:
        counts = np.zeros((phases, LEVELS), np.int64)
        for pixels, labels in frames:
            levels = whole_levels(self._grey(pixels))
            for phase in range(phases):
                counts[phase] += np.bincount(levels[labels == phase], minlength=LEVELS)
        medians = np.array([_median(row) for row in counts])
        bands, asked = int(np.isfinite(medians).sum()), self._table.histogram_bins
        if (bins := searched_bins(bands, asked)) != asked:
            self.notes = (
                f"thresholds between {bands} phases are searched on {bins} bins of grey, not on "
                f"the recipe's {asked}, which would take too long",
            )
        return {"medians": medians}

    def _classes(self, pixels: NDArray[np.uint8], learned: Arrays) -> NDArray[np.uint8]:
        medians = learned["medians"]
        occurring = np.flatnonzero(np.isfinite(medians))
        ranked = occurring[np.argsort(medians[occurring], kind="stable")]
        grey = self._grey(pixels)
        bins = searched_bins(len(ranked), self._table.histogram_bins)
        limits = thresholds(grey, len(ranked), bins)
        if limits is None:
            # Too flat to be parted: each grey goes to the phase whose median is nearest.
            limits = (medians[ranked][1:] + medians[ranked][:-1]) / 2
        return banded(grey, limits, ranked)

    def _judged(
        self, pixels: NDArray[np.uint8], labels: NDArray[np.uint8], learned: Arrays
    ) -> tuple[NDArray[np.uint8], None]:
        return self._classes(pixels, learned), None

    def _grey(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        grey = pixels.mean(axis=-1, dtype=np.float32)
        return flattened(grey, self._table.light_sigma) if self._table.light_sigma else grey


def searched_bins(bands: int, bins: int) -> int:
    """`bins`, halved until the search for the thresholds between `bands` bands is short enough.

    Raises RecipeError when there are fewer bins than bands before it is.
    """
    halved = bins
    while math.comb(halved - 1, bands - 1) > _MOST_SETS:
        halved //= 2
    if halved >= bands:
        return halved
    if bins < bands:
        raise RecipeError(
            f"[otsu]: {bands} phases need as many bins of grey, found histogram_bins = {bins}",
            hint=f"Use a recipe with {bands} or more",
        )
    raise RecipeError(
        f"[otsu]: {bands} phases have too many sets of thresholds to try, even on the fewest "
        "bins of grey that could part them",
        hint="Train --recipe svm instead; in a comparison leave otsu out with --rows",
    )


def thresholds(
    grey: NDArray[np.float32], bands: int, bins: int = LEVELS
) -> NDArray[np.float64] | None:
    """The `bands` - 1 rising grey levels that part `grey` [H, W] best, each its band's last.

    Best is the largest variance between the bands (Otsu 1979), by scikit-image's exhaustive
    search, over a histogram of `bins` bins of the levels 0 to 255. None where fewer bins than
    bands are occupied.
    """
    if bands == 1:
        return np.empty(0)
    from skimage.filters import threshold_multiotsu

    levels = np.arange(LEVELS)
    bin_of = levels * bins // LEVELS
    last = levels[np.diff(bin_of, append=bins) > 0].astype(np.float64)
    counts = np.bincount(whole_levels(grey).ravel(), minlength=LEVELS)
    share = np.bincount(bin_of, counts / counts.sum())
    if np.count_nonzero(share) < bands:
        return None
    found: NDArray[np.float64] = threshold_multiotsu(hist=(share, last), classes=bands)
    return found


def banded(
    grey: NDArray[np.float32], limits: NDArray[np.float64], phases: Sequence[int] | NDArray[np.intp]
) -> NDArray[np.uint8]:
    """Class indices [H, W]: `phases[0]` up to `limits[0]`, the last one above the last limit."""
    return np.asarray(phases, np.uint8)[np.searchsorted(limits, grey)]


def flattened(grey: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """`grey` [H, W] divided by a Gaussian of itself, `sigma` px wide; in grey levels again."""
    coarse = ndimage.gaussian_filter(grey[::_STEP, ::_STEP], sigma / _STEP)
    light = np.kron(coarse, np.ones((_STEP, _STEP), np.float32))
    flat = 128 * grey / np.maximum(light[: grey.shape[0], : grey.shape[1]], 1)
    return flat.astype(np.float32)


def whole_levels(grey: NDArray[np.float32]) -> NDArray[np.uint8]:
    """`grey` rounded to its 256 levels."""
    levels: NDArray[np.uint8] = np.rint(grey.clip(0, LEVELS - 1)).astype(np.uint8)
    return levels


def _median(counts: NDArray[np.int64]) -> float:
    """The lower median of levels counted in `counts` [256]; NaN where nothing is."""
    if not counts.any():
        return math.nan
    return float(np.searchsorted(counts.cumsum(), counts.sum() / 2))
