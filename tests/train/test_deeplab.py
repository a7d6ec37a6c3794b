"""DeepLab V3+: sizes against the publications, geometry against brute force and closed forms."""

from __future__ import annotations

import copy
import itertools
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.transform import resize
from torch import Tensor, nn

from hptl_deploy.errors import RunError
from hptl_train.networks.deeplab import DeepLabV3Plus
from hptl_train.networks.deeplab_sizes import DeepLabSizes
from hptl_train.networks.init import initialise
from hptl_train.networks.resnet import Bottleneck, ResNet, Shortcut
from hptl_train.objective import cross_entropy

# Stem, widths, blocks, multi-grid, pyramid, rates, low level, decoder.
TINY = DeepLabSizes(8, (4, 4, 6, 6), (1, 1, 1, 1), (1,), 12, (1, 2, 3), 4, 12)


def deeplab(sizes: DeepLabSizes = TINY, classes: int = 3, dropout: float = 0.5) -> DeepLabV3Plus:
    torch.manual_seed(0)
    network = DeepLabV3Plus(sizes, classes, dropout)
    initialise(network, "he-normal", "bilinear", "zero")
    return network


def outputs(network: nn.Module, picture: Tensor) -> dict[str, Tensor]:
    """What every layer of `network` gives for `picture`, by the layer's name."""
    seen: dict[str, Tensor] = {}

    def remember(name: str, module: nn.Module, inputs: object, output: Tensor) -> None:
        seen[name] = output

    handles = [
        module.register_forward_hook(partial(remember, name))
        for name, module in network.named_modules()
    ]
    with torch.no_grad():
        network(picture)
    for handle in handles:
        handle.remove()
    return seen


def layers(unit: nn.Module) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """The convolution and the normalisation of one unit of pyramid or decoder."""
    first, second, _ = unit.children()
    assert isinstance(first, nn.Conv2d)
    assert isinstance(second, nn.BatchNorm2d)
    return first, second


def convolution(incoming: int, outgoing: int, kernel: int) -> int:
    """Weights without bias, and the two numbers per channel of batch normalisation."""
    return incoming * outgoing * kernel * kernel + 2 * outgoing


def bottleneck(incoming: int, width: int) -> int:
    """He et al., figure 5 right: the third convolution gives four times the width."""
    narrow = convolution(incoming, width, 1) + convolution(width, width, 3)
    return narrow + convolution(width, 4 * width, 1)


def resnet50() -> int:
    """He et al., table 1, row by row: each first block has a shortcut with a 1x1 convolution."""
    conv1 = convolution(3, 64, 7)
    conv2 = bottleneck(64, 64) + convolution(64, 256, 1) + 2 * bottleneck(256, 64)
    conv3 = bottleneck(256, 128) + convolution(256, 512, 1) + 3 * bottleneck(512, 128)
    conv4 = bottleneck(512, 256) + convolution(512, 1024, 1) + 5 * bottleneck(1024, 256)
    conv5 = bottleneck(1024, 512) + convolution(1024, 2048, 1) + 2 * bottleneck(2048, 512)
    return conv1 + conv2 + conv3 + conv4 + conv5


@pytest.mark.parametrize(("classes", "total"), [(21, 40_352_181), (3, 40_347_555)])
def test_the_parameters_are_those_of_the_published_layers(classes: int, total: int) -> None:
    # ResNet-50 has 25 557 032 with the classifier, which is left out.
    assert resnet50() == 25_557_032 - (2048 * 1000 + 1000)
    one, three = convolution(2048, 256, 1), convolution(2048, 256, 3)
    aspp = one + 3 * three + one + convolution(5 * 256, 256, 1)
    decoder = convolution(256, 48, 1) + convolution(256 + 48, 256, 3) + convolution(256, 256, 3)
    assert resnet50() + aspp + decoder + 256 * classes + classes == total
    with torch.device("meta"):
        encoder, whole = ResNet(DeepLabSizes()), DeepLabV3Plus(DeepLabSizes(), classes)
    for network, expected in ((encoder, resnet50()), (whole, total)):
        assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_shapes_at_output_strides_4_and_16_and_shortcuts() -> None:
    network = DeepLabV3Plus(DeepLabSizes(), classes=21).eval()
    seen = outputs(network, torch.rand(1, 3, 64, 96))
    stride_4 = {"maxpool": 64, "layer1": 256, "decoder.low_level": 48, "decoder.refine": 256}
    stride_16 = {"layer3": 1024, "layer4": 2048, "aspp": 256}
    assert seen["layer2"].shape == (1, 512, 8, 12)
    assert seen["decoder"].shape == (1, 21, 64, 96)
    assert all(seen[name].shape[1:] == (c, 16, 24) for name, c in stride_4.items())
    assert all(seen[name].shape[1:] == (c, 4, 6) for name, c in stride_16.items())
    # He et al., equations 1 and 2: F(x) + x, and F(x) + W x where x has another shape.
    for block, shortcut in (("layer2.1", "layer2.0"), ("layer2.0", "layer2.0.downsample.1")):
        total = seen[f"{block}.bn3"] + seen[shortcut]
        torch.testing.assert_close(seen[block], total.clamp(min=0))


def test_encoder_weights_have_the_names_of_published_resnet50_files() -> None:
    with torch.device("meta"):
        names = set(ResNet(DeepLabSizes()).state_dict())
    statistics = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {"conv1.weight", *(f"bn1.{name}" for name in statistics)}
    for stage, count in ((1, 3), (2, 4), (3, 6), (4, 3)):
        for block, layer in itertools.product(range(count), (1, 2, 3)):
            prefix = f"layer{stage}.{block}"
            expected.add(f"{prefix}.conv{layer}.weight")
            expected |= {f"{prefix}.bn{layer}.{name}" for name in statistics}
        expected.add(f"layer{stage}.0.downsample.0.weight")
        expected |= {f"layer{stage}.0.downsample.1.{name}" for name in statistics}
    assert names == expected


def test_scaling_leaves_blocks_and_rates() -> None:
    blocks, multi_grid, rates = (3, 4, 6, 3), (1, 2, 4), (6, 12, 18)
    quarter = DeepLabSizes(16, (16, 32, 64, 128), blocks, multi_grid, 64, rates, 12, 64)
    assert DeepLabSizes().scaled(0.25) == quarter
    least = DeepLabSizes(1, (1, 1, 1, 1), blocks, multi_grid, 1, rates, 1, 1)
    assert DeepLabSizes().scaled(0.001) == least


def test_every_block_of_the_last_stage_needs_its_unit_rate() -> None:
    message = "^multi_grid has 2 unit rates, expected 3: one for each block of the last stage$"
    with pytest.raises(ValueError, match=message):
        DeepLabSizes(multi_grid=(1, 2))


def test_dilated_branches_equal_brute_force() -> None:
    """Each tap of each branch of the published rates, summed one by one in float64."""
    network = DeepLabV3Plus(DeepLabSizes().scaled(0.01), classes=2).double()
    features = np.random.default_rng(0).normal(size=(20, 23, 20))  # [C, H, W]
    for branch, rate in zip(list(network.aspp.branches)[1:], (6, 12, 18), strict=True):
        dilated = layers(branch)[0]
        kernel = dilated.weight.detach().numpy()  # [3, 20, 3, 3]
        expected = np.zeros((3, 23, 20))
        for y, x, i, j in itertools.product(range(23), range(20), range(3), range(3)):
            row, column = y + (i - 1) * rate, x + (j - 1) * rate
            if 0 <= row < 23 and 0 <= column < 20:
                expected[:, y, x] += kernel[:, :, i, j] @ features[:, row, column]
        found = dilated(torch.from_numpy(features)[None])[0].detach().numpy()
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_last_stage_is_a_strided_one_at_every_shift() -> None:
    """Chen et al. 2015: dilation by 2 computes what stride 2 would, on all four grids."""
    stage = deeplab(DeepLabSizes().scaled(0.02)).double().eval().layer4
    features = torch.rand(1, 4 * 5, 20, 24, dtype=torch.float64)
    plain = copy.deepcopy(stage)
    for block, unit in zip(plain, (1, 2, 4), strict=True):
        assert isinstance(block, Bottleneck)
        assert block.conv2.dilation == (2 * unit, 2 * unit)
        block.conv2.dilation = block.conv2.padding = (unit, unit)
    with torch.no_grad():
        dense = stage(features)
        for y, x in itertools.product((0, 1), (0, 1)):
            strided = plain(features[:, :, y::2, x::2])
            torch.testing.assert_close(dense[:, :, y::2, x::2], strided)


def test_receptive_field_of_the_encoder() -> None:
    """By gradients of a network in which nothing cancels, against the closed form."""
    network = ResNet(DeepLabSizes().scaled(0.001)).double().eval()
    network.maxpool = nn.AvgPool2d(kernel_size=3, stride=2, padding=1)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1.0 / module.weight[0].numel())
    picture = torch.ones(1, 3, 1024, 32, dtype=torch.float64, requires_grad=True)
    flow = network.stem(picture)
    found = []
    for name, stride in (("layer1", 4), ("layer2", 8), ("layer3", 16), ("layer4", 16)):
        flow = network.get_submodule(name)(flow)
        centre = flow[0, :, 512 // stride].sum()
        (gradient,) = torch.autograd.grad(centre, picture, retain_graph=True)
        felt = (gradient[0] != 0).any(dim=0).any(dim=1).nonzero().flatten()
        found.append((512 - int(felt[0]), int(felt[-1]) - 512))
    # Half the field, pixels: a 3x3 convolution adds its dilation times the stride before it.
    layer1 = 3 + 2 + 3 * 4  # 7x7 at stride 1, pool at stride 2, three blocks at stride 4
    layer2 = layer1 + 4 + 3 * 8
    layer3 = layer2 + 8 + 5 * 16
    layer4 = layer3 + 16 * (2 + 4 + 8)
    assert found == [(half, half) for half in (layer1, layer2, layer3, layer4)]


@pytest.mark.parametrize(("side", "learns"), [(288, False), (304, True)])
def test_the_least_crop_teaches_the_widest_rate(side: int, learns: bool) -> None:
    assert DeepLabSizes().least_crop == 304
    branch = deeplab(DeepLabSizes().scaled(0.01)).aspp.branches[3]
    branch(torch.rand(2, 20, side // 16, side // 16)).square().sum().backward()
    gradient = layers(branch)[0].weight.grad
    assert gradient is not None
    taught = gradient.abs().sum(dim=(0, 1)).flatten() > 0  # nine taps
    assert taught.tolist() == [learns] * 4 + [True] + [learns] * 4


def enlarged_by_4(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bilinear, pixels as squares, edges repeated; [C, h, w] to [C, 4h, 4w]."""
    channels, height, width = features.shape
    shape = (channels, 4 * height, 4 * width)
    found: NDArray[np.float64] = resize(features, shape, order=1, mode="edge")
    return found


def test_both_enlargements_take_pixels_as_squares() -> None:
    network = deeplab().double().eval()
    with torch.no_grad():
        # The first refining convolution hands on channel 5 of the pyramid as its channel 2.
        weight = layers(network.decoder.refine[0])[0].weight.zero_()
        weight[2, 5, 1, 1] = 1
    seen = outputs(network, torch.rand(1, 3, 64, 96, dtype=torch.float64))
    handed_on = seen["decoder.refine.0.0"][0, 2].numpy()
    expected = enlarged_by_4(seen["aspp"][0].numpy())[5]
    np.testing.assert_allclose(handed_on, expected, atol=1e-12)
    score = seen["decoder.classifier"][0].numpy()
    np.testing.assert_allclose(seen["decoder"][0].numpy(), enlarged_by_4(score), atol=1e-12)


def test_image_pooling_makes_a_tile_differ_from_the_whole() -> None:
    network = deeplab().double().eval()
    picture = torch.rand(1, 3, 512, 64, dtype=torch.float64)
    picture[:, :, 256:] *= 3
    # TINY's convolutions reach less than 200 pixels, so the cut is out of their sight.
    with torch.no_grad():
        whole, tile = network(picture)[:, :, :32], network(picture[:, :, :256])[:, :, :32]
        assert (whole - tile).abs().max() > 1e-3 * whole.abs().max()
        layers(network.aspp.image_pooling)[1].weight.zero_()
        whole, tile = network(picture)[:, :, :32], network(picture[:, :, :256])[:, :, :32]
    torch.testing.assert_close(whole, tile, rtol=0, atol=1e-12)


def test_evaluation_is_deterministic_and_looks_at_each_picture_alone() -> None:
    network = deeplab().double()
    pictures = torch.rand(3, 3, 32, 64, dtype=torch.float64)
    with torch.no_grad():
        assert not torch.equal(network(pictures), network(pictures))  # dropout
        network.eval()
        first = network(pictures)
        assert torch.equal(network(pictures), first)
        torch.testing.assert_close(network(pictures[1:2]), first[1:2])


def test_a_single_picture_cannot_be_trained_on() -> None:
    network, picture = deeplab(), torch.rand(1, 3, 32, 32)
    with pytest.raises(RunError) as caught:
        network(picture)
    assert str(caught.value) == (
        "deeplabv3plus: a training batch holds 1 picture, expected at least 2, because image "
        "pooling leaves one value per picture and channel, and batch normalisation cannot take "
        "a deviation from one value. Raise the step's batch in its recipe"
    )
    assert network.eval()(picture).shape == (1, 3, 32, 32)


def test_initial_values_are_he_normal_and_signals_keep_unit_variance() -> None:
    network = deeplab(DeepLabSizes().scaled(0.125), classes=200).train()
    seen = outputs(network, torch.randn(4, 3, 96, 96))
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            expected = (2 / module.weight[0].numel()) ** 0.5
            # Of n normal numbers the deviation is known to 1 / sqrt(2 n).
            tolerance = 5 / (2 * module.weight.numel()) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=tolerance), name
        elif isinstance(module, nn.BatchNorm2d):
            variance, mean = torch.var_mean(seen[name], dim=(0, 2, 3), correction=0)
            torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-4, rtol=0)
            torch.testing.assert_close(variance, torch.ones_like(mean), atol=0.02, rtol=0)
    assert not network.get_parameter("decoder.classifier.bias").any()
    # A rectified unit normal has mean square 1/2, which He's factor of 2 makes up for.
    square = seen["decoder.classifier"].square().mean().item()
    assert square == pytest.approx(1, rel=0.3)


def test_a_tiny_picture_can_be_learned_by_heart() -> None:
    network = deeplab(dropout=0.0)
    labels = torch.zeros(2, 64, 64, dtype=torch.int64)
    labels[0, 8:40, 12:30] = 1
    labels[1, 30:60, 20:56] = 2
    pictures = torch.tensor([0.0, 1, -1])[labels][:, None] + 0.3 * torch.randn(2, 3, 64, 64)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        loss = cross_entropy(network(pictures), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.7
    assert losses[-1] < 0.2
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("incoming", [3, 12, 16])
def test_a_shortcut_learns_from_every_second_pixel_alone(incoming: int) -> None:
    """In the layout of memory, and with the few channels, that crashed a strided convolution."""
    torch.manual_seed(0)
    shortcut = Shortcut(incoming, 20, 2)
    features = torch.randn(2, incoming, 31, 40).to(memory_format=torch.channels_last)
    features.requires_grad_()
    coming = torch.randn(2, 20, 16, 20).to(memory_format=torch.channels_last)
    shortcut(features).backward(coming)
    assert shortcut.weight.grad is not None and features.grad is not None
    seen = features.detach()[:, :, ::2, ::2]
    kernel = shortcut.weight.detach()[:, :, 0, 0]
    torch.testing.assert_close(
        shortcut.weight.grad[:, :, 0, 0],
        torch.einsum("nohw,nihw->oi", coming, seen),
        rtol=1e-5,
        atol=1e-4,
    )
    expected = torch.zeros_like(features.detach())
    expected[:, :, ::2, ::2] = torch.einsum("nohw,oi->nihw", coming, kernel)
    torch.testing.assert_close(features.grad, expected)
