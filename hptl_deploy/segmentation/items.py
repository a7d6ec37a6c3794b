"""What travels through the stream: read -> infer -> write."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hptl_deploy.errors import HptlError
from hptl_deploy.micrographs.base import Calibration
from hptl_deploy.segmentation.ledger import Entry
from hptl_deploy.segmentation.listing import Listed
from hptl_deploy.segmentation.stages import ByteGate
from hptl_deploy.tiling import FramePlan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass
class Job:
    """One input on its way. Written to by the read stage, except for `abandoned`."""

    listed: Listed
    base: str
    """Beginning of its results' names."""
    bytes: int = 0
    sha256: str = ""
    abandoned: bool = False
    """Set by a later stage that gave it up: its further pages are not worth reading."""


@dataclass
class Frame:
    """A page that has been read. Whoever takes it out of the stream calls `leave`, once."""

    job: Job
    page: int
    """From 1."""
    pages: int
    pixels: NDArray[np.uint8]
    """[H, W, 3], RGB."""
    plan: FramePlan
    calibration: Calibration
    gate: ByteGate
    held: int
    """Bytes of memory that are set aside for it in `gate`."""

    def leave(self) -> None:
        """Give back the memory that was set aside."""
        self.gate.leave(self.held)


@dataclass
class Solved:
    """A page with its classes."""

    frame: Frame
    classes: NDArray[np.uint8]
    """[H, W]."""
    confidence: NDArray[np.uint8]
    """[H, W], probability x 255."""


@dataclass
class Skipped:
    """An input that an earlier run has done."""

    job: Job
    entry: Entry


@dataclass
class Failed:
    """An input that cannot be done."""

    job: Job
    stage: str
    reason: str


class Clock:
    """Seconds that each stage was at work (not waiting)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def busy(self, stage: str) -> Iterator[None]:
        """Count the block for `stage`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[stage] += time.perf_counter() - start

    def seconds(self) -> dict[str, float]:
        """By stage, to the millisecond."""
        with self._lock:
            return {stage: round(spent, 3) for stage, spent in self._seconds.items()}


def reason(error: Exception) -> str:
    """One line for failures.csv and the screen."""
    if isinstance(error, HptlError):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = "needs more memory than there is"
    elif isinstance(error, OSError):
        text = error.strerror or str(error) or type(error).__name__
    else:
        text = f"unexpected {type(error).__name__}: {error}"
    return " ".join(text.split())
