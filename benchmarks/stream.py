"""A folder from file to file, against the bare engine, a sequential loop and MONAI.

    python benchmarks/stream.py --model aluminium-demo                   # the bundled model
    python benchmarks/stream.py --precisions fp32,int8 --monai 1         # 140 M parameters: hours
    python benchmarks/stream.py --width 0.125 --size 1280x960 --frames 8

Every round everybody goes once over the same RGB TIFF files, the order turning; figures are medians
of rounds, ratios are taken within a round. Weights are random (He) unless a model is named: the
engine's speed does not depend on them, but their class maps are noise, in which there are no
particles to be measured.

bare engine   frames that lie in memory, through `Engine.stream`: nothing read, nothing written
segment       `hptl-deploy segment`: hash, decode, classes, scale bar, particles, quality, class
              map, overlay, tables, report
sequential    the same parts but the last two, one after the other, as a script would call them
MONAI         `sliding_window_inference`, 512 x 512, batches of 4, overlap 0.25, torch fp32, the
              same weights; reads the file, writes a class map and no overlay (`pip install monai`)
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tifffile

from hptl_deploy.bench import synthetic_frames
from hptl_deploy.cli.synth import parse_size
from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.engines.ladder import ON_CPU
from hptl_deploy.files import sha256_file
from hptl_deploy.left_out.given import LeaveOut
from hptl_deploy.left_out.marking import left_out_of
from hptl_deploy.measurement.fields import measure_field
from hptl_deploy.measurement.particle_table import write_particles
from hptl_deploy.measurement.particles import measure_particles
from hptl_deploy.micrographs import open_micrograph
from hptl_deploy.model import Model, load_model
from hptl_deploy.models_folder import find_model
from hptl_deploy.phases import IGNORE
from hptl_deploy.quality.judging import figures_of
from hptl_deploy.segmentation import SegmentOptions, segment
from hptl_deploy.segmentation.classmap import describe, write_class_map
from hptl_deploy.segmentation.inference import classify
from hptl_deploy.segmentation.overlay import write_overlay
from hptl_deploy.tiling import FramePlan, Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_train.networks import Segmenter

Contender = Callable[[Path], float]
"""Goes over the folder of frames, writes into the given one; seconds per frame."""

_DISTINCT = 4
_WINDOW, _WINDOWS, _OVERLAP = 512, 4, 0.25


def write_frames(folder: Path, size: tuple[int, int], count: int) -> list[Path]:
    """`count` uncompressed RGB TIFF files: a few micrographs, turned and mirrored."""
    pictures = synthetic_frames(*size, min(count, _DISTINCT)).pictures
    folder.mkdir()
    paths = []
    for number in range(count):
        pixels = pictures[number % len(pictures)]
        pixels = pixels[:: 1 - 2 * (number // _DISTINCT % 2), :: 1 - 2 * (number // 8 % 2)]
        paths.append(folder / f"frame_{number:03d}.tif")
        tifffile.imwrite(paths[-1], np.ascontiguousarray(pixels), photometric="rgb")
    return paths


def read(path: Path) -> NDArray[np.uint8]:
    """The pixels of a file's page."""
    with open_micrograph(path) as micrograph:
        return micrograph.pages[0].read()


def whole(engine: Engine, pixels: NDArray[np.uint8]) -> FramePlan:
    """One call for all of it."""
    card = engine.model.card
    height, width, _ = pixels.shape
    return FramePlan(height, width, card.stride, card.halo, None)


def bare_engine(engine: Engine, paths: list[Path]) -> Contender:
    """Frames that lie in memory."""
    frames = [read(path) for path in paths[:_DISTINCT]]
    stride = engine.model.card.stride

    def batches() -> Iterator[NDArray[np.uint8]]:
        for number in range(len(paths)):
            pixels = frames[number % len(frames)]
            height, width = (-(-side // stride) * stride for side in pixels.shape[:2])
            rows, columns = height - pixels.shape[0], width - pixels.shape[1]
            yield np.pad(pixels, ((0, rows), (0, columns), (0, 0)), mode="edge")[None]

    def run(_: Path) -> float:
        begun = time.perf_counter()
        assert sum(1 for _ in engine.stream(batches())) == len(paths)
        return (time.perf_counter() - begun) / len(paths)

    return run


def whole_program(engine: Engine, paths: list[Path]) -> Contender:
    """`hptl-deploy segment` without opening the engine."""

    def run(out: Path) -> float:
        begun = time.perf_counter()
        summary = segment(SegmentOptions(paths[0].parent, out), engine)
        assert summary.counts["done"] == len(paths), summary.failures
        return (time.perf_counter() - begun) / len(paths)

    return run


def sequential(engine: Engine, paths: list[Path]) -> Contender:
    """The same parts, one after the other."""
    model = engine.model

    def run(out: Path) -> float:
        out.mkdir()
        begun = time.perf_counter()
        for path in paths:
            sha256_file(path)
            pixels = read(path)
            classes, confidence = classify(engine, pixels, whole(engine, pixels))
            height, width = classes.shape
            left_out = left_out_of(LeaveOut(), height, width, (), pixels)
            left_out.mark(classes, confidence, Region(0, height, 0, width))
            phases = model.card.phases
            measure_field(classes, confidence, phases)
            about = describe(model, engine.info.precision, None)
            base = out / path.stem
            found = measure_particles(classes, confidence)
            if found is not None:
                table = Path(f"{base}_particles.parquet")
                write_particles(
                    table, particles=found.particles, file=path.name, page=1, phases=phases,
                    about=about,
                )  # fmt: skip
            figures_of(pixels, classes, confidence, model.card.training_statistics)
            write_class_map(Path(f"{base}_classes.tif"), classes, phases, about)
            overlay = Path(f"{base}_overlay.jpg")
            write_overlay(overlay, pixels, classes, phases, "jpg", about)
        return (time.perf_counter() - begun) / len(paths)

    return run


def monai(segmenter: Segmenter, paths: list[Path]) -> Contender:
    """MONAI's sliding windows over the same weights, in torch."""
    import torch
    from monai.inferers import sliding_window_inference

    def predict(windows: torch.Tensor) -> torch.Tensor:
        # [N, 3, H, W] -> uint8 [N, H, W, 3], what the segmenter normalises itself
        logits: torch.Tensor = segmenter(windows.permute(0, 2, 3, 1).to(torch.uint8))
        return logits

    def run(out: Path) -> float:
        out.mkdir()
        begun = time.perf_counter()
        with torch.inference_mode():
            for path in paths:
                pixels = torch.from_numpy(tifffile.imread(path)).permute(2, 0, 1)[None].float()
                size = (_WINDOW, _WINDOW)
                logits = sliding_window_inference(pixels, size, _WINDOWS, predict, _OVERLAP)
                classes = logits.argmax(1)[0].to(torch.uint8).numpy()
                tifffile.imwrite(out / f"{path.stem}_classes.tif", classes, compression="zlib")
        return (time.perf_counter() - begun) / len(paths)

    return run


def differing_ppm(out: Path, engine: Engine, paths: list[Path]) -> float:
    """Pixels whose class is not the whole frame's, in parts per million of a few frames."""
    wrong = pixels_seen = 0
    for path in paths[:2]:
        found = tifffile.imread(out / f"{path.stem}_classes.tif")
        pixels = read(path)
        right = classify(engine, pixels, whole(engine, pixels))[0]
        kept = found != IGNORE  # not under a scale bar
        wrong += int((found != right)[kept].sum())
        pixels_seen += int(kept.sum())
    return 1e6 * wrong / pixels_seen


def compare(contenders: dict[str, Contender], rounds: int, folder: Path) -> dict[str, list[float]]:
    """Seconds per frame of everybody, round by round, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(-1, rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            taken = contenders[name](folder / f"{name}-{number}".replace(" ", "-"))
            print(f"round {number + 1}: {name}: {taken:.3f} s per frame", flush=True)
            if number >= 0:
                seconds[name].append(taken)
    return seconds


def report(seconds: dict[str, list[float]], megapixels: float) -> None:
    """Medians, and everybody's rate against the others'."""
    names = list(seconds)
    print(f"{'':32} {'s':>8} {'frames/s':>9} {'Mpx/s':>8}  rate against " + ", ".join(names))
    for name, taken in seconds.items():
        median = statistics.median(taken)
        against = [
            statistics.median(b / a for a, b in zip(taken, seconds[other], strict=True))
            for other in names
        ]
        ratios = "  ".join(f"{ratio:.2f}" for ratio in against)
        print(f"{name:32} {median:8.3f} {1 / median:9.3f} {megapixels / median:8.3f}  {ratios}")


def named(model: str) -> tuple[Model, None]:
    """A model of one's own, or the bundled one."""
    return load_model(find_model(model, Path("models"))), None


def random(width: float, precisions: list[str], folder: Path) -> tuple[Model, Segmenter]:
    """A network of random weights, as a file and in torch."""
    from benchmarks.engines import export, random_segmenter

    folder.mkdir()
    return export(width, precisions, "cpu", folder), random_segmenter(width)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="its name, folder or file; default: random weights")
    parser.add_argument("--width", type=float, default=1.0, help="of the random network")
    parser.add_argument("--size", default="2560x1920")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precisions", default="fp32")
    parser.add_argument("--monai", type=int, default=0, metavar="FRAMES",
                        help="so many frames through MONAI, too")  # fmt: skip
    options = parser.parse_args()
    height, width = parse_size(options.size)
    precisions = options.precisions.split(",")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, ExitStack() as opened:
        folder = Path(name)
        paths = write_frames(folder / "in", (height, width), options.frames)
        model, segmenter = (
            named(options.model)
            if options.model
            else random(options.width, precisions, folder / "model")
        )
        engines = {
            precision: opened.enter_context(open_engine(model, "cpu", precision, ON_CPU))
            for precision in precisions
        }
        contenders: dict[str, Contender] = {}
        for precision, engine in engines.items():
            contenders[f"bare engine {precision}"] = bare_engine(engine, paths)
            contenders[f"segment {precision}"] = whole_program(engine, paths)
            contenders[f"sequential {precision}"] = sequential(engine, paths)
        if options.monai and segmenter is not None:
            contenders["MONAI fp32"] = monai(segmenter, paths[: options.monai])
        report(compare(contenders, options.rounds, folder), height * width / 1e6)
        for contender in contenders:
            kind, precision = contender.split()[0], contender.split()[-1]
            if kind in ("segment", "MONAI"):
                out = folder / f"{contender}-0".replace(" ", "-")
                some = paths[: options.monai] if kind == "MONAI" else paths
                ppm = differing_ppm(out, engines[precision], some)
                print(f"{contender}: {ppm:.1f} ppm of the pixels differ from the whole frame's")


if __name__ == "__main__":
    main()
