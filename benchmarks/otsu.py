"""Three-class multi-Otsu, the threshold a lab would try first, on a labelled data set.

    hptl-deploy synth unseen --images 40 --seed 4040
    python benchmarks/otsu.py unseen

Darkest class Mg2Si, middle class Fe-containing phase, brightest the matrix; on each frame as it
is, and flattened: divided by a wide Gaussian of itself, which takes the uneven light out.
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
    flat: NDArray[np.float32] = 128 * grey / np.maximum(light[: grey.shape[0], : grey.shape[1]], 1)
    return flat.astype(np.float32)


def classify(grey: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Class indices [H, W] by two thresholds over the grey levels of `grey` [H, W]."""
    low, high = threshold_multiotsu(np.rint(grey.clip(0, 255)).astype(np.uint8), classes=3)
    classes = np.full(grey.shape, MATRIX, np.uint8)
    classes[grey <= high] = FE
    classes[grey <= low] = MG2SI
    return classes


def main() -> None:
    """Score both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    data_set = load_data_set(parser.parse_args().data)
    scores = {name: Confusion(data_set.phases) for name in ("as it is", "flattened")}
    rims = dict.fromkeys(scores, FalseRims())
    for sample in data_set.samples:
        pixels, truth = data_set.read(sample)
        grey = pixels.mean(axis=-1, dtype=np.float32)
        for name, picture in (("as it is", grey), ("flattened", flattened(grey))):
            found = classify(picture)
            scores[name].add(truth, found)
            rims[name] += false_rims(truth, found, around=MG2SI, mistaken_for=FE)
    print(f"multi-Otsu on {len(data_set.samples)} frames of {data_set.name}")
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
