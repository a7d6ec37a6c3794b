"""Which input pretrained weights are made for: what shows it, and what is only trusted."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import safetensors.numpy
import torch
from safetensors.torch import save_file

from hptl_deploy.errors import UsageError
from hptl_train import pretrained_input
from hptl_train.networks.segmenter import IMAGENET_STD
from hptl_train.pretrained import read_vgg19_weights
from hptl_train.pretrained_input import answering_share, original_order
from support.vgg19_files import (
    OMEGA_T1,
    REAL_SIZES,
    SIZES,
    imagenet_file,
    omega_t1,
    read,
    refusal,
    saved,
    whole,
)


def test_a_recipe_of_another_normalisation_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.safetensors", omega_t1())
    with pytest.raises(UsageError) as raised:
        read_vgg19_weights(path, SIZES, (0.5, 0.5, 0.5), IMAGENET_STD)
    assert str(raised.value) == (
        "published VGG-19 weights expect the recipe's [input] with mean = [0.485, 0.456, 0.406] "
        "and std = [0.229, 0.224, 0.225], found mean = [0.5, 0.5, 0.5] and std = [0.229, 0.224, "
        "0.225]. Set them so, or train step 1 instead"
    )


CAFFE = (
    "; expected weights for RGB in [0, 1] with mean and std taken out (caffe's input, BGR from 0 "
    "to 255, is 58 times as wide). Convert caffe's conv1_1.weight first: reverse its input "
    "channels, then multiply them by 255 times 0.229, 0.224, 0.225"
)


def test_the_originals_input_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    content = {
        n: torch.from_numpy(t) for n, t in safetensors.numpy.load_file(imagenet_file()).items()
    }
    right = content["features.0.weight"]
    spread = 255 * torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    caffe = (right / spread).flip(1)
    assert refusal(saved(path, content | {"features.0.weight": caffe}), REAL_SIZES) == (
        "conv1_1 is the original VGG-19's, for BGR about 57.6 times as wide as the recipe's "
        f"normalised input{CAFFE}"
    )
    # The advice, followed.
    advised = caffe.flip(1) * 255 * torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    assert read(saved(path, content | {"features.0.weight": advised}), REAL_SIZES)
    assert refusal(saved(path, content | {"features.0.weight": right.flip(1)}), REAL_SIZES) == (
        "conv1_1 is the original VGG-19's, for BGR; expected RGB. Reverse the input channels of "
        "conv1_1.weight: weight.flip(1)"
    )
    halves = {name: tensor.bfloat16() for name, tensor in content.items()}
    recognised = (
        "  input: conv1_1 is the original VGG-19's, converted to the recipe's normalisation"
    )
    assert recognised in read(saved(path, halves), REAL_SIZES).report


def test_other_filters_are_not_taken_for_the_originals() -> None:
    torch.manual_seed(1)
    for _ in range(50):
        assert original_order(torch.randn(64, 3, 3, 3)) is None
    assert original_order(torch.randn(16, 3, 3, 3)) is None


def test_published_files_are_known_by_their_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "w.safetensors", omega_t1())
    begins = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(pretrained_input, "_TORCHVISION", begins)
    assert read(path).report[-1] == (
        "  input: torchvision's vgg19 by its SHA-256, made for the recipe's normalisation"
    )
    monkeypatch.setattr(pretrained_input, "_CAFFE", begins)
    assert refusal(path) == f"this is the published conversion of the original VGG-19{CAFFE}"


def test_features_that_do_not_answer_are_refused(tmp_path: Path) -> None:
    content = omega_t1()
    own = {n: t for n, t in whole().items() if n.rpartition(".")[0] in OMEGA_T1}
    assert answering_share(own) > 0.9
    # A third of the filters say their bias, whatever the picture.
    own["conv2_2.weight"][:8] = 0
    own["conv2_2.bias"][:8] = 1
    assert answering_share(own) == pytest.approx(16 / 24)
    for name in content:
        content[name] = content[name] * 1e-4 if name == "features.0.weight" else content[name] + 0.1
    assert refusal(saved(tmp_path / "w.safetensors", content)) == (
        "only 0% of conv2_2's filters answer to photographs in [0, 1], normalised; expected at "
        "least half. Use weights that were trained on such an input"
    )


def test_words_of_the_file_are_shown_harmless(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    words = {"licence": "MIT", "Normalisation": "BGR\n\x1b[31mred" + "x" * 500, "mean": "0.5"}
    save_file(omega_t1(), path, metadata=words)
    assert sorted(read(path).report[-2:]) == [
        "  the file says of Normalisation: BGR  [31mred" + "x" * 188 + " ...",
        "  the file says of mean: 0.5",
    ]
