"""A stitched mosaic of any size as a TIFF, for measuring: as-cast aluminium, made by region.

    python benchmarks/mosaic_data.py mosaic.tif --size 32768x32768
    python benchmarks/mosaic_data.py mosaic.tif --size 32768x32768 --layout one-strip
    python benchmarks/mosaic_data.py mosaic.tif --layout strips --compression zstd --seed 3

Four fields of one synthetic specimen lie side by side in a seeded arrangement, turned and
mirrored; the same arguments give the same pixels. Rows are made as they are written, so that a
mosaic is as large as the disk has room for.
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
from hptl_deploy.synthesis import SyntheticFrame, make_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

Layout = Literal["tiles", "strips", "one-strip"]
Compression = Literal["none", "deflate", "zstd"]

TILE = 256
STRIP = 16
"""Rows."""
_BAR = 192  # rows of a frame, above and below, in which its scale bar lies: left out
_FIELDS, _TURNS = 2, 8  # the frame is 2 x 2 fields
_SCHEMES = {"none": (1, {}), "deflate": (8, {"level": 1}), "zstd": (50000, {"level": 1})}
_LARGEST_CLASSIC = 2**32 - 2**24
"""Bytes of pixels beyond which BigTIFF is needed."""


class Mosaic:
    """The mosaic of a seed, `height` x `width` px: any of its rows, at any time."""

    def __init__(self, height: int, width: int, seed: int = 1, field: int = 1024) -> None:
        """`field` is the side of a field of view, px. Raises ValueError for sides below 1."""
        if min(height, width, field) < 1:
            raise ValueError(f"{width} x {height} px in fields of {field}; expected 1 or more")
        self.height = height
        self.width = width
        self.seed = seed
        self.field = field
        rng = np.random.default_rng([seed, 77])
        cells = (-(-height // field), -(-width // field))
        self._places = rng.integers(0, _FIELDS * _FIELDS * _TURNS, cells)

    @cached_property
    def _frame(self) -> SyntheticFrame:
        side = _FIELDS * self.field
        return make_frame(self.seed, 0, side + 2 * _BAR, side)

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        return self._frame.pixels()[_BAR:-_BAR]

    @property
    def pixel_size_um(self) -> float:
        """As the frame's camera has it."""
        return self._frame.camera.pixel_size_um

    def rows(self, y0: int, y1: int) -> NDArray[np.uint8]:
        """RGB uint8 [y1 - y0, W, 3]."""
        return self._cut(y0, y1, self._pixels)

    def labels(self, y0: int, y1: int) -> NDArray[np.uint8]:
        """The truth, class indices of the paper's phases: uint8 [y1 - y0, W]."""
        return self._cut(y0, y1, self._frame.labels[_BAR:-_BAR])

    def _cut(self, y0: int, y1: int, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        side = self.field
        out = np.empty((y1 - y0, self.width, *frame.shape[2:]), np.uint8)
        for row in range(y0 // side, -(-y1 // side)):
            top, bottom = max(y0, row * side), min(y1, (row + 1) * side)
            for column, place in enumerate(self._places[row]):
                cell = _field(frame, int(place), side)
                target = out[top - y0 : bottom - y0, column * side : (column + 1) * side]
                target[...] = cell[top - row * side : bottom - row * side, : target.shape[1]]
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
    about = {"synthetic": True, "seed": mosaic.seed, "field_px": mosaic.field}
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


def _field(frame: NDArray[np.uint8], place: int, side: int) -> NDArray[np.uint8]:
    """One of the frame's fields in one of the eight ways to lay a square down; a view."""
    place, turn = divmod(place, _TURNS)
    top, left = place // _FIELDS * side, place % _FIELDS * side
    field = frame[top : top + side, left : left + side]
    laid = np.swapaxes(field, 0, 1) if turn & 4 else field
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
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    start = time.perf_counter()
    try:
        width, height = (int(side) for side in options.size.split("x"))
        mosaic = Mosaic(height, width, options.seed)
        write_mosaic(options.out, mosaic, options.layout, options.compression)
    except ValueError as exc:
        parser.error(f"--size {options.size}, --layout {options.layout}: {exc}")
    seconds = time.perf_counter() - start
    print(f"{options.out}: {options.out.stat().st_size / 1e9:.2f} GB in {seconds:.0f} s")


if __name__ == "__main__":
    main()
