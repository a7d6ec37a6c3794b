"""Particles as a label image: every pixel holds the number of its particle.

The numbers are those of the particle table, 0 is everything else. uint16, or uint32 where there are
more than 65535 particles; ImageJ shows 32-bit integers as floating point, which is exact up to
16 777 216 particles.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy.measurement.runs import Runs, label_image
from hptl_deploy.segmentation.classmap import write_map

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write_labels(
    path: Path, runs: Runs, shape: tuple[int, int], description: dict[str, Any]
) -> None:
    """Write particles of a page [H, W] as a grey TIFF; `description` is `classmap.describe`'s.

    Raises OSError.
    """
    labels: NDArray[Any] = label_image(runs, shape)
    if labels.dtype == np.int32:  # numbers are positive, so the bits are the same
        labels = labels.view(np.uint32)
    what = {"content": "number of the particle, 0 elsewhere", **description}
    write_map(path, labels, what, photometric="minisblack")
