"""From file to file: what `segment` makes of an engine's speed, with reading and writing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hptl_deploy.bench.frames import Frames
from hptl_deploy.engines.base import Engine
from hptl_deploy.errors import EngineError
from hptl_deploy.results import read_run
from hptl_deploy.segmentation import SegmentOptions, segment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILES = 3
"""Of one run: while one is inferred, the one before is written and the next one read."""


@dataclass(frozen=True)
class FileRun:
    """One run of `segment` with an engine that was open and warm."""

    files: int
    seconds: float
    busy: dict[str, float]
    """Seconds that each stage was at work, `read`, `infer` and `write`; they overlap."""

    @property
    def files_per_second(self) -> float:
        """From the first file's reading to the last result on disk."""
        return self.files / self.seconds

    def to_json(self) -> dict[str, Any]:
        """For the document."""
        return {**vars(self), "files_per_second": self.files_per_second}


def write_inputs(frames: Frames, folder: Path) -> Path:
    """FILES micrographs as microscopes store them, uncompressed TIFF. Raises OSError."""
    import tifffile

    folder.mkdir()
    pictures: Sequence[NDArray[np.uint8]] = frames.pictures
    for number in range(FILES):
        picture = pictures[number % len(pictures)]
        tifffile.imwrite(folder / f"frame_{number + 1}.tif", picture, photometric="rgb")
    return folder


def file_run(engine: Engine, inputs: Path, out: Path) -> FileRun:
    """Segment `inputs` into `out`, which must be new. Raises EngineError where a file fails."""
    begun = time.perf_counter()
    summary = segment(SegmentOptions(input=inputs, out=out), engine)
    seconds = time.perf_counter() - begun
    if summary.failures:
        failure = summary.failures[0]
        raise EngineError(f"{engine.info.backend}: {failure.file} failed ({failure.reason})")
    run = read_run(out)
    assert run is not None
    return FileRun(summary.fields, seconds, run["busy_seconds"])
