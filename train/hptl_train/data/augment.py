"""Variants of a crop: the square's symmetries, and another exposure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hptl_train.recipe import AugmentationTable

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Variant:
    """One drawn variant; applied to a crop and its labels alike."""

    def __init__(self, table: AugmentationTable, rng: np.random.Generator) -> None:
        """Draw the variant; always the same number of draws, whatever the table allows."""
        flip, turns = rng.integers(2), rng.integers(4)
        brightness, contrast = rng.uniform(-1, 1, 2)
        gains = rng.uniform(-1, 1, 3)
        self.flip = bool(flip) and table.flips
        self.turns = int(turns) if table.quarter_turns else 0
        self._curves = _tone_curves(
            brightness * table.brightness,
            1 + contrast * table.contrast,
            1 + gains * table.white_balance,
        )

    def __call__(
        self, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The variant of square `pixels` [S, S, 3] and `labels` [S, S]; new arrays."""
        toned = np.stack([self._curves[c][pixels[..., c]] for c in range(3)], axis=-1)
        return self._move(toned), self._move(labels)

    def _move(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        moved = np.rot90(array, self.turns, axes=(0, 1))
        return np.ascontiguousarray(moved[:, ::-1] if self.flip else moved)


def _tone_curves(
    brightness: float, contrast: float, gains: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Tables [3, 256]: ((v - 1/2) contrast + 1/2 + brightness) gain for v in [0, 1], clipped."""
    grey = np.arange(256) / 255.0
    curve = (grey - 0.5) * contrast + 0.5 + brightness
    return np.rint(np.clip(curve * gains[:, None], 0, 1) * 255).astype(np.uint8)
