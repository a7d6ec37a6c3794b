"""What travels through the stream: read -> infer -> write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hptl_deploy.errors import HptlError
from hptl_deploy.left_out.marking import Searched
from hptl_deploy.micrographs.base import Calibration
from hptl_deploy.rescaling.page import Rescaled, Seen
from hptl_deploy.segmentation.inputs.listing import Listed
from hptl_deploy.segmentation.ledger import Entry
from hptl_deploy.segmentation.stages import ByteGate
from hptl_deploy.tiling import FramePlan, Region

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Outputs = dict[str, Callable[[Path], None]]
"""What writes each result, by its name below the out folder."""


@dataclass
class Job:
    """One input on its way. Written to by the read stage, except for `abandoned` and `done`."""

    listed: Listed
    base: str
    """Beginning of its results' names."""
    bytes: int = 0
    sha256: str = ""
    abandoned: bool = False
    """Set by a later stage that gave it up: what else there is of it is not worth reading."""
    done: bool = False
    """Set when its results are in place and its line is in the ledger."""


@dataclass(frozen=True)
class PageOf:
    """One page of an input, before its pixels are read."""

    job: Job
    page: int
    """From 1."""
    pages: int
    plan: FramePlan
    """On the micrograph's own grid."""
    calibration: Calibration
    rescaled: Rescaled | None = None
    """How the network sees it at another pixel size; None: as it is, by `plan`."""
    gaps: tuple[Region, ...] = ()
    """Of the page: rectangles that hold no pixels."""
    searched: Searched = field(default_factory=Searched)
    """What is burnt into a page in bands; of any other it is found when it is written."""

    def rows_for(self, area: Region) -> Region:
        """The rows of the micrograph that are read for one of the plan's areas."""
        rescaled = self.rescaled
        return self.plan.rows_for(area) if rescaled is None else rescaled.own_rows(area)

    @property
    def segmented_pixel_size_um(self) -> float | None:
        """Of what the network sees; None where the micrograph's is unknown."""
        own = self.calibration.pixel_size_um
        return own if own is None or self.rescaled is None else self.rescaled.pixel_size_um(own)


@dataclass
class Frame:
    """Pixels that have been read: a page, or a band of one that is too large to be held.

    Whoever takes it out of the stream calls `leave`, once.
    """

    of: PageOf
    area: Region
    """What is written of the page: all of it, or the band."""
    rows: Region
    """What has been read: `area`, with the halos above and below where it is a band."""
    pixels: NDArray[np.uint8]
    """[rows, W, 3], RGB."""
    gate: ByteGate
    held: int
    """Bytes of memory that are set aside for it in `gate`."""
    rescaled: Seen | None = None
    """What the network is given in its place."""

    @property
    def seen(self) -> Seen:
        """What the network is given."""
        return self.rescaled or Seen(self.pixels, self.of.plan, self.area, self.rows)

    @property
    def job(self) -> Job:
        """Its input."""
        return self.of.job

    @property
    def begins(self) -> bool:
        """True for the first that is read of its input."""
        return self.of.page == 1 and self.area.y0 == 0

    @property
    def rows_of_area(self) -> NDArray[np.uint8]:
        """The pixels of `area` alone: [H, W, 3]."""
        return self.pixels[self.area.relative_to(self.rows).slices]

    def leave(self) -> None:
        """Give back the memory that was set aside."""
        self.gate.leave(self.held)


@dataclass
class Solved:
    """A frame with its classes."""

    frame: Frame
    classes: NDArray[np.uint8]
    """[H, W] of the frame's area; before `on_own_grid`, of what the network saw of it."""
    confidence: NDArray[np.uint8]
    """[H, W], probability x 255."""

    def on_own_grid(self) -> Solved:
        """With the maps on the micrograph's own pixels."""
        frame, rescaled = self.frame, self.frame.of.rescaled
        if rescaled is None:
            return self
        classes, confidence = (
            rescaled.bring_back(answer, frame.area) for answer in (self.classes, self.confidence)
        )
        return Solved(frame, classes, confidence)


@dataclass
class Kept:
    """A band that an earlier run has solved and stored."""

    of: PageOf
    area: Region

    @property
    def job(self) -> Job:
        """Its input."""
        return self.of.job


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
