"""Published VGG-19 weights: what is taken, what is left, and whose weights are refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from scipy.signal import correlate
from torch import Tensor

from hptl_train.data.source import photographs
from hptl_train.networks import FCN, VGG19, Sizes
from hptl_train.networks.segmenter import IMAGENET_MEAN, IMAGENET_STD, Normalise
from support.vgg19_files import (
    OMEGA_T1,
    REAL_SIZES,
    SIZES,
    VGG19_PLACES,
    as_torchvision,
    imagenet_file,
    omega_t1,
    read,
    refusal,
    saved,
    whole,
)

VGG16_PLACES = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
VGG16_SHAPES = [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 13, 14]
"""The convolutions of VGG-19 that have the shapes of VGG-16's."""


def test_imagenet_features_are_the_files() -> None:
    """conv1_1 behind our normalisation against scipy on the file's own numbers."""
    path = imagenet_file()
    found = read(path, REAL_SIZES)
    network = VGG19(REAL_SIZES, 9)
    network.load_state_dict(found.tensors, strict=False)
    crop = photographs(1)[0][100:120, 80:110]
    with torch.inference_mode():
        normalised = Normalise(IMAGENET_MEAN, IMAGENET_STD)(torch.from_numpy(crop.copy())[None])
        ours = network.get_submodule("conv1_1")(normalised)[0].numpy()
    theirs = safetensors.numpy.load_file(path)
    picture = (crop / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    padded = np.pad(picture.transpose(2, 0, 1), ((0, 0), (1, 1), (1, 1)))
    for place in (0, 17, 63):
        expected = correlate(padded, theirs["features.0.weight"][place].astype(float), "valid")
        expected += theirs["features.0.bias"][place]
        assert ours[place] == pytest.approx(expected[0], abs=1e-4)
    for layer, feature in zip(OMEGA_T1, (0, 2, 5, 7), strict=True):
        for kind in ("weight", "bias"):
            file_has = theirs[f"features.{feature}.{kind}"]
            assert np.array_equal(found.tensors[f"{layer}.{kind}"].numpy(), file_has)


def test_imagenet_weights_are_reported() -> None:
    path = imagenet_file()
    found = read(path, REAL_SIZES)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.sha256 == sha256
    assert found.to_json()["parameters"] == 260_160
    assert found.to_json()["layers"] == OMEGA_T1
    assert found.report == [
        f"VGG-19 from {path.name} (SHA-256 {sha256[:12]}): 260,160 parameters taken",
        "  taken: conv1_1, conv1_2, conv2_1, conv2_2",
        "  left:  none",
        "  VGG-16 has the same layers so far: that these are VGG-19's is trusted",
        "  input: conv1_1 is the original VGG-19's, converted to the recipe's normalisation",
        "  the file says of input: RGB in [0,1], (x-mean)/std with mean 0.485 0.456 0.406, std "
        "0.229 0.224 0.225",
    ]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("plain.safetensors", dict),
        ("plain.pth", dict),
        ("prefix.PT", lambda t: {f"module.{n}": v for n, v in t.items()}),
        ("deep.pth", lambda t: {"epoch": 3, "state_dict": {f"model.vgg.{n}": t[n] for n in t}}),
        ("twice.pth", lambda t: {"model": {"model_state_dict": t, "optimiser": {"lr": 0.1}}}),
        ("parameters.pth", lambda t: {n: torch.nn.Parameter(v) for n, v in t.items()}),
    ],
)
def test_layouts_give_the_same_tensors(
    tmp_path: Path, name: str, change: Callable[[dict[str, Tensor]], Any]
) -> None:
    own = whole()
    for number, content in enumerate((own, as_torchvision(own))):
        found = read(saved(tmp_path / f"{number}{name}", change(content)))
        assert list(found.tensors) == list(own)
        assert all(torch.equal(found.tensors[name], own[name]) for name in own)
        assert not any(tensor.requires_grad for tensor in found.tensors.values())
        assert found.report[2] == "  left:  none"


def test_files_of_the_older_torch_save_are_read(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save(omega_t1(), path, _use_new_zipfile_serialization=False)
    assert torch.equal(read(path).tensors["conv2_2.bias"], omega_t1()["features.7.bias"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    content = {name: tensor.to(dtype) for name, tensor in omega_t1().items()}
    found = read(saved(tmp_path / "w.safetensors", content))
    assert {tensor.dtype for tensor in found.tensors.values()} == {torch.float32}
    expected = content["features.2.weight"].double().numpy().astype(np.float32)
    assert np.array_equal(found.tensors["conv1_2.weight"].numpy(), expected)
    assert f"  dtype: {str(dtype)[6:]}, converted to float32" in found.report


def test_layers_of_other_widths_are_left_and_said(tmp_path: Path) -> None:
    content = as_torchvision(whole(Sizes((16, 24, 6, 10, 8), 12), classes=5))
    del content["classifier.6.bias"]
    content["classifier.9.weight"] = torch.zeros(3)
    found = read(saved(tmp_path / "w.pth", content))
    assert found.report[1:] == [
        # conv5_1 takes the fourth block's width, conv5_2 to conv5_4 do not.
        "  taken: conv1_1, conv1_2, conv2_1, conv2_2, conv3_1, conv3_2, conv3_3, conv3_4, conv5_2, "
        "conv5_3, conv5_4, fc6, fc7",
        "  left:  fc8 (weight or bias missing); conv4_1, conv4_2, conv4_3, conv4_4, conv5_1 (other "
        "sizes than the recipe's); classifier.9.weight (no layers of this VGG-19)",
        "  input: normalisation and order of channels are taken on trust: the weights do not show "
        "what they were trained on",
    ]


def test_omega_t1_of_another_width_names_the_way_out(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.safetensors", omega_t1())
    assert refusal(path, Sizes((8, 24, 64, 64, 64), 256)) == (
        "conv1_1.weight is [16, 3, 3, 3] in the file and [8, 3, 3, 3] in the recipe's network. Set "
        "channels = [16, 24, 64, 64, 64] in the recipe's [network], and leave --width out"
    )
    other = omega_t1() | {"features.0.weight": torch.zeros(16, 3, 11, 11)}
    assert refusal(saved(path, other)) == (
        "conv1_1.weight is [16, 3, 11, 11] in the file and [16, 3, 3, 3] in the recipe's network. "
        "Expected VGG-19's 3x3 convolutions, each taking what the one before it gives"
    )


def vgg16() -> dict[str, Tensor]:
    content = as_torchvision(whole())
    convolutions = {
        f"features.{place}.{kind}": content[f"features.{VGG19_PLACES[like]}.{kind}"]
        for place, like in zip(VGG16_PLACES, VGG16_SHAPES, strict=True)
        for kind in ("weight", "bias")
    }
    return convolutions | {n: t for n, t in content.items() if n.startswith("classifier")}


def test_other_networks_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    assert refusal(saved(path, vgg16())) == (
        "is VGG-16: it has a layer at features.17, where VGG-19 has none; expected VGG-19's weights"
    )
    alexnet = {f"features.{place}.weight": torch.zeros(4, 3, 3, 3) for place in (0, 3, 6, 8, 10)}
    assert refusal(saved(path, alexnet)).startswith(
        "is another network: it has a layer at features.3, where VGG-19 has none"
    )
    gap = {name: t for name, t in whole().items() if "_4" not in name}
    assert refusal(saved(path, gap)) == (
        "lacks conv3_4 and holds conv5_3, as VGG-16 does; expected VGG-19's layers without a gap"
    )
    fcn = dict(FCN("fcn32s", SIZES, 3).named_parameters())
    assert refusal(saved(path, fcn)) == (
        "holds score_fr.weight, a layer of an FCN; expected VGG-19's weights"
    )


@pytest.mark.parametrize("statistics", [True, False])
def test_batch_normalisation_is_refused(tmp_path: Path, statistics: bool) -> None:
    content = {"features.0.weight": torch.zeros(16, 3, 3, 3), "features.1.weight": torch.ones(16)}
    if statistics:
        content["features.1.running_mean"] = torch.zeros(16)
    shown = "running_mean" if statistics else "weight"
    assert refusal(saved(tmp_path / "w.pth", content)) == (
        f"is a VGG with batch normalisation (features.1.{shown}), without which its convolutions "
        "mean nothing; this VGG-19 has none. Take vgg19's weights, not vgg19_bn's"
    )


def test_vgg16_that_ends_early_is_taken_on_trust(tmp_path: Path) -> None:
    places = [f"features.{place}." for place in VGG16_PLACES[:7]]
    early = {name: t for name, t in vgg16().items() if name.startswith(tuple(places))}
    found = read(saved(tmp_path / "w.pth", early))
    trusted = "  VGG-16 has the same layers so far: that these are VGG-19's is trusted"
    assert found.report[1].endswith("conv2_2, conv3_1, conv3_2, conv3_3")
    assert trusted in found.report
    assert trusted not in read(saved(tmp_path / "whole.pth", whole())).report


def test_missing_and_doubled_tensors_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    lacking = {name: t for name, t in omega_t1().items() if name != "features.5.bias"}
    assert refusal(saved(path, lacking)) == (
        "lacks conv2_1.bias; expected the weights and biases of conv1_1, conv1_2, conv2_1 and "
        "conv2_2 at least, which omega_t1 needs"
    )
    nameless = {name.removeprefix("features."): t for name, t in omega_t1().items()}
    assert refusal(saved(path, nameless)) == (
        "holds no layer of omega_t1 under torchvision's names (features.0.weight) or ours "
        "(conv1_1.weight); found 0.weight, 0.bias, 2.weight"
    )
    doubled = omega_t1() | {"conv1_1.bias": torch.zeros(16)}
    assert refusal(saved(path, doubled)) == (
        "holds conv1_1.bias twice, as features.0.bias and as conv1_1.bias"
    )
    two = {f"{prefix}.{name}": t for prefix in ("a", "b") for name, t in omega_t1().items()}
    assert refusal(saved(path, two)) == "holds several networks, under the prefixes a, b"
