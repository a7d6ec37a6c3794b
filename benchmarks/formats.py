"""Time, size and memory of the further formats of a mosaic (`segment --also`), without a network.

    python benchmarks/formats.py [SIDE]

The class map, SIDE x SIDE px, is smooth noise cut at two levels, repeated; bands of 2048 rows are
made as they are asked for. Every format is written in a process of its own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from hptl_deploy.files import files_of, size_of
from hptl_deploy.outputs.kinds import KINDS
from hptl_deploy.outputs.numbering import Numbered
from hptl_deploy.outputs.writers import Maps, further_writers
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.segmentation.mosaics.band import BandedMap, BandedRows

PERIOD = 2048


def class_map(side: int) -> BandedRows:
    """Particles of 4 px and more, 0.1 of the area."""
    noise = np.random.default_rng(1).standard_normal((PERIOD, PERIOD))
    smooth = gaussian_filter(noise, 4, mode="wrap")
    smooth /= smooth.std()
    pattern = ((smooth > 1.6) + 2 * (smooth < -1.7)).astype(np.uint8)
    wide = np.tile(pattern, (1, -(-side // PERIOD)))[:, :side]
    banded = BandedMap(side, side, PERIOD)

    def rows(level: int) -> Iterator[NDArray[np.uint8]]:
        for number in range(banded.bands):
            top, bottom = banded.rows(number)
            yield np.ascontiguousarray(wide[: bottom - top][:: 2**level, :: 2**level])

    return banded, rows


def peak() -> float:
    """MB of this process, at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(side: int, kind: str) -> None:
    """Write one format and print a row of the table."""
    page = Maps(class_map(side), None, tiled=True)
    before = peak()
    (writer,) = further_writers((kind,), "m", page, PAPER_PHASES, {"pixel_size_um": 0.2}).values()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        writer(Path(folder) / "m")
        seconds = time.perf_counter() - start
        size, files = size_of(Path(folder) / "m") / 1e6, len(files_of(Path(folder) / "m"))
    print(f"| `{kind}` | {seconds:.0f} | {size:.1f} | {files} | {before:.0f} | {peak():.0f} |")


def main() -> None:
    """All formats, or one where it is named."""
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 16384
    if len(sys.argv) > 2:
        measure(side, sys.argv[2])
        return
    print(f"{side} x {side} px, {Numbered(class_map(side), 3).count} particles", flush=True)
    print("| format | s | MB | files | MB of memory before | MB at most |", flush=True)
    for kind in KINDS:
        subprocess.run([sys.executable, __file__, str(side), kind], check=True)


if __name__ == "__main__":
    main()
