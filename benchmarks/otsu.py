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

from hptl_deploy.datasets import load_data_set
from hptl_deploy.measurement.rims import FalseRims, false_rims
from hptl_deploy.measurement.scores import Confusion
from hptl_deploy.synthesis.canvas import FE, MATRIX, MG2SI
from hptl_train.rivals.otsu import banded, flattened, thresholds

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FLATTENING_SIGMA = 150.0
_LIGHT_SIGMA = 37.5
_BY_GREY = (MG2SI, FE, MATRIX)


def multi_otsu(grey: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Class indices [H, W] by multi-Otsu's two thresholds over `grey` [H, W]."""
    limits = thresholds(grey, len(_BY_GREY))
    assert limits is not None, "a frame of fewer than three greys"
    return banded(grey, limits, _BY_GREY)


def with_hindsight(grey: NDArray[np.float32], truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Class indices [H, W] by the thresholds one would choose who knows `truth` [H, W]."""
    matrix = (truth == MATRIX).astype(np.float32)
    light = ndimage.gaussian_filter(grey * matrix, _LIGHT_SIGMA, truncate=3)
    light /= ndimage.gaussian_filter(matrix, _LIGHT_SIGMA, truncate=3) + 1e-6
    flat = grey / np.maximum(light, 1)
    levels = {k: float(np.median(flat[truth == k])) for k in np.unique(truth).tolist()}
    # A phase that is not there gets no range of levels.
    high = (levels[MATRIX] + levels[FE]) / 2 if FE in levels else -1.0
    low = (levels[MG2SI] + levels.get(FE, levels[MATRIX])) / 2 if MG2SI in levels else -1.0
    return banded(flat, np.array([low, max(low, high)]), _BY_GREY)


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
        flat = flattened(grey, _FLATTENING_SIGMA)
        maps = multi_otsu(grey), multi_otsu(flat), with_hindsight(grey, truth)
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
