"""A micrograph in a dozen numbers, to tell what is unlike the micrographs of the training set.

Levels, contrasts and textures as logarithms of ratios, so that a feature's deviation means the same
at every brightness, and that no single one goes astray far before the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.phases import IGNORE
from hptl_deploy.quality.counts import LEAST_SURE
from hptl_deploy.quality.illumination import MATRIX
from hptl_deploy.quality.sample import blocks_of, grey

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OCTAVES = 5
"""Textures of 1, 2, 4, 8 and 16 px."""
PIXEL_FEATURES = (
    "brightness",
    "red to green",
    "blue to green",
    "contrast",
    "dark tail",
    "bright tail",
    *(f"texture at {2**octave} px" for octave in range(_OCTAVES)),
)
ANSWER_FEATURES = ("doubt", "unsure share", "share outside the matrix")
FEATURES = (*PIXEL_FEATURES, *ANSWER_FEATURES)
"""What each number is; a card's statistics are of these very ones, or not used."""
_ROWS = 256
"""Counted at once."""
_LEAST_PIXELS = 1024
"""That a micrograph must have, left-out ones not counted."""


def pixel_features(
    pixels: NDArray[np.uint8], classes: NDArray[np.uint8] | None = None
) -> NDArray[np.float64] | None:
    """PIXEL_FEATURES of `pixels`, uint8 [H, W, 3], without those that are 255 in `classes` [H, W].

    None where less than 1024 pixels are there.
    """
    places = blocks_of(*pixels.shape[:2])
    blocks = [pixels[place] for place in places]
    known = [
        np.ones(block.shape[:2], bool) if classes is None else classes[place] != IGNORE
        for block, place in zip(blocks, places, strict=True)
    ]
    colours = np.concatenate([block[mask] for block, mask in zip(blocks, known, strict=True)])
    if len(colours) < _LEAST_PIXELS:
        return None
    red, green, blue = colours.mean(axis=0) + 1.0
    levels = grey(colours)
    mean = float(levels.mean()) + 1.0
    low, dark, bright, high = np.quantile(levels[::4], (0.002, 0.05, 0.95, 0.998))
    return np.array(
        [
            np.log(mean),
            np.log(red / green),
            np.log(blue / green),
            np.log(float(levels.std()) / mean + 0.01),
            np.log1p((dark - low) / (bright - dark + 1)),
            np.log1p((high - bright) / (bright - dark + 1)),
            *_textures(blocks, known, mean),
        ]
    )


def _textures(
    blocks: Sequence[NDArray[np.uint8]], known: Sequence[NDArray[np.bool_]], mean: float
) -> list[float]:
    """log(mean difference of neighbours / mean level) at each octave."""
    sums, counts = np.zeros(_OCTAVES), np.zeros(_OCTAVES)
    for block, mask in zip(blocks, known, strict=True):
        level = grey(block)
        if not mask.all():
            level[~mask] = np.nan
        for octave in range(_OCTAVES):
            for difference in (level[1:] - level[:-1], level[:, 1:] - level[:, :-1]):
                there = difference[np.isfinite(difference)]
                sums[octave] += float(np.abs(there).sum(dtype=np.float64))
                counts[octave] += there.size
            level = _halved(level)
    return [float(one) for one in np.log(sums / np.maximum(counts, 1) / mean + 1e-3)]


def _halved(level: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of squares of 2 x 2; NaN where one of them is."""
    height, width = (length // 2 * 2 for length in level.shape)
    top, bottom = level[0:height:2], level[1:height:2]
    rows = top + bottom
    quarter: NDArray[np.float32] = rows[:, 0:width:2] + rows[:, 1:width:2]
    quarter /= 4
    return quarter


def answer_features(
    classes: NDArray[np.uint8], confidence: NDArray[np.uint8]
) -> NDArray[np.float64] | None:
    """ANSWER_FEATURES of a class map and its confidence x 255, uint8 [H, W] each.

    None where all is left out.
    """
    pixels = unsure = outside = sure = 0
    for top in range(0, len(classes), _ROWS):
        piece, here = classes[top : top + _ROWS], confidence[top : top + _ROWS]
        known = piece != IGNORE
        pixels += int(np.count_nonzero(known))
        sure += int(here.sum(where=known, dtype=np.int64))
        unsure += int(np.count_nonzero((here < LEAST_SURE) & known))
        outside += int(np.count_nonzero((piece != MATRIX) & known))
    if not pixels:
        return None
    shares = np.array([1 - sure / pixels / 255, unsure / pixels, outside / pixels])
    logs: NDArray[np.float64] = np.log(shares + np.array([1e-3, 1e-4, 1e-3]))
    return logs
