"""A step's network with its input side, freshly initialised from the seed."""

from __future__ import annotations

import torch
from torch import nn

from hptl_deploy.errors import UsageError
from hptl_train.networks import FCN, VGG19, DeepLabV3Plus, Segmenter
from hptl_train.networks.init import initialise
from hptl_train.networks.segmenter import Normalise, stride_of
from hptl_train.networks.vgg19 import CLASSIFIER_SIDE
from hptl_train.recipe import Recipe, StepTable


class Classifier(nn.Module):
    """VGG-19 behind the normalisation its weights are made for."""

    def __init__(self, normalise: Normalise, network: VGG19) -> None:
        super().__init__()
        self.normalise = normalise
        self.network = network

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Logits [N, K] of uint8 [N, 224, 224, 3]."""
        logits: torch.Tensor = self.network(self.normalise(pictures))
        return logits


def build(recipe: Recipe, step: StepTable, classes: int) -> Classifier | Segmenter:
    """What a step trains: the network, under `.network`, with `classes` outputs."""
    torch.manual_seed(recipe.seed * 1009 + recipe.steps.index(step))
    mean, std = recipe.input.mean, recipe.input.std
    if step.network == "vgg19":
        classifier = VGG19(recipe.vgg.sizes, classes, recipe.vgg.dropout)
        initialise(classifier, **recipe.init.model_dump())
        return Classifier(Normalise(mean, std), classifier)
    network = segmenting_network(recipe, step, classes)
    initialise(network, **recipe.init.model_dump())
    return Segmenter(network, recipe.input.scale, mean, std)


def segmenting_network(recipe: Recipe, step: StepTable, classes: int) -> FCN | DeepLabV3Plus:
    """A step's FCN or DeepLab V3+, its weights still torch's own."""
    if step.network == "deeplabv3plus":
        assert recipe.deeplab is not None
        return DeepLabV3Plus(recipe.deeplab.sizes, classes, recipe.deeplab.dropout)
    return FCN(step.network, recipe.vgg.sizes, classes, recipe.vgg.dropout)


def crop_side(recipe: Recipe) -> int:
    """Side of a crop in micrograph pixels: the recipe's, scaled back, on the stride's grid.

    224 at input scales 1, 2, 4 is 224, 112, 56; at 3 it is 64 (192 enlarged). Raises
    UsageError when less than one stride is left.
    """
    stride = stride_of(recipe.input.scale)
    side = recipe.crops.size // recipe.input.scale // stride * stride
    if side == 0:
        raise UsageError(
            f"recipe {recipe.name}: a crop of {recipe.crops.size} px is smaller than the "
            f"stride of {stride} px at input scale {recipe.input.scale}"
        )
    return side


def target_pixels(recipe: Recipe) -> int:
    """Micrograph pixels in all crops of the target domain that a chain trains on."""
    crops = sum(step.iterations * step.batch for step in recipe.steps if step.network != "vgg19")
    return crops * crop_side(recipe) ** 2


def picture_side(recipe: Recipe, step: StepTable) -> int:
    """Side of a step's training pictures, pixels of the micrograph or of the source's crops."""
    return CLASSIFIER_SIDE if step.network == "vgg19" else crop_side(recipe)
