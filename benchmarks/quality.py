"""How often the quality flags are right and wrong, on synthetic micrographs the model has not seen.

    python benchmarks/quality.py
    python benchmarks/quality.py --frames 200 --changed 0      # false alarms alone
    python benchmarks/quality.py --steel ../shared/data/uhcs   # another material, labelled or not

Frames of a seed of their own are segmented and judged as `segment` does it: as they are, and again
after one thing has been done to them. A table says in what share of them each flag was raised;
below it stands how well the blur of edges alone tells frames that were defocused.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from hptl_deploy.bundled import BUNDLED, bundled_models_folder
from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.micrographs import MICROGRAPH_SUFFIXES, open_micrograph
from hptl_deploy.model import MODEL_FILE, load_model
from hptl_deploy.quality.judging import FLAGS, Figures, figures_of, flags_of
from hptl_deploy.synthesis.frame import make_frame
from hptl_deploy.tiling import Region, read_padded, regions_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SEED = 4040
_SIZE = 960, 1280
_NOISE = 2.0
"""Of a camera that sees a changed frame, grey levels: a blur takes the noise away, too."""


def in_bytes(levels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey levels as a camera stores them."""
    stored: NDArray[np.uint8] = np.rint(levels.clip(0, 255)).astype(np.uint8)
    return stored


def seen(levels: NDArray[np.float32], number: int) -> NDArray[np.uint8]:
    """`levels`, float32 [H, W, 3], with a camera's noise, as 8 bits."""
    rng = np.random.default_rng([_SEED, number])
    noise = rng.standard_normal(levels.shape, dtype=np.float32)
    return in_bytes(levels + _NOISE * noise)


def defocused(pixels: NDArray[np.uint8], blur: float, number: int) -> NDArray[np.uint8]:
    """Blurred by a further Gaussian of `blur` px."""
    wide = pixels.astype(np.float32)
    return seen(ndimage.gaussian_filter(wide, (blur, blur, 0), truncate=3), number)


def enlarged(pixels: NDArray[np.uint8], factor: float, number: int) -> NDArray[np.uint8]:
    """As at `factor` times the magnification, the middle of it; below 1 with means of pixels."""
    if factor < 1:
        step = round(1 / factor)
        height, width = (length // step * step for length in pixels.shape[:2])
        squares = pixels[:height, :width].reshape(height // step, step, width // step, step, 3)
        return seen(squares.mean((1, 3), dtype=np.float32), number)
    height, width = (round(length / factor) for length in pixels.shape[:2])
    middle = pixels[height // 2 :, width // 2 :][:height, :width].astype(np.float32)
    return seen(ndimage.zoom(middle, (factor, factor, 1), order=1), number)


def tilted(pixels: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """Lit from `share` more on the left to `share` less on the right."""
    light = np.linspace(1 + share, 1 - share, pixels.shape[1], dtype=np.float32)[None, :, None]
    return in_bytes(pixels * light)


def brighter(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Exposed for so long that the matrix's mean comes to 250."""
    factor = np.float32(250) / pixels.mean(dtype=np.float32)
    return in_bytes(pixels * factor)


CHANGES: dict[str, Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]] = {
    "blurred by 2 px more": lambda pixels, number: defocused(pixels, 2, number),
    "blurred by 3 px more": lambda pixels, number: defocused(pixels, 3, number),
    "blurred by 4 px more": lambda pixels, number: defocused(pixels, 4, number),
    "blurred by 6 px more": lambda pixels, number: defocused(pixels, 6, number),
    "overexposed": lambda pixels, _: brighter(pixels),
    "light 0.2 aslant": lambda pixels, _: tilted(pixels, 0.2),
    "light 0.4 aslant": lambda pixels, _: tilted(pixels, 0.4),
    "inverted": lambda pixels, _: 255 - pixels,
    "tinted yellow": lambda pixels, _: in_bytes(
        pixels.astype(np.float32) * np.array([1.2, 1.0, 0.7], np.float32)
    ),
    "magnification a quarter": lambda pixels, number: enlarged(pixels, 0.25, number),
    "magnification half": lambda pixels, number: enlarged(pixels, 0.5, number),
    "magnification twice": lambda pixels, number: enlarged(pixels, 2, number),
    "magnification fourfold": lambda pixels, number: enlarged(pixels, 4, number),
}


def judged(engine: Engine, pixels: NDArray[np.uint8]) -> tuple[Figures, tuple[str, ...]]:
    """Figures and flags, but for those that the pixel size decides."""
    card = engine.model.card
    height, width = pixels.shape[:2]
    down, across = (-(-length // card.stride) * card.stride for length in (height, width))
    whole = read_padded(regions_of(pixels), Region(0, down, 0, across), height, width)
    answer = engine.infer(whole[None])
    maps = answer.classes[0, :height, :width], answer.confidence[0, :height, :width]
    figures = figures_of(pixels, *maps, card.training_statistics)
    sizes = None if card.training_statistics is None else card.training_statistics.pixel_sizes_um
    return figures, flags_of(figures, card, sizes[0] if sizes else card.pixel_size_um)


def photographs() -> Iterator[NDArray[np.uint8]]:
    """scikit-image's, those of more than 300 px a side."""
    from hptl_train.data.source import photographs as every

    yield from (one for one in every(100) if min(one.shape[:2]) > 300)


def micrographs(folder: Path) -> Iterator[NDArray[np.uint8]]:
    """Every micrograph of a folder, or of the `images` in it."""
    inner = folder / "images"
    for path in sorted((inner if inner.is_dir() else folder).iterdir()):
        if path.suffix.lower() in MICROGRAPH_SUFFIXES:
            with open_micrograph(path) as micrograph:
                yield micrograph.pages[0].read()


def auc(sharp: list[float], blurred: list[float]) -> float:
    """Share of pairs in which the blurred frame has the larger figure."""
    pairs = np.sign(np.subtract.outer(np.array(blurred), np.array(sharp)))
    return float((pairs + 1).mean() / 2)


def main() -> None:
    """Judge everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--changed", type=int, default=16, help="Frames of each change.")
    parser.add_argument("--steel", type=Path, help="A folder of micrographs of something else.")
    arguments = parser.parse_args()
    bundled = bundled_models_folder()
    model = load_model(arguments.model or (bundled or Path()) / BUNDLED / MODEL_FILE)
    print("| frames | n |", " | ".join(FLAGS), "|")
    print("|---|---|" + "---|" * len(FLAGS))
    focus: dict[str, list[float]] = {}
    with open_engine(model, "cpu") as engine:

        def row(name: str, frames: Iterator[NDArray[np.uint8]]) -> None:
            found = [judged(engine, pixels) for pixels in frames]
            focus[name] = [one.focus for one, _ in found if one.focus is not None]
            flags = [sum(flag in raised for _, raised in found) for flag in FLAGS]
            cells = [
                f"{100 * count / max(len(found), 1):.0f} %" if count else "-" for count in flags
            ]
            print(f"| {name} | {len(found)} |", " | ".join(cells), "|", flush=True)

        frames = [make_frame(_SEED, n, *_SIZE).pixels() for n in range(arguments.frames)]
        row("as they are", iter(frames))
        for name, change in CHANGES.items():
            if arguments.changed:
                changed = enumerate(frames[: arguments.changed])
                row(name, (change(pixels, n) for n, pixels in changed))
        row("photographs", photographs())
        if arguments.steel is not None:
            row(arguments.steel.name, micrographs(arguments.steel))
    sharp = focus["as they are"]
    print()
    for name, blurred in focus.items():
        if name.startswith("blurred"):
            print(
                f"{name}: focus {np.median(blurred):.2f} px in the median (as they are "
                f"{np.median(sharp):.2f}), area under the ROC curve {auc(sharp, blurred):.3f}"
            )


if __name__ == "__main__":
    main()
