"""How blurred a micrograph's edges are, whatever it shows and however bright it is.

A straight edge between two grey levels that a lens has blurred by a Gaussian of deviation s has,
smoothed once more by a Gaussian of deviation a, its steepest slope at contrast /
sqrt(2 pi (s^2 + a^2)). The ratio of the slopes after smoothing by a and by b > a,
R^2 = (s^2 + b^2) / (s^2 + a^2), does not depend on the contrast, and gives
s^2 = (b^2 - R^2 a^2) / (R^2 - 1). (Re-blurring: S. Zhuo and T. Sim, Defocus map estimation from a
single image, Pattern Recognition 44 (2011) 1852, with a first smoothing so that the camera's noise,
which is sharper than any lens, does not count.)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FIRST, SECOND = 1.5, 4.0
"""Deviations of both smoothings, px."""
_DIFFERENCE = 1 / 3
"""Variance that central differences smooth by, px^2: they are the slope's mean over 2 px."""
_EDGES = 0.01
"""Share of a block's pixels that are looked at: those on its steepest edges."""
_CLEAR = 12.0
"""So many times as large as the mean one an edge's squared slope must be to stand clear of noise.
"""
_MARGIN = 8
"""Pixels from the border, and from what is left out, that the smoothing reaches."""
_ACROSS = range(-3, 4)
"""Where, across an edge of the coarser picture, its steepest place in the finer one is, px."""
_LEAST_EDGES = 200
"""Pixels on edges in all blocks together; with fewer there is nothing to judge the focus by."""
_LEAST_STEPS = 0.75
"""Where nothing stands clear, as in a structure that fills the field: the share of what is looked
at that must be no steeper than a step can be. Of noise, whatever its grain, it is a quarter."""


def edge_blur(blocks: Sequence[NDArray[np.float32]]) -> float | None:
    """Deviation of the blur, px: the median over the steepest edges of `blocks`.

    `blocks` are grey levels, float32 [H, W] each, NaN where nothing is to be looked at. Lines and
    dots that are finer than the blur come out as too sharp. None where too few edges stand clear of
    the noise, as in a field that is all matrix.
    """
    found = [_ratios(block) for block in blocks if min(block.shape) > 3 * _MARGIN]
    if not found:
        return None
    ratio, clear = (np.concatenate(parts) for parts in zip(*found, strict=True))
    first, second = FIRST**2 + _DIFFERENCE, SECOND**2 + _DIFFERENCE
    if int(clear.sum()) >= _LEAST_EDGES:
        ratio = ratio[clear]
    elif ratio.size < _LEAST_EDGES or (ratio <= second / first).mean() < _LEAST_STEPS:
        return None
    # What is steeper than a step can be is a fine line; what is gentler, a mere shade.
    middle = float(np.median(ratio.clip(1 + 1e-3, second / first)))
    return math.sqrt(max(second - middle * first, 0.0) / (middle - 1))


def _ratios(block: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """R^2 at each of a block's steepest edges, and whether the edge stands clear of noise."""
    from scipy import ndimage

    known = np.isfinite(block)
    whole = bool(known.all())
    if not whole:
        filling = np.median(block[known]) if known.any() else 0
        block = np.where(known, block, np.float32(filling))
    fine = ndimage.gaussian_filter(block, FIRST, truncate=3)
    coarse = ndimage.gaussian_filter(fine, (SECOND**2 - FIRST**2) ** 0.5, truncate=3)
    down, across = _slopes(coarse)
    gentle = down * down + across * across
    rows, columns = _steepest(gentle)
    if not whole:
        near = ndimage.binary_dilation(~known, iterations=_MARGIN)[rows, columns]
        rows, columns = rows[~near], columns[~near]
    # On the crest only: beside it the ratio says how far from the edge one is.
    upright = np.abs(down[rows, columns]) > np.abs(across[rows, columns])
    by_row, by_column = upright.astype(np.intp), (~upright).astype(np.intp)
    here = gentle[rows, columns]
    crest = (here >= gentle[rows - by_row, columns - by_column]) & (
        here > gentle[rows + by_row, columns + by_column]
    )
    rows, columns = rows[crest], columns[crest]
    fine_down, fine_across = _slopes(fine)
    steep = fine_down * fine_down + fine_across * fine_across
    # Of noise alone, squared slopes are distributed exponentially: their mean is median / ln 2.
    mean = float(np.median(steep[::2, ::2])) / np.log(2)
    # A line's flanks lie further apart in the coarser picture than in the finer one.
    by_row, by_column = by_row[crest], by_column[crest]
    flank = np.max(
        [steep[rows + by_row * step, columns + by_column * step] for step in _ACROSS], axis=0
    )
    return flank / gentle[rows, columns], flank > _CLEAR * mean


def _slopes(grey: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(down, across): twice the central differences, [H, W] as `grey`, 0 at the border."""
    down, across = np.zeros_like(grey), np.zeros_like(grey)
    np.subtract(grey[2:], grey[:-2], out=down[1:-1])
    np.subtract(grey[:, 2:], grey[:, :-2], out=across[:, 1:-1])
    return down, across


def _steepest(squared: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the steepest share, away from the border."""
    inside = squared[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    least = np.quantile(inside[::2, ::2], 1 - _EDGES)
    rows, columns = np.nonzero(inside >= max(float(least), 1e-6))
    return rows + _MARGIN, columns + _MARGIN
