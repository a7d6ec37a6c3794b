"""Maps as OME-Zarr: a folder with a pyramid that viewers read by parts, also over a network.

    <base>_classes.ome.zarr/   0.5: zarr.json     0.4: .zgroup .zattrs
        0/                     the full map
        1/  2/  ...            every 2nd, 4th, ... row and column

Versions 0.5 (Zarr 3) and 0.4 (Zarr 2) of https://ngff.openmicroscopy.org. Rows are written in
pieces, so that a mosaic is never in memory. In 0.5 the chunks of 1024 rows of full width share a
file (sharding); in 0.4, which knows no such thing, every chunk of 1024 x 1024 px is a file. Chunks
that are all 0 (matrix) are left out. A level's pixel is one of the full map, not a mean of several,
and lies where that one lies, so scales are the only transformations. The same map gives the same
bytes: hence zstd, Zarr's own default, and for 0.4 zlib; gzip would hold the time of day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy.phases import IGNORE, palette
from hptl_deploy.segmentation.mosaics.band import BandedMap, BandedRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_deploy.phases import Phase

SUFFIX = ".ome.zarr"

_ROWS = 1024  # of a piece; a multiple of the chunks' height
_CHUNK_V3 = 512
_ZLIB_LEVEL = 6  # as in `classmap`
_ZSTD_LEVEL = 9


def write_class_zarr(
    folder: Path,
    pixels: BandedRows,
    phases: Sequence[Phase],
    description: dict[str, Any],
    version: str,
) -> None:
    """Write a class map of uint8 indices as a label image of OME-Zarr `version`.

    `description` is `classmap.describe`'s. Raises OSError; a folder that was begun is the
    caller's to remove.
    """
    colours = palette(phases).tolist()
    values = [*range(len(phases)), IGNORE]
    names = [*({"key": phase.key, "name": phase.name} for phase in phases), {"name": "left out"}]
    label = {
        "colors": [{"label-value": value, "rgba": [*colours[value], 255]} for value in values],
        "properties": [
            {"label-value": value, **name} for value, name in zip(values, names, strict=True)
        ],
    }
    _write(folder, pixels, "classes", {"image-label": label}, description, version)


def write_confidence_zarr(
    folder: Path, pixels: BandedRows, description: dict[str, Any], version: str
) -> None:
    """Write probabilities x 255 as an image; else as `write_class_zarr`."""
    what = {"content": "probability of the winning class x 255", **description}
    channel = {
        "label": "confidence",
        "color": "FFFFFF",
        "family": "linear",
        "active": True,
        "window": {"start": 0, "end": 255, "min": 0, "max": 255},
    }
    _write(folder, pixels, "confidence", {"omero": {"channels": [channel]}}, what, version)


def banded_rows(pixels: NDArray[np.uint8]) -> BandedRows:
    """A map [H, W] in memory and its levels, in the form that mosaics have."""
    height, width = pixels.shape
    banded = BandedMap(height, width, -(-height // _ROWS) * _ROWS)
    return banded, lambda level: [pixels[:: 2**level, :: 2**level]]


def _write(
    folder: Path,
    pixels: BandedRows,
    name: str,
    about: dict[str, Any],
    description: dict[str, Any],
    version: str,
) -> None:
    import zarr

    banded, rows = pixels
    metadata = {"multiscales": [_multiscale(banded, name, description["pixel_size_um"])], **about}
    if version == "0.5":
        attributes: dict[str, Any] = {"ome": {"version": version, **metadata}}
    else:
        metadata["multiscales"][0]["version"] = version
        if "image-label" in metadata:
            metadata["image-label"] = {"version": version, **metadata["image-label"]}
        attributes = metadata
    group = zarr.create_group(
        folder,
        zarr_format=3 if version == "0.5" else 2,
        attributes={**attributes, "hptl_deploy": description},
    )
    for level in range(banded.levels + 1):
        shape = banded.shape(level)
        layout = _layout(shape, version)
        array = group.create_array(str(level), shape=shape, dtype="uint8", **layout)
        top = 0
        for piece in _pieces(rows(level)):
            array[top : top + len(piece)] = piece
            top += len(piece)


def _layout(shape: tuple[int, int], version: str) -> dict[str, Any]:
    """How an array lies in files."""
    if version == "0.5":
        from zarr.codecs import ZstdCodec

        across = -(-shape[1] // _CHUNK_V3) * _CHUNK_V3
        return {
            "chunks": (_CHUNK_V3, _CHUNK_V3),
            "shards": (_ROWS, across),
            "compressors": ZstdCodec(level=_ZSTD_LEVEL),
            "dimension_names": ["y", "x"],
            "fill_value": 0,
        }
    from numcodecs import Zlib

    return {
        "chunks": (_ROWS, _ROWS),
        "compressors": Zlib(_ZLIB_LEVEL),
        "chunk_key_encoding": {"name": "v2", "separator": "/"},
        "fill_value": 0,
    }


def _multiscale(banded: BandedMap, name: str, pixel_size_um: float | None) -> dict[str, Any]:
    """Axes and levels; where the pixel size is unknown, pixels without a unit."""
    unit = {} if pixel_size_um is None else {"unit": "micrometer"}
    size = 1.0 if pixel_size_um is None else pixel_size_um
    return {
        "name": name,
        "type": "nearest",
        "axes": [{"name": axis, "type": "space", **unit} for axis in "yx"],
        "datasets": [
            {
                "path": str(level),
                "coordinateTransformations": [{"type": "scale", "scale": [size * 2**level] * 2}],
            }
            for level in range(banded.levels + 1)
        ],
    }


def _pieces(rows: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """The same rows in pieces of `_ROWS`, the last of what is left."""
    waiting: NDArray[np.uint8] | None = None
    for more in rows:
        waiting = more if waiting is None or not len(waiting) else np.concatenate([waiting, more])
        whole = len(waiting) // _ROWS * _ROWS
        for top in range(0, whole, _ROWS):
            yield waiting[top : top + _ROWS]
        waiting = waiting[whole:]
    if waiting is not None and len(waiting):
        yield waiting
