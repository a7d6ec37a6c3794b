"""Frames for `Inference`, engines that watch what they are given, and what is right."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hptl_deploy.engines import Engine
from hptl_deploy.engines.base import Capacity, Prediction
from hptl_deploy.micrographs.base import Calibration
from hptl_deploy.segmentation.inference import Inference
from hptl_deploy.segmentation.inputs.listing import Listed
from hptl_deploy.segmentation.items import Failed, Frame, Job, PageOf, Solved
from hptl_deploy.segmentation.stages import ByteGate, Nothing
from hptl_deploy.tiling import plan_frame

MARK = (7, 77, 177)
"""The upper left pixel of a frame that an engine is to fail on."""


class Watched(Engine):
    """Another engine's answers; every batch is shown to `look` first, which may raise."""

    def __init__(
        self, inner: Engine, look: Callable[[NDArray[np.uint8]], None] | None = None
    ) -> None:
        super().__init__(inner.model, inner.info)
        self._inner, self._look = inner, look
        self.given: list[tuple[int, ...]] = []
        """(N, H, W) of every batch, in order."""
        self.most: Callable[[int, int], int] | None = None
        """In place of the engine's own `Capacity.most`."""

    @property
    def capacity(self) -> Capacity:
        own = self._inner.capacity
        return own if self.most is None else replace(own, most=self.most)

    def _infer(self, batch: NDArray[np.uint8]) -> Prediction:
        self.given.append(batch.shape[:3])
        if self._look is not None:
            self._look(batch)
        return self._inner.infer(batch)


def marked(batch: NDArray[np.uint8]) -> bool:
    """Whether a frame in it is one to fail on."""
    return bool((batch[:, 0, 0] == MARK).all(axis=-1).any())


def noise(height: int, width: int, seed: int, *, mark: bool = False) -> NDArray[np.uint8]:
    """uint8 [H, W, 3]."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    pixels[0, 0] = MARK if mark else (1, 2, 3)
    return pixels


def frame_of(
    pixels: NDArray[np.uint8],
    engine: Engine,
    name: str,
    *,
    tile: int | None = None,
    gate: ByteGate | None = None,
    held: int = 1,
) -> Frame:
    """A page of its own file, which has entered `gate`, or one where everything has room."""
    if gate is None:
        gate = ByteGate(1 << 40)
        gate.enter(held)
    height, width, _ = pixels.shape
    card = engine.model.card
    plan = plan_frame(height, width, stride=card.stride, halo=card.halo, tile=tile)
    job = Job(Listed(Path(name), name), name)
    of = PageOf(job, 1, 1, plan, Calibration(None, "none"))
    (area,) = plan.areas
    return Frame(of, area, area, pixels, gate, held)


class Source:
    """`draw` for `Inference`: frames, pauses (None), and at last the end or an error."""

    def __init__(self, items: Iterable[Frame | None], error: Exception | None = None) -> None:
        self._items = deque(items)
        self._error = error
        self.waited = 0
        """How often it was asked to wait."""

    def __call__(self, wait: bool) -> Frame | Nothing:
        self.waited += wait
        while self._items:
            item = self._items.popleft()
            if item is not None:
                return item
            if not wait:
                return Nothing.NOTHING_YET
        if self._error is not None:
            raise self._error
        return Nothing.ENDED


def solved(inference: Inference, draw: Callable[[bool], Frame | Nothing]) -> list[Solved | Failed]:
    """All that comes of it; solved frames leave their gates, as behind the writer."""
    found = []
    for item in inference.solve(draw):
        found.append(item)
        if isinstance(item, Solved):
            item.frame.leave()
    return found


def check_right(item: Solved, reference: Engine) -> None:
    """The maps are what another engine says of the whole frame, filled up by numpy."""
    pixels, card = item.frame.pixels, reference.model.card
    height, width, _ = pixels.shape
    below, right = -height % card.stride, -width % card.stride
    padded = np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="edge")
    answer = reference.infer(padded[None])
    assert np.array_equal(item.classes, answer.classes[0, :height, :width])
    assert np.array_equal(item.confidence, answer.confidence[0, :height, :width])


def names(items: list[Solved | Failed]) -> list[str]:
    return [
        (item.frame.job if isinstance(item, Solved) else item.job).listed.relative for item in items
    ]


def check(items: list[Solved | Failed], reference: Engine, failed: dict[str, str]) -> None:
    """Everything is solved and right, but for `failed`, the reasons by name."""
    reasons = {item.job.listed.relative: item.reason for item in items if isinstance(item, Failed)}
    assert reasons == failed
    assert len(names(items)) == len(set(names(items)))
    for item in items:
        if isinstance(item, Solved):
            check_right(item, reference)
