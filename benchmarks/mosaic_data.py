"""A stitched mosaic of any size as a TIFF, for measuring: as-cast aluminium, made by region.

    python benchmarks/mosaic_data.py mosaic.tif --size 32768x32768
    python benchmarks/mosaic_data.py mosaic.tif --size 32768x32768 --layout one-strip
    python benchmarks/mosaic_data.py mosaic.tif --layout strips --compression zstd --seed 3

A few synthetic micrographs lie side by side in a seeded arrangement, turned and mirrored, as
fields of view do; the same arguments give the same pixels. Rows are made as they are written, so
that a mosaic is as large as the disk has room for.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from hptl_deploy.files import atomic_path
from hptl_deploy.synthesis import make_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

Layout = Literal["tiles", "strips", "one-strip"]
Compression = Literal["none", "deflate", "zstd"]

CELL = 1024
"""Side of a field of view, px."""
TILE = 256
STRIP = 16
"""Rows."""
_BAR = 192  # rows of a frame, above and below, in which its scale bar lies: left out
_TURNS = 8
_SCHEMES = {"none": (1, {}), "deflate": (8, {"level": 1}), "zstd": (50000, {"level": 1})}
_LARGEST_CLASSIC = 2**32 - 2**24
"""Bytes of pixels beyond which BigTIFF is needed."""


class Mosaic:
    """The mosaic of a seed, `height` x `width` px: any of its rows, at any time."""

    def __init__(self, height: int, width: int, seed: int = 0, frames: int = 6) -> None:
        """Raises ValueError for sides or `frames` below 1."""
        if min(height, width, frames) < 1:
            raise ValueError(f"{width} x {height} px of {frames} frames; expected 1 or more")
        self.height = height
        self.width = width
        self.seed = seed
        self.frames = frames
        cells = (-(-height // CELL), -(-width // CELL))
        rng = np.random.default_rng([seed, 77])
        self._places = rng.integers(0, frames * _TURNS, cells)

    @cached_property
    def _made(self) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8], float]]:
        """(pixels, labels, pixel size) of every frame."""

        def make(number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], float]:
            frame = make_frame(self.seed, number, CELL + 2 * _BAR, CELL)
            inside = slice(_BAR, _BAR + CELL)
            return frame.pixels()[inside], frame.labels[inside], frame.camera.pixel_size_um

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(make, range(self.frames)))

    @property
    def pixel_size_um(self) -> float:
        """Of the first frame; the others' differ a little."""
        return self._made[0][2]

    def rows(self, y0: int, y1: int) -> NDArray[np.uint8]:
        """RGB uint8 [y1 - y0, W, 3]."""
        return self._cut(y0, y1, [pixels for pixels, _, _ in self._made])

    def labels(self, y0: int, y1: int) -> NDArray[np.uint8]:
        """The truth, class indices of the paper's phases: uint8 [y1 - y0, W]."""
        return self._cut(y0, y1, [labels for _, labels, _ in self._made])

    def _cut(self, y0: int, y1: int, frames: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        out = np.empty((y1 - y0, self.width, *frames[0].shape[2:]), np.uint8)
        for row in range(y0 // CELL, -(-y1 // CELL)):
            top, bottom = max(y0, row * CELL), min(y1, (row + 1) * CELL)
            for column, place in enumerate(self._places[row]):
                cell = _turned(frames[place // _TURNS], int(place) % _TURNS)
                target = out[top - y0 : bottom - y0, column * CELL : (column + 1) * CELL]
                target[...] = cell[top - row * CELL : bottom - row * CELL, : target.shape[1]]
        return out


def write_mosaic(
    path: Path, mosaic: Mosaic, layout: Layout = "tiles", compression: Compression = "none"
) -> None:
    """Write `mosaic` to `path`, whole or not at all; BigTIFF where it might pass 4 GiB.

    Raises ValueError for one compressed strip, which cannot be written by parts, and OSError.
    """
    import tifffile

    if layout == "one-strip" and compression != "none":
        raise ValueError("one strip cannot be compressed by parts; choose tiles or strips")
    shape = (mosaic.height, mosaic.width, 3)
    shapes: dict[str, dict[str, Any]] = {
        "tiles": {"tile": (TILE, TILE)},
        "strips": {"rowsperstrip": STRIP},
        "one-strip": {"rowsperstrip": mosaic.height},
    }
    about = {"synthetic": True, "seed": mosaic.seed, "frames": mosaic.frames}
    per_cm = 1e4 / mosaic.pixel_size_um
    with (
        atomic_path(path) as temporary,
        tifffile.TiffWriter(temporary, bigtiff=math.prod(shape) > _LARGEST_CLASSIC) as writer,
    ):
        writer.write(
            _stored(mosaic, layout == "tiles", compression),
            shape=shape,
            dtype=np.uint8,
            photometric="rgb",
            compression=_SCHEMES[compression][0],
            resolution=(per_cm, per_cm),
            resolutionunit="CENTIMETER",
            description=json.dumps(about),
            software="hptl-deploy benchmarks",
            metadata=None,
            **shapes[layout],
        )


def _stored(mosaic: Mosaic, tiled: bool, compression: Compression) -> Iterator[bytes]:
    """Tiles or strips as they are stored; one strip is the same without compression."""
    pack = partial(_pack, compression)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for top in range(0, mosaic.height, TILE):
            band = mosaic.rows(top, min(top + TILE, mosaic.height))
            yield from pool.map(pack, _tiles(band) if tiled else _strips(band))


def _pack(compression: Compression, piece: NDArray[np.uint8]) -> bytes:
    from tifffile import TIFF

    scheme, options = _SCHEMES[compression]
    if scheme == 1:
        return piece.tobytes()
    return bytes(TIFF.COMPRESSORS[scheme](np.ascontiguousarray(piece), **options))


def _tiles(band: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Whole tiles; those on the border are filled up by their edge."""
    for left in range(0, band.shape[1], TILE):
        tile = band[:, left : left + TILE]
        fill = [(0, TILE - side) for side in tile.shape[:2]]
        yield np.pad(tile, [*fill, (0, 0)], mode="edge")


def _strips(band: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for top in range(0, len(band), STRIP):
        yield band[top : top + STRIP]


def _turned(frame: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """One of the eight ways to lay a square frame down; a view."""
    laid = np.swapaxes(frame, 0, 1) if turn & 4 else frame
    return laid[:: -1 if turn & 1 else 1, :: -1 if turn & 2 else 1]


def main() -> None:
    """Parse the command line and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="32768x32768", metavar="WxH")
    parser.add_argument("--layout", choices=get_args(Layout), default="tiles")
    parser.add_argument("--compression", choices=get_args(Compression), default="none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=6, help="different fields of view")
    options = parser.parse_args()
    start = time.perf_counter()
    try:
        width, height = (int(side) for side in options.size.split("x"))
        mosaic = Mosaic(height, width, options.seed, options.frames)
        write_mosaic(options.out, mosaic, options.layout, options.compression)
    except ValueError as exc:
        parser.error(f"--size {options.size}, --layout {options.layout}: {exc}")
    seconds = time.perf_counter() - start
    print(f"{options.out}: {options.out.stat().st_size / 1e9:.2f} GB in {seconds:.0f} s")


if __name__ == "__main__":
    main()
