"""The stream of a run: read threads -> engine, in the caller's thread -> write threads.

    Reader.items --> [queue] --> Inference --> [queue] --> Writer.take
    several          bounded     batches       bounded     several
    threads                      in flight                 threads

The queues are short, and `ByteGate` bounds the bytes between reading and writing, so that a run's
memory is known before it starts. An error of one input travels through the stream as `Failed`;
what a thread raises is the end of the run and is raised here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from hptl_deploy.segmentation.clock import Clock
from hptl_deploy.segmentation.inference import Inference
from hptl_deploy.segmentation.items import Frame, Job
from hptl_deploy.segmentation.reading import Read, Reader
from hptl_deploy.segmentation.stages import Channel, Nothing, Stages
from hptl_deploy.segmentation.writing import Writer, Written

T = TypeVar("T")

_DEPTH = 32
"""Items of a queue, at most: enough small frames for a batch. Large ones are bounded in bytes."""
_MOST_THREADS = 8


def threads_per_stage() -> int:
    """How many threads read, and how many write: the engine's own come on top.

    Half of the processors each. Decoding, hashing and compressing leave Python's lock to others.
    """
    return max(1, min(_MOST_THREADS, (os.cpu_count() or 1) // 2))


class Shared(Generic[T]):
    """One iterator for several threads: each item goes to one of them."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)
        self._turn = threading.Lock()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._turn:
                try:
                    item = next(self._items)
                except StopIteration:
                    return
            yield item


def run_stream(
    jobs: Iterable[Job],
    reader: Reader,
    writer: Writer,
    inference: Inference,
    clock: Clock,
    stop: threading.Event,
) -> None:
    """Work through `jobs`. Once `stop` is set, inputs that the engine has not begun are left.

    Raises what ended the run: ResultsError when the ledger cannot be written.
    """
    shared = Shared(jobs)
    with clock.running(), Stages() as stages:
        stages.guard(reader.gate)
        frames = stages.source("read", lambda: reader.items(shared), _DEPTH, clock.threads["read"])
        solved = stages.sink("write", writer.take, _DEPTH, clock.threads["write"])

        def draw(wait: bool) -> Frame | Nothing:
            with clock.waiting():
                return _next_frame(frames, solved, stop, wait=wait)

        for item in inference.solve(draw):
            with clock.waiting():
                solved.put(item)


def _next_frame(
    frames: Channel[Read], solved: Channel[Written], stop: threading.Event, *, wait: bool
) -> Frame | Nothing:
    """The next frame for the engine; what is none goes on to the writers."""
    while not isinstance(item := frames.take(wait=wait), Nothing):
        if not isinstance(item, Frame):
            solved.put(item)
            continue
        # A mosaic goes on later where it was left; a stack of pages would begin again.
        if stop.is_set() and (item.begins or item.of.plan.band is not None):
            item.job.abandoned = True
        if not item.job.abandoned:
            return item
        item.leave()
    return item
