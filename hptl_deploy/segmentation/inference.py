"""The infer stage: a frame's tiles through the engine, and back into one map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.engines.base import Engine
from hptl_deploy.segmentation.items import Frame, Solved
from hptl_deploy.tiling import FramePlan, read_padded, regions_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


def infer(engine: Engine, frame: Frame) -> Solved:
    """Classify one frame, whole or in tiles as planned. Raises EngineError."""
    return Solved(frame, *classify(engine, frame.pixels, frame.plan))


def classify(
    engine: Engine, pixels: NDArray[np.uint8], plan: FramePlan
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(class indices, confidence), uint8 [H, W] each, of `pixels` uint8 [H, W, 3] by `plan`.

    Raises EngineError.
    """
    shape = (plan.height, plan.width)
    classes, confidence = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
    tiles = list(plan.tiles())

    def batches() -> Iterator[NDArray[np.uint8]]:
        for tile in tiles:
            part = read_padded(regions_of(pixels), tile.read, plan.height, plan.width)
            yield part[None]  # [rows, columns, 3] -> [1, rows, columns, 3]

    # Each answer is copied out before the next is asked for, so it does not matter who
    # owns its buffer.
    for tile, answer in zip(tiles, engine.stream(batches()), strict=True):
        classes[tile.write.slices] = answer.classes[0][tile.keep.slices]
        confidence[tile.write.slices] = answer.confidence[0][tile.keep.slices]
    return classes, confidence
