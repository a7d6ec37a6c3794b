"""Tiled against whole, through the pieces that `segment` uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.engines import Engine
from hptl_deploy.tiling import FramePlan, plan_frame, read_padded, regions_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


def classes_of(engine: Engine, pixels: NDArray[np.uint8], plan: FramePlan) -> NDArray[np.uint8]:
    """The class map [H, W] of a frame [H, W, 3] by a plan."""
    classes = np.full(pixels.shape[:2], 255, np.uint8)
    for tile in plan.tiles():
        part = read_padded(regions_of(pixels), tile.read, plan.height, plan.width)
        found = engine.infer(part[None]).classes[0]
        classes[tile.write.slices] = found[tile.keep.slices]
    return classes


def disagreement(
    engine: Engine, pixels: NDArray[np.uint8], core: int
) -> tuple[float, NDArray[np.uint8]]:
    """(share of pixels where tiles of `core` differ from the whole, the whole's class map)."""
    height, width, _ = pixels.shape
    card = engine.model.card
    # The whole is padded here by numpy, not by the code under test.
    below, right = -height % card.stride, -width % card.stride
    padded = np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="edge")
    whole = engine.infer(padded[None]).classes[0, :height, :width]
    plan = plan_frame(height, width, stride=card.stride, halo=card.halo, tile=core)
    return float(np.mean(classes_of(engine, pixels, plan) != whole)), whole
