"""Transfer: which parameters travel, and that nothing unexplained does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hptl_deploy.errors import RunError
from hptl_train.networks import FCN, VGG19, Sizes
from hptl_train.networks.layers import travels
from hptl_train.transfer import transfer
from support.tiny import TINY

BLOCKS_1_AND_2 = ["conv1_1", "conv1_2", "conv2_1", "conv2_2"]


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def layers(names: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys(name.rpartition(".")[0] for name in names))


def test_omega_t1_is_blocks_1_and_2() -> None:
    source, target = state(VGG19(TINY, 9)), FCN("fcn32s", TINY, 3)
    before = state(target)
    report = transfer(source, "vgg19", "vgg19", target, "fcn32s", "omega_t1")
    assert layers(report.copied) == BLOCKS_1_AND_2
    assert report.copied_count == sum(source[name].numel() for name in report.copied)
    for name, value in target.named_parameters():
        came_along = name.rpartition(".")[0] in BLOCKS_1_AND_2
        assert torch.equal(value, source[name] if came_along else before[name])
        assert value.requires_grad  # what is transferred goes on training
    assert layers(report.left)[-3:] == ["fc6", "fc7", "fc8"]


def test_omega_t1_at_full_size_is_the_published_count() -> None:
    with torch.device("meta"):
        source, target = VGG19(Sizes(), 1000), FCN("fcn32s", Sizes(), 3)
    report = transfer(
        dict(source.named_parameters()), "vgg19", "vgg19", target, "fcn32s", "omega_t1"
    )
    assert report.copied_count == 260_160


def test_omega_t2_and_t3() -> None:
    fcn32s, fcn16s, fcn8s = (FCN(kind, TINY, 3) for kind in ("fcn32s", "fcn16s", "fcn8s"))
    second = transfer(state(fcn32s), "a", "fcn32s", fcn16s, "fcn16s", "omega_t2")
    assert layers(second.new) == ["upscore2", "score_pool4", "upscore16"]
    assert layers(second.left) == ["upscore32"]
    third = transfer(state(fcn16s), "b", "fcn16s", fcn8s, "fcn8s", "omega_t3")
    assert layers(third.new) == ["score_pool4", "upscore_pool4", "score_pool3", "upscore8"]
    assert layers(third.left) == ["score_pool4", "upscore16"]
    assert third.lines()[0] == f"omega_t3 from b: {third.copied_count:,} parameters copied"


def test_an_unexplained_name_raises_and_copies_nothing() -> None:
    source = {**state(VGG19(TINY, 9)), "conv6_1.weight": torch.zeros(1)}
    target = FCN("fcn32s", TINY, 3)
    before = state(target)
    with pytest.raises(RunError) as raised:
        transfer(source, "vgg19", "vgg19", target, "fcn32s", "omega_t1")
    assert str(raised.value) == (
        "transfer of omega_t1 is not possible: step vgg19 holds conv6_1.weight, which is no "
        "parameter of vgg19"
    )
    assert all(torch.equal(value, before[name]) for name, value in target.named_parameters())


def test_a_missing_and_a_misshapen_parameter_are_both_named() -> None:
    source = state(VGG19(TINY, 9))
    del source["conv1_2.bias"]
    source["conv2_1.weight"] = torch.zeros(4, 5, 3, 3)
    with pytest.raises(RunError) as raised:
        transfer(source, "vgg19", "vgg19", FCN("fcn32s", TINY, 3), "fcn32s", "omega_t1")
    assert "step vgg19 lacks conv1_2.bias, which omega_t1 names" in str(raised.value)
    assert "conv2_1.weight is [4, 5, 3, 3] in step vgg19 and [4, 4, 3, 3] in the new fcn32s" in str(
        raised.value
    )


@pytest.mark.parametrize(
    ("group", "source", "target", "possible"),
    [
        ("omega_t1", "vgg19", "fcn8s", True),
        ("omega_t2", "vgg19", "fcn32s", False),  # fc6 and fc7 of VGG-19 are of another kind
        ("omega_t2", "fcn32s", "fcn8s", True),
        ("omega_t3", "fcn32s", "fcn16s", False),  # FCN-32s has no upscore2
        ("omega_t3", "fcn16s", "fcn8s", True),
    ],
)
def test_what_can_travel(group: str, source: str, target: str, possible: bool) -> None:
    assert travels(group, source, target) is possible
