"""What every rival without layers can do: be fitted, segment, tell its loss, be kept in a file.

The public methods check and store; a rival implements the underscored ones. What is learned
is a few arrays, kept as safetensors: nothing in the file is ever executed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hptl_deploy.errors import DataSetError, RunError
from hptl_deploy.files import atomic_path
from hptl_deploy.phases import IGNORE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hptl_train.data.crops import Frame

    Arrays = Mapping[str, NDArray[Any]]


class Rival(ABC):
    """One rival: fitted or loaded first, then asked."""

    arrays: ClassVar[Mapping[str, str]]
    """What is learned: each array's name, and its axes as letters that stand for lengths."""

    notes: tuple[str, ...]
    """What `fit` did otherwise than the recipe says, a sentence each; empty before."""

    def __init__(self) -> None:
        self._learned: Arrays = {}
        self.notes = ()

    def fit(self, frames: Sequence[Frame], phases: int, seed: int) -> None:
        """Learn `phases` phases from `frames`; the result depends on these and `seed` alone.

        Raises DataSetError when no frame has a labelled pixel, or too few phases for the
        rival, and RecipeError when its settings cannot be used with as many phases.
        """
        if not any((labels != IGNORE).any() for _, labels in frames):
            raise DataSetError("the training split has no labelled pixel")
        self.notes = ()
        self._learned = self._fit(frames, phases, seed)

    def classes(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class indices [H, W] of a frame uint8 [H, W, 3]; phases never seen are never called."""
        return self._classes(pixels, self._need())

    def judged(
        self, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], float | None]:
        """`classes` and the loss summed over the labelled pixels, None where there is none.

        Both come from one pass over `pixels` [H, W, 3]; `labels` [H, W] are class indices, 255
        where nothing is labelled.
        """
        return self._judged(pixels, labels, self._need())

    def save(self, path: Path) -> None:
        """Write what was learned to `path`, whole or not at all. Raises RunError."""
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

        learned = dict(self._need())
        try:
            with atomic_path(path) as temporary:
                save_file(learned, temporary)
        except (OSError, SafetensorError) as exc:
            raise RunError(f"{path}: cannot be written ({exc})") from exc

    def load(self, path: Path) -> None:
        """Take what was learned from `path`, instead of fitting.

        Raises RunError when the file is missing, damaged, or not of a rival with these settings.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            learned = load_file(path)
        except (OSError, SafetensorError) as exc:
            raise RunError(f"{path}: what was fitted cannot be read ({exc})") from exc
        if not self._fits(learned):
            raise RunError(f"{path}: was fitted by another rival than the recipe's")
        self._learned = learned

    def _need(self) -> Arrays:
        assert self._learned, "neither fitted nor loaded"
        return self._learned

    def _fits(self, learned: Arrays) -> bool:
        """Whether the names are those of `arrays` and axes of one letter are equally long."""
        sizes = dict(self._sizes())
        return learned.keys() == self.arrays.keys() and all(
            learned[name].ndim == len(axes)
            and all(
                sizes.setdefault(axis, length) == length
                for axis, length in zip(axes, learned[name].shape, strict=True)
            )
            for name, axes in self.arrays.items()
        )

    def _sizes(self) -> Mapping[str, int]:
        """Lengths of axes that the rival's settings fix."""
        return {}

    @abstractmethod
    def _fit(self, frames: Sequence[Frame], phases: int, seed: int) -> Arrays:
        """What is learned; some pixel of `frames` is labelled."""

    @abstractmethod
    def _classes(self, pixels: NDArray[np.uint8], learned: Arrays) -> NDArray[np.uint8]:
        """As `classes`."""

    @abstractmethod
    def _judged(
        self, pixels: NDArray[np.uint8], labels: NDArray[np.uint8], learned: Arrays
    ) -> tuple[NDArray[np.uint8], float | None]:
        """As `judged`."""
