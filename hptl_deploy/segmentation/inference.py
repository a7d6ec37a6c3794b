"""The infer stage: frames become tiles, tiles batches, and the answers maps.

    frames --> tiles that wait --> batches --> Engine.stream --> answers --> maps
               (of any frames)     of one shape  some in flight

One stream goes on over all frames of a run: while the engine computes one batch, the next is put
together, from the same frame or from another. Small frames share a batch where several have been
read; nothing waits for one that has not.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.engines.base import Engine, Prediction
from hptl_deploy.errors import OutOfDeviceMemory, UsageError
from hptl_deploy.segmentation.filling import Filling, Piece
from hptl_deploy.segmentation.items import Failed, Frame, Solved, reason
from hptl_deploy.segmentation.mosaics.banding import largest_core
from hptl_deploy.segmentation.stages import Cancelled, Nothing
from hptl_deploy.tiling import FramePlan, Region, plan_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

Draw = Callable[[bool], Frame | Nothing]
"""The next frame; waits for one where the argument is True. As `Channel.take`."""

_IN_FLIGHT = 4
"""Batches under way at once, at most: an engine takes as many as it has room for."""


class Inference:
    """One engine's work on the frames of a run.

    Where its device has no room for a batch, later ones are smaller, and frames are cut into
    smaller tiles; the class maps stay what they were.
    """

    def __init__(
        self, engine: Engine, note: Callable[[str], None], most_bytes: float = math.inf
    ) -> None:
        """`note` is told when tiles shrink; a batch of several may take `most_bytes`, as planned.

        Where memory is the processor's own, running out of it means being killed.
        """
        self._engine, self._note = engine, note
        self._capacity = engine.capacity
        self._most_of_one: int | None = None
        """Pixels that a tile may have, once the device has run out of memory for one."""
        self._most_together = most_bytes / max(self._capacity.bytes_per_pixel, 1e-9)
        """Pixels that several may have together, as planned or likewise."""
        self._frames: dict[Filling, Frame] = {}
        """Those that are neither solved nor failed."""
        self._waiting: deque[Piece] = deque()
        self._flying: deque[list[Piece]] = deque()
        """What the batches under way are made of, the oldest first."""
        self._settled: deque[Solved | Failed] = deque()
        self._ended = False
        self._broken: Exception | None = None
        """What drawing a frame raised: the end of the run, behind the frames before it."""

    def solve(self, draw: Draw) -> Iterator[Solved | Failed]:
        """Every frame that `draw` gives, solved or failed, nearly in order.

        Raises what `draw` raises, behind the frames before it.
        """
        while not self._ended or self._waiting:
            answers = self._engine.stream(self._batches(draw), _IN_FLIGHT)
            try:
                for answer in answers:
                    self._take(answer)
                    yield from self._emptied()
            except Exception as exc:
                self._recover(exc)
            yield from self._emptied()
        if self._broken is not None:
            raise self._broken

    def _emptied(self) -> Iterator[Solved | Failed]:
        while self._settled:
            yield self._settled.popleft()

    def _batches(self, draw: Draw) -> Iterator[NDArray[np.uint8] | None]:
        """What the engine is given; ends when nothing is left to give, or something failed."""
        while True:
            self._draw_enough(draw)
            if self._waiting:
                batch = self._next_batch()
                if batch is not None:
                    yield batch
            elif self._flying:
                yield None
            elif self._settled or self._ended:
                return

    def _draw_enough(self, draw: Draw) -> None:
        """Frames until a batch is full or none is there; waits only where nothing else is due."""
        while not self._ended:
            if self._waiting and len(self._waiting) >= self._room(self._waiting[0]):
                return
            try:
                frame = draw(not (self._waiting or self._flying or self._settled))
            except Cancelled:
                raise  # nobody takes what would still be solved
            except Exception as exc:
                self._broken, self._ended = exc, True
                return
            if isinstance(frame, Nothing):
                self._ended = frame is Nothing.ENDED
                return
            self._begin(frame)

    def _begin(self, frame: Frame) -> None:
        core, seen = None, frame.seen
        if self._most_of_one is not None and _pixels(seen.plan) > self._most_of_one:
            core = self._smaller_core(seen.plan, self._most_of_one)
        try:
            filling = Filling(seen.pixels, seen.plan, seen.area, seen.rows)
            pieces = filling.cut(core)
        except MemoryError as exc:
            self._give_up(frame, exc)
            return
        self._frames[filling] = frame
        self._waiting.extend(pieces)

    def _room(self, piece: Piece) -> int:
        """How many pieces of this one's shape go into a batch."""
        if piece.alone:
            return 1
        rows, columns = piece.shape
        most = min(self._capacity.most(rows, columns), self._most_together / (rows * columns))
        return max(1, int(most))

    def _next_batch(self) -> NDArray[np.uint8] | None:
        """The first piece that waits and others of its shape; None where they cannot be had."""
        first = self._waiting[0]
        room = self._room(first)
        chosen = [first]
        if room > 1:
            alike = (p for p in self._waiting if p.shape == first.shape and not p.alone)
            chosen = [piece for _, piece in zip(range(room), alike, strict=False)]
        taken = set(map(id, chosen))
        self._waiting = deque(piece for piece in self._waiting if id(piece) not in taken)
        try:
            parts = [piece.pixels() for piece in chosen]
            # [rows, columns, 3] each -> [N, rows, columns, 3]
            batch = parts[0][None] if len(parts) == 1 else np.stack(parts)
        except Exception as exc:
            self._blame(chosen, exc)
            return None
        self._flying.append(chosen)
        return batch

    def _take(self, answer: Prediction) -> None:
        """Copy an answer into its frames' maps: its arrays may be the engine's own."""
        for number, piece in enumerate(self._flying.popleft()):
            filling = piece.filling
            if filling not in self._frames:
                continue  # another of its tiles has failed
            filling.fill(piece.tile, answer.classes[number], answer.confidence[number])
            if filling.left == 0:
                frame = self._frames.pop(filling)
                self._settled.append(Solved(frame, filling.classes, filling.confidence))

    def _recover(self, error: Exception) -> None:
        """A batch failed: what was under way behind it goes again, itself if it may go through."""
        if not self._flying:
            raise error
        pieces = self._flying.popleft()
        for others in reversed(self._flying):
            self._again(others)
        self._flying.clear()
        if isinstance(error, OutOfDeviceMemory):
            self._shrink(pieces, error)
        else:
            self._blame(pieces, error)

    def _blame(self, pieces: list[Piece], error: Exception) -> None:
        """One piece has failed; of several any may be to blame, and the others are not."""
        if len(pieces) > 1:
            self._again(pieces, alone=True)
        else:
            self._fail(pieces[0].filling, error)

    def _again(self, pieces: list[Piece], *, alone: bool = False) -> None:
        """Before all others, unless their frames have failed meanwhile."""
        for piece in reversed(pieces):
            piece.alone = piece.alone or alone
            if piece.filling in self._frames:
                self._waiting.appendleft(piece)

    def _shrink(self, pieces: list[Piece], error: OutOfDeviceMemory) -> None:
        tried = sum(piece.size for piece in pieces)
        if len(pieces) > 1:
            self._most_together = tried // 2
            self._note(f"{error.message}; going on with at most {len(pieces) // 2} at a time")
            self._again(pieces)
            return
        self._again(pieces)
        largest = self._cut_again(pieces[0].filling, tried, error)
        if largest is not None:
            rows, columns = largest
            self._most_of_one = self._most_together = rows * columns
            self._note(
                f"{error.message}; going on in tiles of at most {rows} x {columns} px with their "
                "halos"
            )

    def _cut_again(
        self, refused: Filling, tried: int, error: OutOfDeviceMemory
    ) -> tuple[int, int] | None:
        """Cut every frame with a tile of more than half of the `tried` pixels into smaller ones.

        Where halves are too small for its halos, as small as can be. Returns the largest (rows,
        columns) among these. Where the one that was `refused` cannot be cut it has failed; another
        one may still go through as it is.
        """
        largest: dict[Filling, int] = {}
        for piece in self._waiting:
            largest[piece.filling] = max(piece.size, largest.get(piece.filling, 0))
        smaller: dict[Filling, list[Piece]] = {}
        for filling, size in largest.items():
            if size <= tried // 2:
                continue
            core = self._smaller_core(filling.plan, tried // 2)
            core = core or self._smaller_core(filling.plan, min(tried, size) - 1)
            if core is not None:
                smaller[filling] = filling.cut(core)
            elif filling is refused:
                self._fail(filling, error)
        kept = [piece for piece in self._waiting if piece.filling not in smaller]
        again = [piece for pieces in smaller.values() for piece in pieces]
        self._waiting = deque(again + kept)
        return max((p.shape for p in again), key=math.prod, default=None)

    def _smaller_core(self, plan: FramePlan, most: int) -> tuple[int, int] | None:
        """Of tiles of at most `most` pixels; None where there are none so small."""
        if plan.band is not None:
            return largest_core(plan, most, self._capacity)
        try:
            return plan_frame(
                plan.height,
                plan.width,
                stride=plan.stride,
                halo=plan.halo,
                bytes_per_pixel=1.0,
                budget_bytes=most,
                takes=self._capacity.takes,
            ).core
        except UsageError:
            return None

    def _drop(self, filling: Filling) -> None:
        """Nothing of this frame waits any more."""
        self._waiting = deque(piece for piece in self._waiting if piece.filling is not filling)

    def _fail(self, filling: Filling, error: Exception) -> None:
        frame = self._frames.pop(filling, None)
        if frame is not None:
            self._drop(filling)
            self._give_up(frame, error)

    def _give_up(self, frame: Frame, error: Exception) -> None:
        # Whatever a backend raises on one micrograph, the next may go through.
        frame.leave()
        self._settled.append(Failed(frame.job, "infer", reason(error)))


def _pixels(plan: FramePlan) -> int:
    """Of the largest tile that is read."""
    rows, columns = plan.largest_read
    return rows * columns


def classify(
    engine: Engine, pixels: NDArray[np.uint8], plan: FramePlan
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(class indices, confidence), uint8 [H, W] each, of `pixels` uint8 [H, W, 3] by `plan`.

    What `Inference` does with one frame, for those who have one in memory. Raises EngineError.
    """
    whole = Region(0, plan.height, 0, plan.width)
    filling = Filling(pixels, plan, whole, whole)
    pieces = filling.cut(None)

    def batches() -> Iterable[NDArray[np.uint8]]:
        return (piece.pixels()[None] for piece in pieces)

    # Each answer is copied out before the next is asked for, so it does not matter who
    # owns its buffer.
    for piece, answer in zip(pieces, engine.stream(batches()), strict=True):
        filling.fill(piece.tile, answer.classes[0], answer.confidence[0])
    return filling.classes, filling.confidence
