"""Files of VGG-19 weights as others make them, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from hptl_deploy.errors import UsageError
from hptl_train.networks import VGG19, Sizes
from hptl_train.networks.init import initialise
from hptl_train.networks.segmenter import IMAGENET_MEAN, IMAGENET_STD
from hptl_train.pretrained import Pretrained, read_vgg19_weights
from support.real_data import uhcs

SIZES = Sizes((16, 24, 6, 6, 8), 12)
"""Enough filters in blocks 1 and 2 that at any seed most of them answer."""
REAL_SIZES = Sizes((64, 128, 6, 6, 8), 12)
"""Of the real file, as far as omega_t1 goes."""
OMEGA_T1 = ["conv1_1", "conv1_2", "conv2_1", "conv2_2"]

# torchvision's places in `features` and `classifier`, in the order of the layers.
VGG19_PLACES = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]


def whole(sizes: Sizes = SIZES, classes: int = 9) -> dict[str, Tensor]:
    """A VGG-19 under our names, with biases that are not zero."""
    torch.manual_seed(0)
    network = VGG19(sizes, classes)
    initialise(network, "he-normal", "bilinear", "zero")
    return {
        name: p.detach() + (0.01 * torch.randn_like(p) if name.endswith("bias") else 0)
        for name, p in network.named_parameters()
    }


def as_torchvision(own: dict[str, Tensor]) -> dict[str, Tensor]:
    """`own` under torchvision's names."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in whole()))
    places = [*(f"features.{place}" for place in VGG19_PLACES)]
    theirs = dict(
        zip(layers, [*places, "classifier.0", "classifier.3", "classifier.6"], strict=True)
    )
    return {
        f"{theirs[layer]}.{kind}": tensor
        for name, tensor in own.items()
        for layer, _, kind in [name.rpartition(".")]
    }


def omega_t1(sizes: Sizes = SIZES) -> dict[str, Tensor]:
    """A partial file's content, under torchvision's names."""
    own = whole(sizes)
    return as_torchvision({n: t for n, t in own.items() if n.rpartition(".")[0] in OMEGA_T1})


def saved(path: Path, content: Any) -> Path:
    """`content` written in the format that `path` ends in."""
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in content.items()}, path)
    else:
        torch.save(content, path)
    return path


def read(path: Path, sizes: Sizes = SIZES) -> Pretrained:
    """`path`, for a recipe of ImageNet's normalisation."""
    return read_vgg19_weights(path, sizes, IMAGENET_MEAN, IMAGENET_STD)


def refusal(path: Path, sizes: Sizes = SIZES) -> str:
    """Why `path` is refused, without the words that name it."""
    with pytest.raises(UsageError) as raised:
        read(path, sizes)
    text = str(raised.value)
    assert text.startswith(f"VGG-19 weights {path}: ")
    assert "\n" not in text
    return text.removeprefix(f"VGG-19 weights {path}: ")


def imagenet_file() -> Path:
    """The real file of ImageNet's first layers; skips the test where it is missing."""
    path = uhcs().parent / "vgg19_imagenet_conv1_conv2.safetensors"
    if not path.is_file():
        pytest.skip(f"needs {path.name} beside the data set uhcs")
    return path
