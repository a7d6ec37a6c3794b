"""Particles as GeoJSON for QuPath: one feature per particle, in pixels of the full micrograph.

QuPath's own form (`objectType`, `classification` and `measurements`, since version 0.4). They are
detections, which QuPath holds in large numbers and apart from what users draw. Coordinates are
pixels from the upper left corner, along pixel edges. The file's member `hptl_deploy`, which RFC
7946 (6.1) lets readers pass over, says where it comes from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hptl_deploy.measurement.particles import Particles
from hptl_deploy.outputs.numbering import Numbered
from hptl_deploy.outputs.outlines import Part, particles_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hptl_deploy.phases import Phase


def write_geojson(
    path: Path,
    particles: Numbered,
    phases: Sequence[Phase],
    description: dict[str, Any],
    figures: Particles | None,
) -> None:
    """Write the particles of a page; `description` is `classmap.describe`'s.

    `figures` are what was measured of them, in the same order; those that a particle lacks are
    left out. Raises OSError.
    """
    columns = {} if figures is None else _columns(figures, description["pixel_size_um"])
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(f'{{"type":"FeatureCollection","hptl_deploy":{_json(description)},"features":[')
        comma = ""
        for number, index, parts in particles_of(particles):
            phase = phases[index]
            values = {
                name: float(f"{value:.6g}")
                for name, column in columns.items()
                if not math.isnan(value := column[number - 1])
            }
            properties = {
                "objectType": "detection",
                "name": str(number),
                "classification": {"name": phase.name, "color": list(phase.colour)},
                **({"measurements": values} if values else {}),
            }
            feature = {"type": "Feature", "geometry": _geometry(parts), "properties": properties}
            file.write(f"{comma}\n{_json(feature)}")
            comma = ","
        file.write("\n]}\n")


def _columns(figures: Particles, pixel_size_um: float | None) -> dict[str, NDArray[Any]]:
    """Some of the particle table's columns, under its names; in px where the scale is unknown."""
    unit, size = ("px", 1.0) if pixel_size_um is None else ("um", pixel_size_um)
    area = "area_px" if pixel_size_um is None else "area_um2"
    return {
        area: figures.area * size**2,
        f"equivalent_diameter_{unit}": figures.equivalent_diameter * size,
        f"max_feret_{unit}": figures.max_feret * size,
        f"min_feret_{unit}": figures.min_feret * size,
        "aspect_ratio": figures.aspect_ratio,
        "circularity": figures.circularity,
        "mean_confidence": figures.mean_confidence,
    }


def _geometry(parts: list[Part]) -> dict[str, Any]:
    polygons = [[_closed(ring) for ring in (part.exterior, *part.holes)] for part in parts]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _closed(ring: NDArray[np.int32]) -> list[list[int]]:
    corners: list[list[int]] = ring.tolist()
    return [*corners, corners[0]]


def _json(document: object) -> str:
    return json.dumps(document, separators=(",", ":"))
