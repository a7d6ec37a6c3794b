"""Particles as a label image: every pixel holds the number of its particle.

The numbers are those of the particle table, 0 is everything else. uint16, or uint32 where there are
more than 65535 particles; ImageJ shows 32-bit integers as floating point, which is exact up to
16 777 216 particles. A mosaic's is a tiled BigTIFF, written row of tiles by row of tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    bands = _bands(particles, dtype)
    if not tiled:
        write_map(path, np.concatenate(list(bands)), what, photometric="minisblack")
        return
    write_map(
        path,
        _tiles(bands, dtype),
        what,
        photometric="minisblack",
        shape=particles.shape,
        dtype=dtype,
        tile=(TILE, TILE),
        bigtiff=True,
    )


def _bands(particles: Numbered, dtype: type[np.unsignedinteger[Any]]) -> Iterator[NDArray[Any]]:
    for height, runs in particles.bands():
        yield label_image(runs, (height, particles.shape[1])).astype(dtype, copy=False)


def _tiles(
    bands: Iterator[NDArray[Any]], dtype: type[np.unsignedinteger[Any]]
) -> Iterator[NDArray[Any]]:
    """Tiles row by row, filled with 0 at the border; bands but the last are whole tiles high."""
    for band in bands:
        for top in range(0, len(band), TILE):
            for left in range(0, band.shape[1], TILE):
                tile = np.zeros((TILE, TILE), dtype)
                part = band[top : top + TILE, left : left + TILE]
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile
