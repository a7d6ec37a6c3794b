"""Batches on their way over a card, several at once.

    submit   pinned input --copy in--> device input --network--> device output --copy out--> pinned
    take     waits for the end of that, and shows the pinned output
    release  the slot is free for another batch

A slot has buffers, a stream and events of its own, so the copies of one batch run while
another computes. A slot is reused only when its answer has been released. All memory of the
ring is taken when it is opened, for the largest batch.

An error while a batch is queued (no memory for the network, a call that is refused) is that
batch's own: its slot is free again once what was queued before it is done. An error that the
card reports later means that nothing on it can be trusted: the ring is closed, and says why.
"""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hptl_deploy.closing import Closes
from hptl_deploy.engines.base import Prediction
from hptl_deploy.engines.memory.base import ALIGNMENT, DeviceBuffer, Memory, PinnedBuffer, Stream
from hptl_deploy.engines.record import Shape
from hptl_deploy.errors import DeviceError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Times:
    """Where one batch's time on the card went, in milliseconds."""

    copy_in: float
    compute: float
    """With what it waited for the batch before it."""
    copy_out: float


class Slot:
    """What one batch needs: buffers, a stream, events."""

    def __init__(self, number: int, memory: Memory, most_pixels: int, opening: ExitStack) -> None:
        """Take everything through `opening`, which gives it back."""
        self.number = number
        self.shape: Shape = (0, 0, 0)
        """Of the batch in it."""
        into, out = 3 * most_pixels, _aligned(most_pixels) + most_pixels
        self.pinned_input: PinnedBuffer = opening.enter_context(memory.pinned(into))
        self.pinned_output: PinnedBuffer = opening.enter_context(memory.pinned(out))
        self.input: DeviceBuffer = opening.enter_context(memory.device_buffer(into))
        """uint8 [N, H, W, 3]."""
        self.output: DeviceBuffer = opening.enter_context(memory.device_buffer(out))
        """uint8 [N, H, W] twice: the classes, and the confidence at `confidence_offset`."""
        self.stream: Stream = opening.enter_context(memory.stream())
        self.begun, self.arrived, self.computed, self.done = (
            opening.enter_context(memory.event()) for _ in range(4)
        )
        self.times: Times | None = None
        """Of the batch that was last taken."""

    @property
    def pixels(self) -> int:
        """N x H x W of the batch in it."""
        count, height, width = self.shape
        return count * height * width

    @property
    def confidence_offset(self) -> int:
        """Bytes from the start of the output to the confidence."""
        return _aligned(self.pixels)

    def wait(self) -> None:
        """Until its batch is done, which is then timed. Raises DeviceError."""
        self.done.synchronize()
        self.times = Times(
            self.arrived.milliseconds_since(self.begun),
            self.computed.milliseconds_since(self.arrived),
            self.done.milliseconds_since(self.computed),
        )


class Executor(Protocol):
    """The network, as something that is queued on a stream."""

    def enqueue(self, slot: Slot, stream: Stream) -> None:
        """Queue the network's work on the slot's device buffers, behind the copy in.

        Raises OutOfDeviceMemory and EngineError; then nothing of it runs later.
        """


class Ring(Closes):
    """`size` slots for batches of at most `most_pixels` (N x H x W). Used by one thread at a time.

    Raises OutOfDeviceMemory and DeviceError, and then holds nothing.
    """

    def __init__(self, memory: Memory, executor: Executor, *, size: int, most_pixels: int) -> None:
        self._memory = memory
        self._executor = executor
        self._closed = False
        self._lost: DeviceError | None = None
        with memory.active(), ExitStack() as opening:
            slots = [Slot(number, memory, most_pixels, opening) for number in range(size)]
            self._held = opening.pop_all()
        self._slots = slots
        self._free = deque(slots)

    @property
    def size(self) -> int:
        """Slots."""
        return len(self._slots)

    @property
    def lost(self) -> bool:
        """Whether the card has failed; what is given back to it may be refused then."""
        return self._lost is not None

    def submit(self, batch: NDArray[np.uint8]) -> Slot:
        """Queue a batch, uint8 [N, H, W, 3] of any strides, which may then be changed.

        Raises DeviceError where no slot is free, where the ring is closed, and where queueing
        fails; OutOfDeviceMemory and EngineError as the executor does.
        """
        self._check_open()
        if not self._free:
            raise DeviceError(f"all {self.size} slots of the ring are taken")
        slot = self._free.popleft()
        with self._memory.active():
            try:
                self._queue(slot, batch)
            except BaseException:
                self._settle(slot)
                raise
        return slot

    def take(self, slot: Slot) -> Prediction:
        """The slot's answer, in the ring's own memory: valid until the slot is released.

        Waits for it. Raises DeviceError when the card failed; the ring is closed then.
        """
        self._check_open()
        with self._memory.active():
            try:
                slot.wait()
            except DeviceError as exc:
                self._lose(exc)
                raise
            except BaseException:  # Ctrl-C
                self._settle(slot)
                raise
        classes = slot.pinned_output.array[: slot.pixels].reshape(slot.shape)
        start = slot.confidence_offset
        confidence = slot.pinned_output.array[start : start + slot.pixels].reshape(slot.shape)
        for array in (classes, confidence):
            array.flags.writeable = False  # the ring's, not the caller's
        return Prediction(classes, confidence)

    def release(self, slot: Slot) -> None:
        """The answer of a slot that was taken is not needed any more."""
        if not self._closed:
            self._free.append(slot)

    def abandon(self, slot: Slot) -> None:
        """Nobody wants the answer of a slot that was submitted; waits until its work is done."""
        if not self._closed:
            with self._memory.active():
                self._settle(slot)

    def close(self) -> None:
        """Wait for what is under way and free everything; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        with self._memory.active():
            for slot in self._slots:
                try:
                    slot.stream.synchronize()
                except DeviceError as exc:
                    self._lost = self._lost or exc
            try:
                self._held.close()
            except DeviceError:
                # A card that failed refuses this, too; what failed has been said.
                if self._lost is None:
                    raise

    def _queue(self, slot: Slot, batch: NDArray[np.uint8]) -> None:
        count, height, width, _ = batch.shape
        slot.shape = (count, height, width)
        stream, room = slot.stream, slot.pinned_input.array[: batch.size]
        np.copyto(room.reshape(batch.shape), batch)
        stream.record(slot.begun)
        stream.copy_in(slot.input, slot.pinned_input, batch.size)
        stream.record(slot.arrived)
        self._executor.enqueue(slot, stream)
        stream.record(slot.computed)
        # Both answers in one copy; the gap between them is less than ALIGNMENT bytes.
        stream.copy_out(slot.pinned_output, slot.output, slot.confidence_offset + slot.pixels)
        stream.record(slot.done)

    def _settle(self, slot: Slot) -> None:
        """Free the slot when nothing of what was queued can touch its buffers any more."""
        try:
            slot.stream.synchronize()
        except DeviceError as exc:
            self._lose(exc)
        else:
            self._free.append(slot)

    def _lose(self, cause: DeviceError) -> None:
        self._lost = cause
        self.close()

    def _check_open(self) -> None:
        if self._lost is not None:
            raise DeviceError(f"given up after an earlier error: {self._lost.message}")
        if self._closed:
            raise DeviceError("the ring has been closed")


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
