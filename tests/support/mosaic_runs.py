"""Runs in which small pages are mosaics: of several bands, of several tiles each."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.model import load_model
from hptl_deploy.segmentation import SegmentOptions, segment
from hptl_deploy.segmentation.mosaics.mosaic import BANDS_FOLDER
from support.drawings import blobs
from support.sinks import Recorder

HEIGHT, WIDTH = 1100, 700
TILES = (8, 8, 8, 8, 4)
"""Of the bands of such a page, with a model of stride 8 and halo 24."""
BANDS = len(TILES)
KINDS = ("classes", "confidence", "json", "measured", "picture.npy")
"""Of the files of a stored band."""
REDUCED = 4
"""The overlay shows every fourth row and column."""

Calls = list[tuple[int, ...]]
"""Shapes of the batches that an engine was given."""

LIMITS = {
    "memory.LARGE": 500_000,
    "reading.LARGE": 500_000,
    "mosaics.measured.LARGE": 500_000,
    "mosaics.banding._MOST_ROWS": 256,
    "mosaics.banding._TILE_PIXELS": 50_000,
    "mosaics.banding._TILE_BYTES": 1,
    "mosaics.mosaic.OVERLAY_SIDE": 300,
    "mosaics.band._SMALL_ENOUGH": 256,
}


def lower(put: Callable[[str, Any], None]) -> None:
    """`put(name, value)` for every limit; `MonkeyPatch.setattr`, or `setattr` in a process."""
    for name, value in LIMITS.items():
        put(f"hptl_deploy.segmentation.{name}", value)


def colours(height: int = HEIGHT, width: int = WIDTH, seed: int = 1) -> NDArray[np.uint8]:
    """uint8 [H, W, 3], all three classes everywhere."""
    return np.stack([blobs(height, width, seed=seed + c) for c in range(3)], axis=-1)


def save_tiff(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    """One page in strips of 64 rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, rowsperstrip=64, **options)
    return path


def whole(engine: Engine, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(classes, confidence) of one call for the whole page, uint8 [H, W, 3]."""
    height, width, _ = pixels.shape
    stride = engine.model.card.stride
    filled = np.pad(pixels, ((0, -height % stride), (0, -width % stride), (0, 0)), mode="edge")
    answer = engine.infer(filled[None])
    return answer.classes[0, :height, :width], answer.confidence[0, :height, :width]


def stored(out: Path) -> list[str]:
    """What lies in the folders of bands."""
    return sorted(path.name for path in (out / BANDS_FOLDER).glob("*/*"))


def results(out: Path) -> dict[str, bytes]:
    """Bytes of every result, and of fields.csv, by name."""
    found = [*out.rglob("*_*.tif"), *out.rglob("*_overlay.*"), *out.rglob("*_particles.*")]
    found.append(out / "fields.csv")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in found}


def tiles(calls: Calls) -> int:
    """How many were asked for since the last time."""
    count = sum(shape[0] for shape in calls)
    calls.clear()
    return count


FULL = (
    "{}: cannot be written (No space left on device), so the run stops. What is done stays done; "
    "start it again when the folder can be written"
)
"""What is said of a results folder in which `full_disk` was met."""


def full_disk(*_: Any, **__: Any) -> None:
    """Raise what a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def main() -> None:
    """MODEL SOURCE OUT: a slow run, one band after another, in a process of its own."""

    def put(name: str, value: object) -> None:
        module, attribute = name.rsplit(".", 1)
        setattr(import_module(module), attribute, value)

    lower(put)
    put("hptl_deploy.segmentation.memory.BAND_BYTES", 4000)
    model, source, out = map(Path, sys.argv[1:])
    with open_engine(load_model(model), "cpu") as engine:
        options = SegmentOptions(source, out, confidence=True)
        segment(options, engine, Recorder(lambda _: time.sleep(0.05)))


if __name__ == "__main__":
    main()
