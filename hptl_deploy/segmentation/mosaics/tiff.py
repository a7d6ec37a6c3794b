"""A mosaic's maps as tiled, compressed BigTIFF with a pyramid, put together from stored bands.

    directory           full level, palette, pixel size, OME-XML
      SubIFDs           level 1, level 2, ...: every 2^k-th row and column, reduced pictures

This is the pyramid of OME-TIFF, which tifffile, Bio-Formats (Fiji, QuPath) and OMERO read; only
there does Bio-Formats look for levels below a directory. What `classmap` writes as the
description of a small map is the description of the OME image here. The full level's tiles are
copied as they are, the levels' rows are cut into tiles anew: of either no more than a band is in
memory. Same bands, same model, same settings: same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from hptl_deploy.errors import ResultsError
from hptl_deploy.phases import Phase, palette
from hptl_deploy.segmentation.classmap import SOFTWARE
from hptl_deploy.segmentation.mosaics.band import (
    TILE,
    BandedMap,
    BandSource,
    encode_tiles,
    read_rows,
    read_tiles,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def write_class_mosaic(
    path: Path,
    banded: BandedMap,
    bands: Sequence[BandSource],
    phases: Sequence[Phase],
    description: dict[str, Any],
) -> None:
    """Write a class map of uint8 indices from its encoded `bands`, top to bottom.

    `description` is `classmap.describe`'s. Raises ResultsError for a band that is damaged,
    missing or another's, and OSError; a file that was begun is the caller's to remove.
    """
    colours = palette(phases).astype(np.uint16).T * 257  # [256, 3] of 8 bits -> [3, 256] of 16
    _write(path, banded, bands, description, photometric="palette", colormap=colours)


def write_confidence_mosaic(
    path: Path, banded: BandedMap, bands: Sequence[BandSource], description: dict[str, Any]
) -> None:
    """Write probabilities x 255 as a grey TIFF; else as `write_class_mosaic`."""
    what = {"content": "probability of the winning class x 255", **description}
    _write(path, banded, bands, what, photometric="minisblack")


def read_mosaic_description(path: Path) -> dict[str, Any]:
    """What `description` was, from a mosaic that was written here.

    Raises ResultsError for another file's, OSError as the system does.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            text = file.pages.first.description
        if "<!" in text:
            raise ValueError("entities, which can expand without end")
        root = ElementTree.fromstring(text)
        found: dict[str, Any] = json.loads(root.findtext(f".//{{{_SCHEMA}}}Description") or "")
    except (tifffile.TiffFileError, ElementTree.ParseError, ValueError) as exc:
        raise ResultsError(
            f"{path}: does not say what it is; expected a map of a mosaic by hptl-deploy",
            hint="Run again with --overwrite",
        ) from exc
    return found


def _write(
    path: Path,
    banded: BandedMap,
    bands: Sequence[BandSource],
    description: dict[str, Any],
    **options: Any,  # noqa: ANN401
) -> None:
    import tifffile

    if len(bands) != banded.bands:
        raise ResultsError(
            f"{path.name}: {len(bands)} bands are there, {banded.height} rows need "
            f"{banded.bands}; run again"
        )
    with tifffile.TiffWriter(path, bigtiff=True, byteorder="<", ome=False) as writer:
        for level in range(banded.levels + 1):
            tiles = _full_tiles(banded, bands) if level == 0 else _tiles(banded, bands, level)
            first = {
                "subifds": banded.levels or None,
                "description": _ome_xml(banded, description),
                "software": SOFTWARE,
            }
            writer.write(
                tiles,
                shape=banded.shape(level),
                dtype=np.uint8,
                tile=(TILE, TILE),
                compression="zlib",
                metadata=None,
                maxworkers=1,
                **_resolution(description["pixel_size_um"], level),
                **(first if level == 0 else {"subfiletype": 1, "software": False}),
                **options,
            )


def _full_tiles(banded: BandedMap, bands: Sequence[BandSource]) -> Iterator[bytes]:
    for number, source in enumerate(bands):
        yield from read_tiles(banded, number, source)


def _tiles(banded: BandedMap, bands: Sequence[BandSource], level: int) -> Iterator[bytes]:
    """The tiles of a reduced level; its bands need not be whole tiles high."""
    waiting: NDArray[np.uint8] = np.empty((0, banded.shape(level)[1]), np.uint8)
    for number, source in enumerate(bands):
        waiting = np.concatenate([waiting, read_rows(banded, number, source, level)])
        whole = len(waiting) // TILE * TILE
        yield from encode_tiles(waiting[:whole])
        waiting = waiting[whole:].copy()
    yield from encode_tiles(waiting)


def _resolution(pixel_size_um: float | None, level: int) -> dict[str, Any]:
    """The tags of a level: its pixels are 2^level times as wide."""
    if pixel_size_um is None:
        return {}
    per_cm = 1e4 / (pixel_size_um * 2**level)
    return {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}


def _ome_xml(banded: BandedMap, description: dict[str, Any]) -> str:
    """One image of one plane, with `description` as JSON; ASCII, as TIFF wants it.

    tifffile's own OME-XML holds a new UUID each time.
    """
    size = description["pixel_size_um"]
    # Micrometres are OME's unit where none is stated.
    physical = "" if size is None else f'PhysicalSizeX="{size!r}" PhysicalSizeY="{size!r}" '
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<OME xmlns="{_SCHEMA}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{_SCHEMA} {_SCHEMA}/ome.xsd" Creator={quoteattr(SOFTWARE)}>'
        '<Image ID="Image:0" Name="map">'
        f"<Description>{escape(json.dumps(description))}</Description>"
        '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" BigEndian="false" '
        f'Interleaved="false" SizeX="{banded.width}" SizeY="{banded.height}" SizeC="1" '
        f'SizeZ="1" SizeT="1" {physical}><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        '<TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>'
    )
