"""A small mosaic's class map and its stored bands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hptl_deploy.segmentation.mosaics.band import BandedMap, encode_band
from support.drawings import blobs

HEIGHT, WIDTH = 1111, 2221  # and the levels 556 x 1111 and 278 x 556
ABOUT: dict[str, Any] = {
    "software": "hptl-deploy 0",
    "model": "m",
    "model_sha256": "0" * 64,
    "precision": "fp32",
    "phases": [{"key": "b", "name": "β <&\"'> phase"}],
    "pixel_size_um": 0.25,
}

BANDED = BandedMap(HEIGHT, WIDTH, 256)  # bands of half a tile in level 1, of a quarter in level 2


def class_map() -> NDArray[np.uint8]:
    """Indices 0 to 2, uint8 [HEIGHT, WIDTH]."""
    return (blobs(HEIGHT, WIDTH, seed=5) // 86).astype(np.uint8)


def store_bands(banded: BandedMap, pixels: NDArray[np.uint8], folder: Path) -> list[Path]:
    """Every band in a file of its own, in order."""
    paths = []
    for number in range(banded.bands):
        paths.append(folder / f"{number}.band")
        paths[-1].write_bytes(encode_band(banded, number, pixels[slice(*banded.rows(number))]))
    return paths
