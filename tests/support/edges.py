"""Pictures of straight edges whose blur is known in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf


def edges(
    blur: float,
    *,
    low: float = 60.0,
    high: float = 150.0,
    noise: float = 0.0,
    size: tuple[int, int] = (480, 640),
    seed: int = 0,
) -> NDArray[np.uint8]:
    """Slanted stripes, 90 px wide, between two grey levels: uint8 [H, W, 3].

    Each edge is the integral of a Gaussian of deviation `blur` px; `noise` is white, grey levels.
    """
    y, x = np.mgrid[: size[0], : size[1]]
    along = 0.9 * x + 0.44 * y  # px across the stripes, up to 0.2 %
    place = along % 180
    share = sum(
        sign * erf((place - at) / (blur * np.sqrt(2))) / 2
        for at, sign in ((-45, -1), (45, 1), (135, -1), (225, 1))
    )
    grey = low + (high - low) * (np.asarray(share) + 1)
    grey = grey + np.random.default_rng(seed).normal(0, noise, size) if noise else grey
    return np.repeat(np.rint(grey).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
