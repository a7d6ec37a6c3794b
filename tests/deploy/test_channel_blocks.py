"""How much memory a narrow model takes where ONNX Runtime keeps more channels together."""

from __future__ import annotations

import platform
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hptl_deploy import channel_blocks
from hptl_deploy.channel_blocks import NARROW, WIDE, channel_block, growth
from hptl_deploy.model import ModelCard, load_model
from support.threshold_model import write_threshold_model


@pytest.mark.parametrize(
    ("channels", "measured", "here", "factor"),
    [
        ((8, 24, 64), NARROW, WIDE, 2.0),  # 8 -> 16, 24 -> 32, 64 -> 64
        ((24, 64), NARROW, WIDE, 32 / 24),
        ((64, 128, 4096), NARROW, WIDE, 1.0),
        ((3, 5), NARROW, WIDE, 2.0),
        ((8, 24), WIDE, WIDE, 1.0),
        ((8, 24), WIDE, NARROW, 1.0),  # less than was measured; not counted on
    ],
)
def test_the_last_block_of_a_layer_is_filled(
    channels: tuple[int, ...], measured: int, here: int, factor: float
) -> None:
    assert growth(channels, measured, here) == factor


@pytest.mark.parametrize(
    ("found", "block"), [({"AVX512F": False}, 8), ({"AVX512F": True}, 16), ({}, 16)]
)
def test_what_numpy_found(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, bool], block: int
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(channel_blocks, "numpy_features", lambda: found)
    channel_block.cache_clear()
    assert channel_block() == block
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    channel_block.cache_clear()
    assert channel_block() == WIDE
    channel_block.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's list of the processor")
def test_linux_says_the_same_of_this_machine() -> None:
    words = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    narrow = "avx512f" not in words and platform.machine() == "x86_64"
    assert channel_block() == (NARROW if narrow else WIDE)


def test_a_card_says_what_this_machine_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hptl_deploy.model.channel_block", lambda: WIDE)
    card = replace(
        load_model(write_threshold_model(tmp_path)).card,
        channels=(8, 24, 64, 64, 64), fc=256, bytes_per_pixel=462.0, channel_block=NARROW,
    )  # fmt: skip
    assert card.bytes_per_pixel_here() == 924
    assert replace(card, channel_block=WIDE).bytes_per_pixel_here() == 462
    assert replace(card, precision="int8").bytes_per_pixel_here() == 462
    again = ModelCard.from_json(replace(card, channel_block=WIDE).to_json(), "m")
    assert again.channel_block == WIDE
    assert ModelCard.from_json(card.to_json(), "m").channel_block == NARROW
