"""Networks: names, sizes and shapes against the publications, initial values in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from hptl_train.networks import FCN, NETWORKS, VGG19, Sizes
from hptl_train.networks.init import initialise
from hptl_train.networks.segmenter import Enlarge, Normalise, stride_of
from support.tiny import TINY, segmenter


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_vgg19_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        # Simonyan and Zisserman, table 2: 144 million; exactly, for 1000 classes:
        assert parameters(VGG19(Sizes(), classes=1000)) == 143_667_240


def test_fcn8s_has_the_parameters_of_its_layers() -> None:
    with torch.device("meta"):
        network = FCN("fcn8s", Sizes(), classes=3)
    trunk = 20_024_384  # the convolutions of VGG-19: 143 667 240 less the classifier's 123 642 856
    head = (512 * 49 * 4096 + 4096) + (4096 * 4096 + 4096) + (4096 * 3 + 3)
    skips = (512 * 3 + 3) + (256 * 3 + 3)
    deconvolutions = 3 * 3 * (4 * 4 + 4 * 4 + 16 * 16)
    assert parameters(network) == trunk + head + skips + deconvolutions
    assert parameters(network) == pytest.approx(140e6, rel=0.05)  # as engines are planned for


@pytest.mark.parametrize("kind", NETWORKS)
def test_layers_have_the_papers_names_in_order(kind: str) -> None:
    network = VGG19(TINY, 5) if kind == "vgg19" else FCN(kind, TINY, 5)
    layers = [name.rpartition(".")[0] for name, _ in network.named_parameters()]
    assert set(layers) == set(NETWORKS[kind])
    convolutions = [layer for layer in dict.fromkeys(layers) if layer.startswith("conv")]
    counts = zip(range(1, 6), (2, 2, 4, 4, 4), strict=True)
    assert convolutions == [f"conv{b}_{n}" for b, count in counts for n in range(1, count + 1)]


@pytest.mark.parametrize("kind", ["fcn32s", "fcn16s", "fcn8s"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_logits_have_the_micrographs_size(kind: str, scale: int) -> None:
    stride = stride_of(scale)
    micrograph = torch.randint(0, 256, (2, 2 * stride, 3 * stride, 3), dtype=torch.uint8)
    with torch.inference_mode():
        logits = segmenter(kind, phases=4, input_scale=scale)(micrograph)
    assert logits.shape == (2, 4, 2 * stride, 3 * stride)
    assert logits.std() > 0


def test_vgg19_classifies_224_pixels() -> None:
    with torch.inference_mode():
        assert VGG19(TINY, 7).eval()(torch.rand(2, 3, 224, 224)).shape == (2, 7)


@pytest.mark.parametrize("factor", [2, 8, 32])
def test_bilinear_deconvolution_interpolates(factor: int) -> None:
    layer = nn.ConvTranspose2d(2, 2, 2 * factor, factor, factor // 2, bias=False)
    initialise(layer, "he-normal", "bilinear", "zero")
    picture = torch.rand(1, 2, 6, 5)
    with torch.no_grad():
        found = layer(picture)
    expected = functional.interpolate(
        picture, scale_factor=factor, mode="bilinear", align_corners=False
    )
    assert found.shape == expected.shape
    # At the border the deconvolution sees zeros where interpolation repeats the edge.
    inside = (..., slice(factor, -factor), slice(factor, -factor))
    torch.testing.assert_close(found[inside], expected[inside])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_enlargement_is_bilinear_interpolation(scale: int) -> None:
    picture = torch.rand(2, 3, 7, 5)
    expected = functional.interpolate(
        picture, scale_factor=scale, mode="bilinear", align_corners=False
    )
    torch.testing.assert_close(Enlarge(scale)(picture), expected)


def test_initial_values_are_the_recipes() -> None:
    torch.manual_seed(0)
    network = FCN("fcn8s", Sizes((16, 16, 32, 32, 32), 64), classes=3)
    initialise(network, "he-normal", "bilinear", "zero")
    weight = network.get_parameter("conv3_2.weight")
    assert weight.std().item() == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.05)
    assert not network.score_pool4.weight.any()
    assert not network.score_pool3.weight.any()
    assert network.score_fr.weight.any()
    assert not network.fc6.bias.any()  # type: ignore[union-attr]


def test_normalisation_is_that_of_published_weights() -> None:
    micrograph = torch.tensor([[[[255, 0, 51]]]], dtype=torch.uint8)
    found = Normalise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(micrograph).flatten()
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


def test_a_wide_network_scales_all_six_sizes() -> None:
    assert Sizes().scaled(0.25) == Sizes((16, 32, 64, 128, 128), 1024)
    assert Sizes().scaled(0.001) == Sizes((1, 1, 1, 1, 1), 4)
