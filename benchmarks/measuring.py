"""Measuring particles: time for one frame, against scikit-image's regionprops_table.

    python benchmarks/measuring.py --particles 3000 --rounds 5

A drawn class map of 2560 x 1920 px: disks and needles of two phases at all angles. Ours is all of
`_particles.parquet`, file included; theirs is labelling each phase and the same figures, as far as
scikit-image has them (no minimum rectangle, no min Feret, no nearest neighbour), without a file.
Both in one process on one core, in turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.cli.synth import parse_size
from hptl_deploy.measurement.particle_table import write_particles
from hptl_deploy.measurement.particles import measure_particles
from hptl_deploy.phases import PAPER_PHASES

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHARED = (
    "area",
    "centroid",
    "bbox",
    "equivalent_diameter_area",
    "perimeter_crofton",
    "feret_diameter_max",
    "axis_major_length",
    "axis_minor_length",
    "orientation",
    "solidity",
    "euler_number",
    "intensity_mean",
)
_ABOUT = {"model": "none", "model_sha256": "0" * 64, "precision": "fp32", "pixel_size_um": 0.1}


def drawn(height: int, width: int, particles: int) -> NDArray[np.uint8]:
    """A class map [H, W] of about so many particles, none upon another's pixels."""
    rng = np.random.default_rng(2026)
    classes = np.zeros((height, width), np.uint8)
    half = 16
    down, across = np.mgrid[-half:half, -half:half] + 0.5
    placed = 0
    while placed < particles:
        y, x = rng.integers(0, (height - 2 * half, width - 2 * half))
        turn, long = rng.uniform(0, np.pi), rng.uniform(4, 14)
        broad = long if rng.random() < 0.5 else rng.uniform(1.5, 4)
        along = across * np.cos(turn) + down * np.sin(turn)
        off = down * np.cos(turn) - across * np.sin(turn)
        inside = (along / long) ** 2 + (off / broad) ** 2 <= 1
        # With a pixel of room round it, or two would be one.
        place = classes[y : y + 2 * half, x : x + 2 * half]
        if not place[inside | np.roll(inside, 1, 0) | np.roll(inside, 1, 1)].any():
            place[inside] = rng.integers(1, 3)
            placed += 1
    return classes


def ours(classes: NDArray[np.uint8], confidence: NDArray[np.uint8], path: Path) -> int:
    """Measure and write; the number of particles."""
    found = measure_particles(classes, confidence)
    assert found is not None
    write_particles(
        path, found.particles, file="frame.tif", page=1, phases=PAPER_PHASES, about=_ABOUT
    )
    return len(found.particles)


def theirs(classes: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> int:
    """Label and measure phase by phase; the number of particles."""
    from skimage.measure import label, regionprops_table

    count = 0
    for index in (1, 2):
        labels = label(classes == index, connectivity=2)
        table = regionprops_table(labels, confidence, properties=_SHARED)
        count += len(table["area"])
    return count


def main() -> None:
    """Parse the command line, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="2560x1920")
    parser.add_argument("--particles", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    classes = drawn(*parse_size(options.size), options.particles)
    confidence = np.full_like(classes, 230)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame_particles.parquet"
        ways: dict[str, Callable[[], int]] = {
            "hptl-deploy": lambda: ours(classes, confidence, path),
            "scikit-image": lambda: theirs(classes, confidence),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for way in ways.values():
            way()  # libraries are loaded
        for _ in range(options.rounds):
            for name, way in ways.items():
                start = time.perf_counter()
                count = way()
                seconds[name].append(time.perf_counter() - start)
        size = path.stat().st_size
    for name, taken in seconds.items():
        print(f"{name}: median {statistics.median(taken):.3f} s, fastest {min(taken):.3f} s")
    ratios = [b / a for a, b in zip(*seconds.values(), strict=True)]
    print(f"{count} particles; scikit-image takes {statistics.median(ratios):.1f} times as long")
    print(f"table: {size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
