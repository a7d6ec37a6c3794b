"""Smooth random fields, the raw material of textures, and draws of one number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAMPLES_PER_SIGMA = 2.0
"""Of the coarse grid: a Gaussian field is smooth enough to be interpolated from it."""


def smooth_noise(
    rng: np.random.Generator, height: int, width: int, sigma: float
) -> NDArray[np.float32]:
    """White noise behind a Gaussian of `sigma` px, float32 [H, W], mean 0 and deviation 1.

    Places d px apart are correlated by exp(-(d / 2 sigma)^2). Made on a coarse grid and
    interpolated where `sigma` is large, so its cost does not grow with it. Mean and deviation
    are those of a field somewhat larger than the frame; a frame of few `sigma` differs.
    """
    step = max(1.0, sigma / _SAMPLES_PER_SIGMA)
    rows, columns = int(np.ceil(height / step)) + 4, int(np.ceil(width / step)) + 4
    coarse: NDArray[np.float32] = rng.standard_normal((rows, columns), dtype=np.float32)
    coarse = ndimage.gaussian_filter(coarse, sigma / step, mode="wrap", truncate=3)
    coarse = (coarse - coarse.mean()) / max(float(coarse.std()), 1e-6)
    if step == 1.0:
        return coarse[2 : 2 + height, 2 : 2 + width]
    return enlarged(coarse[2:-2, 2:-2], height, width)


def enlarged(coarse: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """`coarse`, float32 [h, w], interpolated to float32 [H, W]; both cover the same frame."""
    picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """One number between `low` and `high`."""
    return float(rng.uniform(low, high))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """One number between `low` and `high`, every octave as likely as another."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def chance(rng: np.random.Generator, share: float) -> bool:
    """True in `share` of the draws."""
    return bool(rng.random() < share)
