"""Which input pretrained VGG-19 weights are made for, as far as they show it.

Names and shapes are the same whether conv1_1 expects RGB in [0, 1], normalised, or what the
original was trained on in caffe: BGR from 0 to 255 with the mean taken out, 58 times as wide.
How strongly conv1_1 answers does not tell the two apart. Fed photographs of [0, 1], the
original's filters as caffe holds them vary by 1.8 times their bias (median over filters) where
the right input makes it 104; but filters of torchvision's VGG-16, fed what they expect, vary by 2.3
times theirs (six of its 64), so a bound that refuses the one refuses the other.

What can be told:

- The original's conv1_1, whoever converted it, is recognised by its filters' shapes, which no
  scaling changes. Its filters' strength against its biases then gives the input's scale, and its
  colours the order of channels.
- Files published under a name that carries their SHA-256 are recognised by it.
- Weights whose conv2_2 hardly changes from one picture to another are no use, whoever made them.

Beyond that the file is taken at its word, and the report says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hptl_deploy.errors import UsageError
from hptl_train.data.source import photographs
from hptl_train.networks.layers import CONVOLUTIONS, GROUPS
from hptl_train.networks.segmenter import IMAGENET_MEAN, IMAGENET_STD, Normalise

_TORCHVISION = "dcbb9e9d"
_CAFFE = "d01eb7cb"
"""First eight digits of SHA-256, which torch.hub's naming convention puts into file names:
vgg19-dcbb9e9d.pth is torchvision's own training, vgg19-d01eb7cb.pth the original's conversion."""

_ORIGINAL = "hmdgfm2fdaa6d2ad7cd7h149cmadd10oa4be4gaddgbgcb49e34edabeceemeqbc"
"""Of each of the original's 64 filters the place of its largest tap, 0 to 26 in base 27: channel
R, G, B, then row, then column. Independent filters agree in 1 to 4 places of 64."""
_RECOGNISED = 32
"""Agreeing places: the original has 64, 61 in bfloat16, 41 with noise of a tenth of its spread."""
_STRENGTH = 96.1
"""Median over the original's filters of norm of taps / |bias|, for RGB in [0, 1], normalised."""
_TOLERANCE = 2.0
"""Caffe's input differs by a factor of 58; further training moves biases by far less than 2."""

_PICTURES, _SIDE = 8, 64
_BORDER = 4
"""conv2_2 looks 6 px round a pixel of its own, 3 of them through padding before the pool."""
_LEAST_SHARE = 0.05
"""Variance / mean square of an answering filter; at the right input conv2_2 has 0.7 to 0.9."""


def check_recipe(mean: Sequence[float], std: Sequence[float]) -> None:
    """Raise UsageError unless `mean` and `std` are what published weights expect."""
    if (tuple(mean), tuple(std)) != (IMAGENET_MEAN, IMAGENET_STD):
        raise UsageError(
            "published VGG-19 weights expect the recipe's [input] with "
            f"mean = {list(IMAGENET_MEAN)} and std = {list(IMAGENET_STD)}, "
            f"found mean = {list(mean)} and std = {list(std)}",
            hint="Set them so, or train step 1 instead",
        )


def check_input(where: str, tensors: Mapping[str, Tensor], sha256: str) -> str:
    """What is known of the input that omega_t1 in `tensors` is made for, for the report.

    `tensors` holds float32 [C_out, C_in, 3, 3] weights and [C_out] biases under our names.
    Raises UsageError when the weights are known to be made for another input than RGB in [0, 1],
    normalised, or hardly answer to it.
    """
    if sha256.startswith(_CAFFE):
        raise _made_for_caffe(f"{where}: this is the published conversion of the original VGG-19")
    answering = answering_share(tensors)
    if answering < 0.5:
        raise UsageError(
            f"{where}: only {answering:.0%} of conv2_2's filters answer to photographs in [0, 1], "
            "normalised; expected at least half",
            hint="Use weights that were trained on such an input",
        )
    if sha256.startswith(_TORCHVISION):
        return "torchvision's vgg19 by its SHA-256, made for the recipe's normalisation"
    order = original_order(tensors["conv1_1.weight"])
    if order is None:
        return (
            "normalisation and order of channels are taken on trust: the weights do not show what "
            "they were trained on"
        )
    _check_original(where, tensors, order)
    return "conv1_1 is the original VGG-19's, converted to the recipe's normalisation"


def original_order(weight: Tensor) -> str | None:
    """`RGB` or `BGR` if conv1_1's `weight` [C, 3, 3, 3] is the original VGG-19's, else None."""
    if tuple(weight.shape) != (len(_ORIGINAL), 3, 3, 3):
        return None
    places = torch.tensor([int(digit, 27) for digit in _ORIGINAL])
    agreeing = {
        order: int((taps.flatten(1).abs().argmax(1) == places).sum())
        for order, taps in (("RGB", weight), ("BGR", weight.flip(1)))
    }
    best = max(agreeing, key=lambda order: agreeing[order])
    return best if agreeing[best] >= _RECOGNISED else None


def _check_original(where: str, tensors: Mapping[str, Tensor], order: str) -> None:
    norms = tensors["conv1_1.weight"].flatten(1).norm(dim=1)
    strength = float((norms / tensors["conv1_1.bias"].abs().clamp_min(1e-30)).median())
    wider = _STRENGTH / max(strength, 1e-30)
    if not 1 / _TOLERANCE <= wider <= _TOLERANCE:
        raise _made_for_caffe(
            f"{where}: conv1_1 is the original VGG-19's, for {order} about {wider:.3g} times as "
            "wide as the recipe's normalised input"
        )
    if order != "RGB":
        raise UsageError(
            f"{where}: conv1_1 is the original VGG-19's, for {order}; expected RGB",
            hint="Reverse the input channels of conv1_1.weight: weight.flip(1)",
        )


def _made_for_caffe(found: str) -> UsageError:
    return UsageError(
        f"{found}; expected weights for RGB in [0, 1] with mean and std taken out (caffe's input, "
        "BGR from 0 to 255, is 58 times as wide)",
        hint="Convert caffe's conv1_1.weight first: reverse its input channels, then multiply "
        f"them by 255 times {', '.join(map(str, IMAGENET_STD))}",
    )


def answering_share(tensors: Mapping[str, Tensor]) -> float:
    """Share of conv2_2's filters whose output depends on the picture, 0 to 1.

    A filter answers when its variance over photographs and places is more than 5 % of its mean
    square: a filter that its biases rule has none.
    """
    crops = np.stack([_centre(picture) for picture in photographs(_PICTURES)])
    with torch.inference_mode():
        flow = Normalise(IMAGENET_MEAN, IMAGENET_STD)(torch.from_numpy(crops))  # [N, 3, S, S]
        for name in GROUPS["omega_t1"]:
            weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
            flow = torch.relu(functional.conv2d(flow, weight, bias, padding=1))
            if name == CONVOLUTIONS[0][-1]:
                flow = functional.max_pool2d(flow, 2)
        inner = flow[:, :, _BORDER:-_BORDER, _BORDER:-_BORDER].double()
        square = inner.square().mean((0, 2, 3))
        answers = inner.var((0, 2, 3), correction=0) > _LEAST_SHARE * square
    return float(answers.double().mean())


def _centre(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    top, left = ((length - _SIDE) // 2 for length in picture.shape[:2])
    return picture[top : top + _SIDE, left : left + _SIDE]
