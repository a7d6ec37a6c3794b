"""Crops of labelled micrographs, drawn so that rare phases are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.errors import DataSetError
from hptl_deploy.phases import IGNORE
from hptl_train.data.augment import Photometry, Variant, is_photometric, resized
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

    def __call__(self, iteration: int, places: range | None = None) -> Batch:
        """Pictures [N, S, S, 3] and labels [N, S, S] of an iteration.

        `places` are those of the step's batch that are wanted, by default all: each crop depends
        on its place, not on its company, so processes may share a batch out.
        """
        wanted = range(self._batch) if places is None else places
        pixels, labels, photometry = zip(
            *(self._crop(iteration, place) for place in wanted), strict=True
        )
        return Batch(
            np.stack(pixels),
            np.stack(labels).astype(np.int64),
            photometry if is_photometric(self._table) else None,
        )

    def _crop(
        self, iteration: int, place: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Photometry]:
        rng = generator(self._seed, _STREAM_CROP, self._step_index, iteration, place)
        side = self._side
        if rng.random() < self._rare_share:
            phase = self._present[rng.integers(len(self._present))]
            candidates = self._positions[phase]
            frame, positions = candidates[rng.integers(len(candidates))]
            height, width = self._frames[frame][1].shape
            row, column = divmod(int(positions[rng.integers(len(positions))]), width)
            # The pixel falls anywhere in the crop, so its place teaches nothing.
            above, left = int(rng.integers(side)), int(rng.integers(side))
        else:
            frame = int(rng.integers(len(self._frames)))
            height, width = self._frames[frame][1].shape
            above = left = side // 2
            row = int(rng.integers(height - side + 1)) + above
            column = int(rng.integers(width - side + 1)) + left
        variant = self._variant(rng, frame)
        # Zoomed about the drawn pixel, which keeps its place in the crop and so stays in it.
        window = min(round(side * variant.zoom), height, width)
        y = int(np.clip(row - above * window // side, 0, height - window))
        x = int(np.clip(column - left * window // side, 0, width - window))
        cut = (slice(y, y + window), slice(x, x + window))
        pixels, labels = self._frames[frame]
        pixels, labels = variant(*resized(pixels[cut], labels[cut], side))
        # A variant's noise is as strong in every crop, but no two crops share its field.
        noise_seed = int(rng.integers(2**63))
        return pixels, labels, replace(variant.photometry, noise_seed=noise_seed)

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
