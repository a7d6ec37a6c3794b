from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hptl_deploy.engines.flavour import Flavour
from hptl_deploy.engines.machine import Card, Machine
from hptl_deploy.engines.record import Profiles
from hptl_deploy.engines.wanted import profiles_for, wanted
from hptl_deploy.errors import EnvironmentLacks, UsageError
from hptl_deploy.model import Model, load_model
from support.threshold_model import write_threshold_model

LINUX, WINDOWS = "linux-x86_64", "windows-x86_64"
TENSORRT = Flavour("tensorrt", "11.0.0", trt=None)
RTX = Flavour("tensorrt-rtx", "1.7.1", trt=None)
PORTABLE = ("8.0", "8.6", "8.9", "12.0")


def machine(capability: str | None, os: str = LINUX) -> Machine:
    if capability is None:
        return Machine(None, None, os)
    return Machine(Card("a card", capability), "580.65", os)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load_model(write_threshold_model(tmp_path, smoothing=2))  # stride 8, halo 24


@pytest.mark.parametrize(
    ("frame", "filled"),
    [((1920, 2560), (1920, 2560)), ((1, 1), (8, 8)), ((483, 645), (488, 648))],
)
def test_profiles(model: Model, frame: tuple[int, int], filled: tuple[int, int]) -> None:
    side = 1024 + 2 * 24
    assert profiles_for(model.card, frame) == Profiles(
        (1, *filled), (1, 8, 8), (1, side, side), (4, side, side)
    )


@pytest.mark.parametrize(
    ("channels", "scale", "frame", "side", "batch"),
    [
        # Numbers in the largest tensor stay below 2^31: channels x scale^2 x N x H x W.
        (64, 1, (1, 1920, 2560), 1072, 4),  # 64 x 4.9 M = 0.3 G; 64 x 4 x 1.15 M = 0.3 G
        (64, 2, (1, 1920, 2560), 1072, 4),  # 1.3 G; 1.2 G
        (64, 3, (1, 1072, 1072), 1072, 3),  # 2.8 G, so frames go in tiles; 576 x 3 x 1.15 M = 2 G
        (64, 4, (1, 1072, 1072), 1072, 1),  # 5.0 G; 1.2 G
        (256, 4, (1, 560, 560), 560, 1),  # 20 G; a core of 1024 4.7 G, one of 512 1.3 G
    ],
)
def test_profiles_of_wide_networks(
    model: Model,
    channels: int,
    scale: int,
    frame: tuple[int, int, int],
    side: int,
    batch: int,
) -> None:
    card = replace(model.card, channels=(channels, 1, 1, 1, 1), input_scale=scale)
    profiles = profiles_for(card)
    assert profiles.frame == frame
    assert profiles.tile_opt == (1, side, side)
    assert profiles.tile_max == (batch, side, side)


@pytest.mark.parametrize("frame", [(0, 100), (100, -1), (100, 20000)])
def test_frames_of_no_size(model: Model, frame: tuple[int, int]) -> None:
    with pytest.raises(UsageError) as caught:
        profiles_for(model.card, frame)
    assert str(caught.value) == (
        f"frames of {frame[1]} x {frame[0]} px: expected 1 to 16384 px a side. "
        "Larger micrographs go in tiles whatever the engine was made for"
    )


@pytest.mark.parametrize(
    ("capability", "target", "gpu"),
    [
        (None, None, PORTABLE),
        ("8.9", None, PORTABLE),
        ("7.5", None, ("7.5",)),
        ("9.0", None, ("9.0",)),
        (None, "turing", ("7.5",)),
        ("8.9", "turing", ("7.5",)),
        ("7.5", "portable", PORTABLE),
    ],
)
def test_a_portable_engine(
    model: Model, capability: str | None, target: str | None, gpu: tuple[str, ...]
) -> None:
    fit = wanted(model, RTX, machine(capability), profiles_for(model.card), target)
    assert fit.gpu == gpu
    assert fit.driver is None
    assert fit.os == (LINUX, WINDOWS)
    assert (fit.onnx_sha256, fit.precision) == (model.sha256, "fp32")
    assert (fit.flavour, fit.version) == ("tensorrt-rtx", "1.7.1")


def test_a_portable_engine_is_the_same_on_both_systems(model: Model) -> None:
    profiles = profiles_for(model.card)
    one, two = (wanted(model, RTX, machine("8.6", os), profiles) for os in (LINUX, WINDOWS))
    assert one == two
    other = wanted(model, RTX, machine("8.6", "linux-aarch64"), profiles)
    assert other.os == ("linux-aarch64",)


def test_an_engine_of_one_card(model: Model) -> None:
    fit = wanted(model, TENSORRT, machine("9.0"), profiles_for(model.card))
    assert fit.gpu == Card("a card", "9.0")
    assert (fit.driver, fit.os) == ("580.65", (LINUX,))


def test_an_engine_of_one_card_without_a_card(model: Model) -> None:
    with pytest.raises(EnvironmentLacks) as caught:
        wanted(model, TENSORRT, machine(None), profiles_for(model.card))
    assert str(caught.value) == (
        "TensorRT builds on the card itself, and no NVIDIA card answers on this machine (no "
        "driver, or no card). Export where the card is, or use --engine tensorrt-rtx"
    )


def test_targets_that_are_none(model: Model) -> None:
    profiles = profiles_for(model.card)
    with pytest.raises(UsageError) as caught:
        wanted(model, RTX, machine(None), profiles, "hopper")
    assert str(caught.value) == "--target hopper: expected portable or turing"
    with pytest.raises(UsageError) as caught:
        wanted(model, TENSORRT, machine("9.0"), profiles, "turing")
    assert str(caught.value) == (
        "--target turing: TensorRT builds for the card of this machine only. Leave --target out, "
        "or use --engine tensorrt-rtx"
    )
