"""Tiles cut out of a frame, and their answers put together."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hptl_deploy.segmentation.filling import Filling
from hptl_deploy.tiling import FramePlan, Region, plan_frame


def page(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def whole(pixels: NDArray[np.uint8], plan: FramePlan) -> Filling:
    (area,) = plan.areas
    return Filling(pixels, plan, area, area)


@pytest.mark.parametrize("core", [None, (8, 8), (24, 16), (200, 8)])
@pytest.mark.parametrize("size", [(1, 1), (40, 48), (61, 45)])
def test_what_is_cut_out_comes_back(size: tuple[int, int], core: tuple[int, int] | None) -> None:
    pixels = page(*size)
    filling = whole(pixels, plan_frame(*size, stride=8, halo=16))
    pieces = filling.cut(core)
    assert filling.left == len(pieces)
    for piece in reversed(pieces):
        assert filling.left > 0
        read = piece.pixels()
        assert read.shape == (*piece.shape, 3)
        assert piece.size == piece.shape[0] * piece.shape[1]
        filling.fill(piece.tile, read[..., 0], read[..., 1])
    assert filling.left == 0
    assert np.array_equal(filling.classes, pixels[..., 0])
    assert np.array_equal(filling.confidence, pixels[..., 1])


def test_a_frame_that_is_cut_again_begins_again() -> None:
    pixels = page(64, 64)
    filling = whole(pixels, plan_frame(64, 64, stride=8, halo=8))
    (piece,) = filling.cut(None)
    for tile in (found.tile for found in filling.cut((32, 32))[:3]):
        filling.fill(
            tile, np.full(tile.read.shape, 9, np.uint8), np.zeros(tile.read.shape, np.uint8)
        )
    assert filling.left == 1
    pieces = filling.cut((16, 16))
    assert filling.left == len(pieces) == 16
    for piece in pieces:
        filling.fill(piece.tile, piece.pixels()[..., 0], piece.pixels()[..., 1])
    assert np.array_equal(filling.classes, pixels[..., 0])  # no 9 is left


def test_beyond_the_frame_its_edge_is_repeated() -> None:
    pixels = page(5, 3)
    (piece,) = whole(pixels, plan_frame(5, 3, stride=8, halo=8)).cut(None)
    assert np.array_equal(piece.pixels(), np.pad(pixels, ((0, 3), (0, 5), (0, 0)), mode="edge"))


def test_a_band_reads_its_halos_and_fills_its_own_rows() -> None:
    pixels = page(90, 40)
    plan = FramePlan(90, 40, 8, 16, (32, 16), 32)
    first, second, third = plan.areas
    assert (second, plan.rows_for(second)) == (Region(32, 64, 0, 40), Region(16, 80, 0, 40))
    for area in (first, second, third):
        rows = plan.rows_for(area)
        filling = Filling(pixels[rows.slices], plan, area, rows)
        for piece in filling.cut(None):
            read, tile = piece.pixels(), piece.tile.read
            # What a frame that lies in memory would have given.
            padded = np.pad(pixels, ((0, 6), (0, 0), (0, 0)), mode="edge")
            assert np.array_equal(read, padded[tile.slices])
            filling.fill(piece.tile, read[..., 0], read[..., 1])
        assert filling.left == 0
        assert np.array_equal(filling.classes, pixels[area.slices][..., 0])
