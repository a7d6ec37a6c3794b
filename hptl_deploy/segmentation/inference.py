"""The infer stage: a frame's tiles through the engine, and back into one map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.engines.base import Engine
from hptl_deploy.errors import OutOfDeviceMemory, UsageError
from hptl_deploy.segmentation.items import Frame, Solved
from hptl_deploy.tiling import FramePlan, plan_frame, read_padded, regions_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Inference:
    """One engine's work on the frames of a run.

    Where its device has no room for a frame or tile, that frame is cut into smaller tiles, and so
    is every later one; the class map stays what it was.
    """

    def __init__(self, engine: Engine, note: Callable[[str], None]) -> None:
        """`note` is told when tiles shrink."""
        self._engine, self._note = engine, note
        self._most: int | None = None
        """Pixels that a call may have, once the device has run out of memory."""

    def solve(self, frame: Frame) -> Solved:
        """Classify one frame, whole or in tiles as planned. Raises EngineError."""
        plan = frame.plan
        if self._most is not None and _pixels(plan) > self._most:
            plan = self._cut(plan, self._most) or plan
        while True:
            try:
                return Solved(frame, *classify(self._engine, frame.pixels, plan))
            except OutOfDeviceMemory as exc:
                smaller = self._cut(plan, _pixels(plan) // 2)
                if smaller is None:
                    raise
                self._most = _pixels(smaller)
                rows, columns = smaller.largest_read
                self._note(
                    f"{exc.message}; going on in tiles of at most {rows} x {columns} px with "
                    "their halos"
                )
                plan = smaller

    def _cut(self, plan: FramePlan, most: int) -> FramePlan | None:
        """The same frame in tiles of at most `most` pixels; None where there are none so small."""
        capacity = self._engine.capacity
        try:
            return plan_frame(
                plan.height,
                plan.width,
                stride=plan.stride,
                halo=plan.halo,
                bytes_per_pixel=1.0,
                budget_bytes=most,
                takes=capacity.takes,
            )
        except UsageError:
            return None


def _pixels(plan: FramePlan) -> int:
    """Of the largest tile that is read."""
    rows, columns = plan.largest_read
    return rows * columns


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
