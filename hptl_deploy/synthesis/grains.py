"""Grains: where their boundaries run, and how far from one a place is. Lengths are px."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from hptl_deploy.synthesis.fields import enlarged, smooth_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEP = 8
"""Pixels per place of the coarse grid on which grains are found."""


class Grains:
    """A Voronoi tessellation with wavy boundaries, known at every eighth pixel."""

    def __init__(self, rng: np.random.Generator, height: int, width: int, size: float) -> None:
        """Grains of about `size` px across on a frame of `height` x `width` px."""
        self.height, self.width = height, width
        margin = 1.5 * size
        count = max(4, round((height + 2 * margin) * (width + 2 * margin) / size**2))
        centres = rng.uniform(
            (-margin, -margin), (height + margin, width + margin), size=(count, 2)
        )
        rows, columns = -(-height // _STEP), -(-width // _STEP)
        y, x = np.mgrid[0:rows, 0:columns].astype(np.float32) * _STEP + _STEP / 2
        bend = 0.10 * size
        y += bend * smooth_noise(rng, rows, columns, 0.25 * size / _STEP)
        x += bend * smooth_noise(rng, rows, columns, 0.25 * size / _STEP)
        distances, nearest = cKDTree(centres).query(np.stack([y, x], axis=-1), k=2)
        # Half the difference of the two distances is the distance to the boundary between
        # them, exactly so on the line that joins the centres.
        self._coarse = ((distances[..., 1] - distances[..., 0]) / 2).astype(np.float32)
        self._grain = nearest[..., 0]
        self.count = count
        """Of the grains, those beyond the frame's edges counted."""

    def distance(self) -> NDArray[np.float32]:
        """To the nearest boundary in px, float32 [H, W]."""
        return enlarged(self._coarse, self.height, self.width)

    def value(self, per_grain: NDArray[np.float32]) -> NDArray[np.float32]:
        """A number per grain (`count` of them), laid out as float32 [H, W]."""
        return enlarged(per_grain[self._grain], self.height, self.width)

    def place(self, rng: np.random.Generator, boundary_share: float) -> tuple[float, float]:
        """(x, y) anywhere, or in `boundary_share` of the draws near a boundary."""
        if rng.random() >= boundary_share:
            return float(rng.uniform(0, self.width)), float(rng.uniform(0, self.height))
        # The nearest to a boundary of some places drawn anywhere: cheap, and not too strict.
        rows = rng.integers(self._coarse.shape[0], size=12)
        columns = rng.integers(self._coarse.shape[1], size=12)
        best = int(np.argmin(self._coarse[rows, columns]))
        x, y = (columns[best] + rng.random()) * _STEP, (rows[best] + rng.random()) * _STEP
        return float(x), float(y)
