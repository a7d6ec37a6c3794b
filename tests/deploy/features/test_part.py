from __future__ import annotations

import math
from dataclasses import replace

import pytest

from hptl_deploy.channel_blocks import WIDE
from hptl_deploy.errors import MicrographError, UsageError
from hptl_deploy.features.layers import Layer
from hptl_deploy.features.part import bytes_per_pixel, plan_part
from hptl_deploy.model import Model, ModelCard
from hptl_deploy.tiling import Tile

LAYERS = [Layer("conv1_2", 1, 8, "a"), Layer("conv5_4", 5, 64, "b")]


@pytest.fixture
def card(model: Model) -> ModelCard:
    """Stride 16, halo 144, input scale 2."""
    return model.card


def plan(
    card: ModelCard,
    height: int,
    width: int,
    at: tuple[int, int] | None = None,
    budget: float = math.inf,
) -> Tile:
    return plan_part(height, width, card, LAYERS, at, budget)


def test_the_middle_of_a_large_frame(card: ModelCard) -> None:
    tile = plan(card, 960, 1280)
    assert (tile.write.y0, tile.write.y1) == (224, 736)  # (960 - 512) / 2 = 14 x 16
    assert (tile.write.x0, tile.write.x1) == (384, 896)
    assert (tile.read.y0, tile.read.y1) == (224 - 144, 736 + 144)
    assert (tile.read.x0, tile.read.x1) == (384 - 144, 896 + 144)


@pytest.mark.parametrize("shape", [(960, 1280), (513, 700), (1003, 519), (37, 2000), (9, 5)])
def test_every_pixel_can_be_looked_at(card: ModelCard, shape: tuple[int, int]) -> None:
    height, width = shape
    for y in {*range(0, height, 31), height - 1}:
        for x in {*range(0, width, 97), width - 1}:
            tile = plan(card, height, width, (x, y))
            for start, end, read, read_end, place, length in (
                (tile.write.y0, tile.write.y1, tile.read.y0, tile.read.y1, y, height),
                (tile.write.x0, tile.write.x1, tile.read.x0, tile.read.x1, x, width),
            ):
                assert 0 <= start <= place < end <= length
                assert start % 16 == read % 16 == read_end % 16 == 0
                assert min(length, 512 - 15) <= end - start <= 512
                # All of the halo, but where the frame ends.
                assert read == max(0, start - 144)
                assert read_end == min(length + -length % 16, start + 512 + 144)
                # In the middle, to half a stride, where no border is near.
                if 256 <= place <= length - 256 - 16:
                    assert abs((start + end) / 2 - place) <= 8


def test_a_small_picture_is_shown_whole(card: ModelCard) -> None:
    tile = plan(card, 9, 5)
    assert (tile.write.shape, tile.read.shape) == ((9, 5), (16, 16))


@pytest.mark.parametrize("at", [(1280, 0), (0, 960), (-1, 5), (5, -1)])
def test_a_place_outside(card: ModelCard, at: tuple[int, int]) -> None:
    with pytest.raises(UsageError) as caught:
        plan(card, 960, 1280, at)
    assert str(caught.value) == (
        f"--at {at[0]},{at[1]}: lies outside the micrograph of 1280 x 960 px; expected X from 0 to "
        "1279 and Y from 0 to 959"
    )


def test_memory_per_pixel_counts_the_maps_that_stay(card: ModelCard) -> None:
    # At scale 2, conv1 has four map pixels per pixel, conv5 one per 8 x 8; float32.
    assert bytes_per_pixel(card, LAYERS) == card.bytes_per_pixel_here() + 4 * (8 * 4 + 64 / 64)


def test_little_memory_makes_the_part_smaller(card: ModelCard) -> None:
    each = bytes_per_pixel(card, LAYERS)
    tile = plan(card, 4000, 4000, budget=(2 * 144 + 100) ** 2 * each)
    assert tile.write.shape == (96, 96)  # the largest multiple of 16 up to 100
    assert tile.read.shape == (96 + 2 * 144, 96 + 2 * 144)


def test_too_little_memory(card: ModelCard) -> None:
    card = replace(card, bytes_per_pixel=2**20, channel_block=WIDE)
    with pytest.raises(MicrographError) as caught:
        plan(card, 4000, 4000, budget=2**20)
    # 304 x 304 pixels of one MiB and their maps
    assert str(caught.value).startswith(
        "the maps of 16 x 16 px and a halo of 144 px need 90.3 GiB, but 1 MiB are planned. Close"
    )
