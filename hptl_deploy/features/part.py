"""Which part of a micrograph is shown, and what has to be read so that its maps are right.

As in `hptl_deploy.tiling`: the part begins on the stride's grid and is read with the model's halo
round it, so that its maps are those of the whole frame.

      +--------------------------+
      |      +------------+      |
      |      |  read      |      |
      |      |   +----+   |      |      part: about `LARGEST` px, in the middle or round a pixel
      |      |   |part|   |      |
      |      |   +----+   |      |
      |      +------------+      |
      +--------------------------+ frame, filled up to the stride
"""

from __future__ import annotations

from collections.abc import Sequence

from hptl_deploy.errors import MicrographError, UsageError
from hptl_deploy.features.layers import Layer
from hptl_deploy.model import ModelCard
from hptl_deploy.segmentation.memory import gib
from hptl_deploy.tiling import FramePlan, Tile

LARGEST = 512
"""Rows and columns of the part, at most; micrograph pixels."""


def plan_part(
    height: int,
    width: int,
    card: ModelCard,
    layers: Sequence[Layer],
    at: tuple[int, int] | None,
    budget: float,
) -> Tile:
    """The part of a frame of `height` x `width` pixels that is shown (`write`), and its `read`.

    `at` is the (x, y) it lies round, as far as the border allows; the middle without one. Where
    the maps of `LARGEST` pixels need more than `budget` bytes, the part is smaller.

    Raises UsageError when `at` lies outside the frame, MicrographError when not even the
    smallest part fits the budget.
    """
    if at is not None and not (0 <= at[0] < width and 0 <= at[1] < height):
        raise UsageError(
            f"--at {at[0]},{at[1]}: lies outside the micrograph of {width} x {height} px; expected "
            f"X from 0 to {width - 1} and Y from 0 to {height - 1}"
        )
    x, y = at or (width // 2, height // 2)
    plan = FramePlan(height, width, card.stride, card.halo, None)
    each = bytes_per_pixel(card, layers)
    for side in range(max(LARGEST // card.stride, 1) * card.stride, 0, -card.stride):
        tile = _tile(plan, side, x, y)
        need = tile.read.height * tile.read.width * each
        if need <= budget:
            return tile
    raise MicrographError(
        f"the maps of {side} x {side} px and a halo of {card.halo} px need {gib(need)}, but "
        f"{gib(budget)} are planned",
        hint="Close other programs or use a narrower model",
    )


def bytes_per_pixel(card: ModelCard, layers: Sequence[Layer]) -> float:
    """Memory per micrograph pixel that is read, at most.

    What the whole model takes, and the maps (float32), which stay until all are done.
    """
    maps = sum(4 * layer.channels / layer.pitch(card.input_scale) ** 2 for layer in layers)
    return card.bytes_per_pixel_here() + float(maps)


def _tile(plan: FramePlan, side: int, x: int, y: int) -> Tile:
    """The part of `side` pixels round (x, y), and its halo, both clipped to the frame."""
    top, left = _start(plan, plan.height, side, y), _start(plan, plan.width, side, x)
    return plan.tile_at(top, left, side, side)


def _start(plan: FramePlan, length: int, side: int, centre: int) -> int:
    """Where a part round pixel `centre` begins along one axis; on the stride's grid."""
    stride = plan.stride
    # From the last start on, the part reaches the border; it may then be a little shorter.
    last = -(-max(0, length - side) // stride) * stride
    nearest = (2 * centre - side + stride) // (2 * stride) * stride
    return min(max(0, nearest), last)
