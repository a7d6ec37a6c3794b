"""Tiled against whole, through the pieces that `segment` uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.engines import Engine
from hptl_deploy.segmentation.inference import classify
from hptl_deploy.tiling import plan_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    return float(np.mean(classify(engine, pixels, plan)[0] != whole)), whole
