"""Three-class multi-Otsu, the threshold a lab would try first, on a labelled data set.

    hptl-deploy synth unseen --images 40 --seed 4040
    python benchmarks/otsu.py unseen

Darkest class Mg2Si, middle class Fe-containing phase, brightest the matrix; on each frame as it
is, and flattened: divided by a wide Gaussian of itself, which takes the uneven light out. The
third line is the best that two thresholds can do: the light is taken from the true matrix, and
the thresholds lie midway between the true phases' median levels, frame by frame.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_multiotsu

from hptl_deploy.datasets import load_data_set
from hptl_deploy.measurement.rims import FalseRims, false_rims
from hptl_deploy.measurement.scores import Confusion
from hptl_deploy.synthesis.canvas import FE, MATRIX, MG2SI

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FLATTENING_SIGMA = 150.0
_STEP = 4
"""The wide Gaussian is computed on every fourth pixel: it holds nothing finer."""


def flattened(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """`grey` [H, W] divided by a wide Gaussian of itself, in grey levels again."""
    coarse = ndimage.gaussian_filter(grey[::_STEP, ::_STEP], _FLATTENING_SIGMA / _STEP)
    light = np.kron(coarse, np.ones((_STEP, _STEP), np.float32))
    flat = 128 * grey / np.maximum(light[: grey.shape[0], : grey.shape[1]], 1)
    return flat.astype(np.float32)


def multi_otsu(grey: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Class indices [H, W] by multi-Otsu's two thresholds over `grey` [H, W]."""
    low, high = threshold_multiotsu(np.rint(grey.clip(0, 255)).astype(np.uint8), classes=3)
    return classified(grey, float(low), float(high))


def with_hindsight(grey: NDArray[np.float32], truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Class indices [H, W] by the thresholds one would choose who knows `truth` [H, W]."""
    matrix = (truth == MATRIX).astype(np.float32)
    light = ndimage.gaussian_filter(grey * matrix, _FLATTENING_SIGMA / _STEP, truncate=3)
    light /= ndimage.gaussian_filter(matrix, _FLATTENING_SIGMA / _STEP, truncate=3) + 1e-6
    flat = grey / np.maximum(light, 1)
    levels = {k: float(np.median(flat[truth == k])) for k in np.unique(truth).tolist()}
    # A phase that is not there gets no range of levels.
    high = (levels[MATRIX] + levels[FE]) / 2 if FE in levels else -1.0
    low = (levels[MG2SI] + levels.get(FE, levels[MATRIX])) / 2 if MG2SI in levels else -1.0
    return classified(flat, low, max(low, high))


def classified(grey: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Class indices [H, W]: up to `low` Mg2Si, up to `high` Fe, above it the matrix."""
    classes = np.full(grey.shape, MATRIX, np.uint8)
    classes[grey <= high] = FE
    classes[grey <= low] = MG2SI
    return classes


def main() -> None:
    """Score both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    data_set = load_data_set(parser.parse_args().data)
    names = ("multi-Otsu as it is", "multi-Otsu flattened", "thresholds with hindsight")
    scores = {name: Confusion(data_set.phases) for name in names}
    rims = dict.fromkeys(names, FalseRims())
    for sample in data_set.samples:
        pixels, truth = data_set.read(sample)
        grey = pixels.mean(axis=-1, dtype=np.float32)
        maps = multi_otsu(grey), multi_otsu(flattened(grey)), with_hindsight(grey, truth)
        for name, found in zip(names, maps, strict=True):
            scores[name].add(truth, found)
            rims[name] += false_rims(truth, found, around=MG2SI, mistaken_for=FE)
    print(f"{len(data_set.samples)} frames of {data_set.name}")
    for name, confusion in scores.items():
        ious = ", ".join(
            f"{p.key} {v:.3f}" for p, v in zip(data_set.phases, confusion.iou, strict=True)
        )
        print(
            f"{name}: accuracy {confusion.accuracy:.4f}, IoU {ious}, "
            f"false Fe rims {100 * rims[name].share:.1f} %"
        )


if __name__ == "__main__":
    main()
