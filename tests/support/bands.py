"""Reading by bands: how a stream walks down a page, and pages to read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray


def steps(height: int, rows: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Bands of `rows` rows from top to bottom, each repeating `overlap` of the one before."""
    top = 0
    while True:
        bottom = min(top + rows, height)
        yield top, bottom
        if bottom == height:
            return
        top = bottom - overlap


def noise(height: int, width: int, dtype: type = np.uint8, channels: int = 3) -> NDArray[Any]:
    rng = np.random.default_rng(height + width)
    return rng.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)


def write_tiff(path: Path, array: NDArray[Any], **options: Any) -> Path:
    options.setdefault("photometric", "rgb")
    tifffile.imwrite(path, array, metadata=None, **options)
    return path
