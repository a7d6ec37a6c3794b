"""Particles as a label image: every pixel holds the number of its particle.

The numbers are those of the particle table, 0 is everything else. uint16, or uint32 where there are
more than 65535 particles; ImageJ shows 32-bit integers as floating point, which is exact up to
16 777 216 particles. A mosaic's is a tiled BigTIFF, written row of tiles by row of tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy.measurement.runs import label_image
from hptl_deploy.outputs.numbering import Numbered
from hptl_deploy.segmentation.classmap import write_map
from hptl_deploy.segmentation.mosaics.band import TILE

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write_labels(
    path: Path, particles: Numbered, description: dict[str, Any], *, tiled: bool
) -> None:
    """Write the particles of a page as a grey TIFF; `description` is `classmap.describe`'s.

    `tiled` for a page that comes in bands. Raises OSError.
    """
    what = {"content": "number of the particle, 0 elsewhere", **description}
    dtype = np.uint16 if particles.count <= np.iinfo(np.uint16).max else np.uint32
    if not tiled:
        labels = np.concatenate(list(_strips(particles, dtype)))
        write_map(path, labels, what, photometric="minisblack")
        return
    write_map(
        path,
        _tiles(particles, dtype),
        what,
        photometric="minisblack",
        shape=particles.shape,
        dtype=dtype,
        tile=(TILE, TILE),
        bigtiff=True,
    )


def _strips(particles: Numbered, dtype: type[np.unsignedinteger[Any]]) -> Iterator[NDArray[Any]]:
    """Rows of the label image from the top, as many at a time as a tile has."""
    for height, runs in particles.bands():
        for top in range(0, height, TILE):
            bottom = min(top + TILE, height)
            first, behind = np.searchsorted(runs.row, [top, bottom])  # in scan order
            strip = runs.at(slice(first, behind))
            strip = replace(strip, row=strip.row - np.int32(top))
            yield label_image(strip, (bottom - top, particles.shape[1])).astype(dtype, copy=False)


def _tiles(particles: Numbered, dtype: type[np.unsignedinteger[Any]]) -> Iterator[NDArray[Any]]:
    """Tiles row by row, filled with 0 at the border; bands but the last are whole tiles high."""
    for strip in _strips(particles, dtype):
        for left in range(0, strip.shape[1], TILE):
            tile = np.zeros((TILE, TILE), dtype)
            part = strip[:, left : left + TILE]
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile
