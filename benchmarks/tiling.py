"""Tiles against the whole: how many pixels differ, and what the halo costs.

    python benchmarks/tiling.py --random 0.25 --input-scale 2
    python benchmarks/tiling.py --model models/hptl-uhcs

Frames of 2560 x 1920 and 1999 x 1403 px, cores of 256, 512 and 1024 px, interleaved; times
are medians, and ratios to the whole frame in the same round.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from skimage.filters import gaussian

from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.model import load_model
from hptl_deploy.models_folder import find_model
from hptl_deploy.segmentation.inference import classify
from hptl_deploy.tiling import plan_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZES = ((1920, 2560), (1403, 1999))
CORES = (256, 512, 1024)


def frame(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """A micrograph-like picture [H, W, 3]: matrix, blurred dark and grey patches, noise."""
    rng = np.random.default_rng(seed)
    patches = gaussian(rng.normal(size=(height, width)), sigma=12)
    patches /= patches.std()
    grey = np.where(patches > 1.8, 45.0, np.where(patches < -1.8, 90.0, 145.0))
    grey = gaussian(grey, sigma=1.5, preserve_range=True) + rng.normal(0, 3, grey.shape)
    tint = np.array([0.97, 1.0, 1.03])
    coloured: NDArray[np.uint8] = np.clip(grey[..., None] * tint, 0, 255).astype(np.uint8)
    return coloured


def random_model(width: float, input_scale: int, folder: Path) -> Path:
    """An FCN-8s of random weights, exported."""
    import torch

    from hptl_deploy.model import ModelCard
    from hptl_deploy.phases import PAPER_PHASES
    from hptl_export.files import without_logits, write_model
    from hptl_export.graph import export_graph
    from hptl_train.networks import FCN, Segmenter, Sizes
    from hptl_train.networks.init import initialise
    from hptl_train.networks.reach import halo
    from hptl_train.networks.segmenter import stride_of

    torch.manual_seed(0)
    sizes = Sizes().scaled(width)
    network = FCN("fcn8s", sizes, len(PAPER_PHASES))
    initialise(network, "he-normal", "bilinear", "he-normal")
    stride = stride_of(input_scale)
    card = ModelCard(
        name=f"random-{width:g}-x{input_scale}",
        network="fcn8s",
        channels=sizes.channels,
        fc=sizes.fc,
        phases=PAPER_PHASES,
        input_scale=input_scale,
        stride=stride,
        halo=halo("fcn8s", input_scale),
        bytes_per_pixel=1.0,
        pixel_size_um=None,
    )
    path = folder / "model.onnx"
    segmenter = Segmenter(network, input_scale).eval()
    write_model(without_logits(export_graph(segmenter, stride)), card, path)
    return path


def class_map(engine: Engine, pixels: NDArray[np.uint8], core: int | None) -> NDArray[np.uint8]:
    """The class map of a frame, whole or in tiles of `core`, as `segment` makes it."""
    height, width, _ = pixels.shape
    card = engine.model.card
    plan = plan_frame(height, width, stride=card.stride, halo=card.halo, tile=core)
    return classify(engine, pixels, plan)[0]


def measure(engine: Engine, rounds: int) -> None:
    """Print the table for one model."""
    for height, width in SIZES:
        pixels = frame(height, width, seed=height)
        seconds: dict[int | None, list[float]] = {core: [] for core in (None, *CORES)}
        maps: dict[int | None, NDArray[np.uint8]] = {}
        for _ in range(rounds):
            for core, times in seconds.items():
                start = time.perf_counter()
                maps[core] = class_map(engine, pixels, core)
                times.append(time.perf_counter() - start)
        whole = maps[None]
        shares = np.bincount(whole.ravel(), minlength=len(engine.model.card.phases)) / whole.size
        print(
            f"{width} x {height} px whole: {statistics.median(seconds[None]):.2f} s, "
            f"class shares {', '.join(f'{share:.3f}' for share in shares)}"
        )
        for core in CORES:
            ppm = 1e6 * float(np.mean(maps[core] != whole))
            ratio = statistics.median(
                tiled / one for tiled, one in zip(seconds[core], seconds[None], strict=True)
            )
            print(f"  cores of {core:4d} px: {ppm:.2f} ppm differ, {ratio:.2f} x the whole's time")


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", help="a model's folder, file or name in ./models")
    which.add_argument("--random", type=float, metavar="WIDTH", help="random weights of a width")
    parser.add_argument("--input-scale", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        if options.model:
            path = find_model(options.model, Path("models"))
        else:
            path = random_model(options.random, options.input_scale, Path(folder))
        with open_engine(load_model(path), "cpu") as engine:
            card = engine.model.card
            print(f"{card.name}: input scale {card.input_scale}, halo {card.halo} px")
            measure(engine, options.rounds)


if __name__ == "__main__":
    main()
