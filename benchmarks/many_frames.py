"""Memory over a long run: thousands of small frames through `segment`.

    python benchmarks/many_frames.py --frames 2000 --size 320x240

Prints the resident memory of the process after every hundred frames. What a run holds is bounded by
its queues, so that it must stop growing once they have been full.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import psutil
import tifffile

from hptl_deploy.bench import synthetic_frames
from hptl_deploy.cli.synth import parse_size
from hptl_deploy.engines import open_engine
from hptl_deploy.model import load_model
from hptl_deploy.models_folder import find_model
from hptl_deploy.segmentation import SegmentOptions, segment
from hptl_deploy.sink import Silent

EVERY = 100


class Watch(Silent):
    """A sink that looks at the process's memory."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        """Bytes after every EVERY frames."""
        self._done = 0.0

    def advance(self, amount: float = 1.0, note: str = "", speed: str = "") -> None:
        """Another frame is done."""
        before = int(self._done + 1e-6) // EVERY
        self._done += amount
        if int(self._done + 1e-6) // EVERY > before:
            self.seen.append(psutil.Process().memory_info().rss)


def resident(model: Path, frames: int, size: tuple[int, int]) -> list[int]:
    """Bytes of resident memory after every EVERY of `frames` frames of (height, width)."""
    watch = Watch()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source = Path(folder) / "in"
        source.mkdir()
        (picture,) = synthetic_frames(*size, 1).pictures
        for number in range(frames):
            moved = np.roll(picture, number, axis=(0, 1))  # no two alike
            tifffile.imwrite(source / f"{number:05d}.tif", moved, photometric="rgb")
        with open_engine(load_model(model), "cpu") as engine:
            summary = segment(SegmentOptions(source, Path(folder) / "out"), engine, watch)
        assert summary.counts["done"] == frames, summary.failures[:3]
    return watch.seen


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="aluminium-demo")
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--size", default="320x240")
    options = parser.parse_args()
    model = find_model(options.model, Path("models"))
    seen = resident(model, options.frames, parse_size(options.size))
    for number, held in enumerate(seen, 1):
        print(f"{number * EVERY:6d} frames: {held / 2**20:.0f} MiB")
    print(f"growth after the first {EVERY}: {(max(seen) - seen[0]) / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
