"""A finished run as something that segments: a network's or a rival's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch

from hptl_deploy.phases import Phase
from hptl_train.building import segmenting_network
from hptl_train.checkpoint import load_weights, restore_weights
from hptl_train.networks import Segmenter
from hptl_train.predictor import Judged, Predictor
from hptl_train.recipe import Recipe
from hptl_train.rivals import load_rival
from hptl_train.run_folder import RunFolder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hptl_train.rivals import Rival


class Method(Protocol):
    """What every row can do."""

    def classes(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class indices [H, W] of a micrograph uint8 [H, W, 3]."""

    def judged(self, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Judged:
        """What it finds, and its loss against `labels` [H, W]."""


class RivalMethod:
    """A rival without layers."""

    def __init__(self, rival: Rival) -> None:
        self._rival = rival

    def classes(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class indices [H, W] of a micrograph uint8 [H, W, 3]."""
        return self._rival.classes(pixels)

    def judged(self, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Judged:
        """What it finds, and its loss, where it has one, against `labels` [H, W]."""
        return Judged(*self._rival.judged(pixels, labels))


def load_method(run: RunFolder, phases: Sequence[Phase], device: torch.device) -> Method:
    """The method that the finished `run` made. Raises RunError when its files are damaged."""
    recipe = run.recipe()
    if not isinstance(recipe, Recipe):
        return RivalMethod(load_rival(recipe, run.rival))
    step = recipe.steps[-1]
    network = segmenting_network(recipe, step, len(phases))
    path = run.weights(len(recipe.steps) - 1, step.name)
    restore_weights(network, load_weights(path), path)
    scale = recipe.input.scale
    segmenter = Segmenter(network, scale, recipe.input.mean, recipe.input.std).eval().to(device)
    return Predictor(segmenter, step.network, scale, device)
