"""A mosaic larger than memory through `segment`: speed against a single frame, memory, exactness.

    python benchmarks/mosaic.py --size 32768x32768                       # 3.2 GB, made by region
    python benchmarks/mosaic.py --size 8192x8192 --width 0.125 --whole   # against the whole frame

The mosaic is segmented in a process of its own, whose peak memory is read at the end; after
after, the same process times whole frames of 2560 x 1920 px cut from it, and the ratio is taken of
megapixels per second. `--whole` compares the class map with that of one call for all of the
mosaic, which must fit the memory. Without `--width`, which makes a network of random weights, a
model is named, or the bundled one runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from benchmarks.mosaic_data import Mosaic, write_mosaic
from hptl_deploy.cli.synth import parse_size
from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.engines.ladder import ON_CPU
from hptl_deploy.micrographs import open_micrograph
from hptl_deploy.model import load_model
from hptl_deploy.models_folder import find_model
from hptl_deploy.results import read_run
from hptl_deploy.segmentation import SegmentOptions, segment
from hptl_deploy.segmentation.inference import classify
from hptl_deploy.tiling import FramePlan, Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FRAME = (1920, 2560)
_FRAMES = 3


def frame_rate(engine: Engine, mosaic: Path) -> float:
    """Megapixels per second of whole frames cut from the mosaic: the median of a few."""
    height, width = _FRAME
    rates = []
    with open_micrograph(mosaic) as micrograph:
        page = micrograph.pages[0]
        for number in range(_FRAMES + 1):
            top, left = number * height // 2, number * width // 2
            pixels = page.read(Region(top, top + height, left, left + width))
            begun = time.perf_counter()
            engine.infer(pixels[None])
            rates.append(height * width / 1e6 / (time.perf_counter() - begun))
    return statistics.median(rates[1:])


def measured(model: Path, mosaic: Path, out: Path) -> dict[str, Any]:
    """Segment the mosaic in this process. Rates in Mpx/s, memory in bytes."""
    from hptl_export.memory import peak_resident

    with open_engine(load_model(model), "cpu", "fp32", ON_CPU) as engine:
        summary = segment(SegmentOptions(mosaic, out), engine)
        assert summary.counts["done"] == 1, summary.failures
        peak = peak_resident()  # before whole frames take more than tiles did
        run = read_run(out)
        assert run is not None
        return {
            "mosaic": summary.throughput["megapixels_per_second"],
            "seconds": summary.throughput["seconds"],
            "frame": frame_rate(engine, mosaic),
            "peak": peak,
            "busy": run["busy_seconds"],
        }


def in_a_process(model: Path, mosaic: Path, out: Path) -> dict[str, Any]:
    """`measured`, in a process that has held nothing else."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", str(model), str(mosaic), str(out)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        # The packages where this process found them.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def differing(model: Path, mosaic: Path, out: Path) -> tuple[int, int]:
    """(pixels whose class is not that of one call for the whole mosaic, pixels)."""
    with open_micrograph(mosaic) as micrograph:
        pixels = micrograph.pages[0].read()
    with open_engine(load_model(model), "cpu", "fp32", ON_CPU) as engine:
        card = engine.model.card
        height, width, _ = pixels.shape
        plan = FramePlan(height, width, card.stride, card.halo, None)
        right = classify(engine, pixels, plan)[0]
    found: NDArray[np.uint8] = tifffile.imread(out / f"{mosaic.stem}_classes.tif")
    return int((found != right).sum()), right.size


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="32768x32768")
    parser.add_argument("--model", default="aluminium-demo")
    parser.add_argument("--width", type=float, help="of a network of random weights")
    parser.add_argument("--whole", action="store_true", help="compare with the whole frame")
    parser.add_argument("--measure", nargs=3, metavar=("MODEL", "MOSAIC", "OUT"),
                        help="segment it and print the figures as JSON")  # fmt: skip
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(*map(Path, options.measure))))
        return
    height, width = parse_size(options.size)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        model = find_model(options.model, Path("models"))
        if options.width:
            from benchmarks.engines import export

            model = export(options.width, ["fp32"], "cpu", folder).path
        mosaic = folder / "mosaic.tif"
        write_mosaic(mosaic, Mosaic(height, width))
        print(f"{mosaic.stat().st_size / 2**30:.2f} GiB on disk", flush=True)
        found = in_a_process(model, mosaic, folder / "out")
        results = sum(path.stat().st_size for path in (folder / "out").iterdir())
        print(f"{found['seconds']:.0f} s, {found['mosaic']:.3f} Mpx/s; a single frame of "
              f"2560 x 1920 px: {found['frame']:.3f} Mpx/s; "
              f"ratio {found['mosaic'] / found['frame']:.2f}")  # fmt: skip
        print(f"peak memory {found['peak'] / 2**30:.2f} GiB; busy seconds {found['busy']}; "
              f"results {results / 2**20:.1f} MiB", flush=True)  # fmt: skip
        if options.whole:
            wrong, pixels = differing(model, mosaic, folder / "out")
            print(f"{wrong} of {pixels} pixels differ from the whole frame's "
                  f"({1e6 * wrong / pixels:.2f} ppm)")  # fmt: skip


if __name__ == "__main__":
    main()
