"""What a run's stages spend their time on, and which of them holds the others up."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

STAGES = {"read": "reading", "infer": "the engine", "write": "writing"}
"""The stages of a run, and what they are called on the screen."""


class Clock:
    """Seconds that each stage was at work, pixels that are done, and what follows from both.

    Reading and writing say when they work; inference, which is one thread's whole business, when
    it waits.
    """

    def __init__(self, threads: Mapping[str, int] | None = None) -> None:
        """`threads` of each stage; one where it is not said."""
        self.threads = dict.fromkeys(STAGES, 1) | dict(threads or {})
        self._lock = threading.Lock()
        self._busy: dict[str, float] = defaultdict(float)
        self._idle = 0.0
        self._begun: float | None = None
        self._ended: float | None = None
        self._pages = 0
        self._pixels = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """The block is the run; inference is at work in it but for its `waiting`."""
        self._begun = time.perf_counter()
        try:
            yield
        finally:
            self._ended = time.perf_counter()

    @contextmanager
    def busy(self, stage: str) -> Iterator[None]:
        """Count the block for `stage`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._busy[stage] += time.perf_counter() - start

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Inference waits for frames, or for room behind it."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._idle += time.perf_counter() - start

    def done(self, pixels: int, *, pages: int = 0) -> None:
        """So many more pixels, and pages, are written."""
        with self._lock:
            self._pixels += pixels
            self._pages += pages

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, until it ended."""
        if self._begun is None:
            return 0.0
        return (self._ended or time.perf_counter()) - self._begun

    def seconds(self) -> dict[str, float]:
        """At work, by stage, over all threads of it, to the millisecond."""
        with self._lock:
            infer = max(0.0, self.elapsed - self._idle)
            spent = {"read": self._busy["read"], "infer": infer, "write": self._busy["write"]}
        return {stage: round(value, 3) for stage, value in spent.items()}

    def bottleneck(self) -> str | None:
        """The stage whose threads were at work for the largest share of the time.

        None before anything is done.
        """
        if not self._pixels:
            return None
        shares = {stage: spent / self.threads[stage] for stage, spent in self.seconds().items()}
        return max(shares, key=lambda stage: shares[stage])

    def megapixels_per_second(self) -> float | None:
        """Of what was written; None before anything is done."""
        elapsed = self.elapsed
        return self._pixels / 1e6 / elapsed if self._pixels and elapsed else None

    def describe(self) -> str:
        """`3.21 Mpx/s, the engine is the slowest`; empty before anything is done."""
        rate, slowest = self.megapixels_per_second(), self.bottleneck()
        if rate is None or slowest is None:
            return ""
        return f"{rate:.2f} Mpx/s, {STAGES[slowest]} is the slowest"

    def to_json(self) -> dict[str, Any]:
        """The form stored in run.json."""
        elapsed, rate = self.elapsed, self.megapixels_per_second()
        return {
            "seconds": round(elapsed, 3),
            "pages": self._pages,
            "megapixels": round(self._pixels / 1e6, 3),
            "pages_per_second": round(self._pages / elapsed, 4) if elapsed else None,
            "megapixels_per_second": None if rate is None else round(rate, 4),
            "bottleneck": self.bottleneck(),
            "threads": self.threads,
        }
