"""Crops of labelled micrographs, drawn so that rare phases are seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.errors import DataSetError
from hptl_deploy.phases import IGNORE
from hptl_train.data.augment import Variant
from hptl_train.data.batches import Batch, generator
from hptl_train.recipe import AugmentationTable, Recipe, StepTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

Frame = tuple["NDArray[np.uint8]", "NDArray[np.uint8]"]
"""(pixels [H, W, 3], class indices [H, W] with 255 = ignored)."""

_REMEMBERED = 20_000
"""Pixels per phase and frame that crops may be placed by: plenty, and bounded in memory."""

# Words that keep random streams apart.
_STREAM_CROP, _STREAM_VARIANT, _STREAM_POSITIONS = 11, 12, 13


class Crops:
    """Batches of crops for one step."""

    def __init__(
        self, frames: Sequence[Frame], phases: int, side: int, recipe: Recipe, step: StepTable
    ) -> None:
        """Crops of `side` micrograph pixels from `frames`; frames are padded to it if smaller.

        Raises DataSetError when no frame has a labelled pixel.
        """
        self._frames = [_at_least(frame, side) for frame in frames]
        self._side = side
        self._rare_share = recipe.crops.rare_share
        self._table: AugmentationTable = recipe.augmentation
        self._seed = recipe.seed
        self._step_index = recipe.steps.index(step)
        self._batch = step.batch
        # positions[phase] = [(frame, flat pixel indices), ...]
        self._positions = [self._find(phase) for phase in range(phases)]
        self._present = [phase for phase in range(phases) if self._positions[phase]]
        if not self._present:
            raise DataSetError("the training split has no labelled pixel")

    @property
    def absent(self) -> list[int]:
        """Class indices that no training frame shows."""
        return [phase for phase in range(len(self._positions)) if not self._positions[phase]]

    def __call__(self, iteration: int) -> Batch:
        """Pictures [N, S, S, 3] and labels [N, S, S] of an iteration."""
        crops = [self._crop(iteration, place) for place in range(self._batch)]
        return Batch(
            np.stack([pixels for pixels, _ in crops]),
            np.stack([labels for _, labels in crops]).astype(np.int64),
        )

    def _crop(self, iteration: int, place: int) -> Frame:
        rng = generator(self._seed, _STREAM_CROP, self._step_index, iteration, place)
        if rng.random() < self._rare_share:
            phase = self._present[rng.integers(len(self._present))]
            candidates = self._positions[phase]
            frame, places = candidates[rng.integers(len(candidates))]
            height, width = self._frames[frame][1].shape
            row, column = divmod(int(places[rng.integers(len(places))]), width)
            # The pixel falls anywhere in the crop, so its place teaches nothing.
            y, x = row - rng.integers(self._side), column - rng.integers(self._side)
        else:
            frame = int(rng.integers(len(self._frames)))
            height, width = self._frames[frame][1].shape
            y = rng.integers(height - self._side + 1)
            x = rng.integers(width - self._side + 1)
        y = int(np.clip(y, 0, height - self._side))
        x = int(np.clip(x, 0, width - self._side))
        window = (slice(y, y + self._side), slice(x, x + self._side))
        pixels, labels = self._frames[frame]
        return self._variant(rng, frame)(pixels[window], labels[window])

    def _variant(self, rng: np.random.Generator, frame: int) -> Variant:
        if self._table.variants:
            number = int(rng.integers(self._table.variants))
            rng = generator(self._seed, _STREAM_VARIANT, frame, number)
        return Variant(self._table, rng)

    def _find(self, phase: int) -> list[tuple[int, NDArray[np.int64]]]:
        found = []
        for number, (_, labels) in enumerate(self._frames):
            pixels = np.flatnonzero(labels == phase)
            if len(pixels) > _REMEMBERED:
                rng = generator(self._seed, _STREAM_POSITIONS, phase, number)
                pixels = np.sort(rng.choice(pixels, _REMEMBERED, replace=False))
            if len(pixels):
                found.append((number, pixels))
        return found


def _at_least(frame: Frame, side: int) -> Frame:
    pixels, labels = frame
    below, right = (max(0, side - length) for length in labels.shape)
    if below or right:
        pixels = np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="edge")
        labels = np.pad(labels, ((0, below), (0, right)), constant_values=IGNORE)
    return pixels, labels
