"""Particles as GeoJSON for QuPath: one feature per particle, in pixels of the full micrograph.

QuPath's own form (`objectType`, `classification` and `measurements`, since version 0.4). They are
detections, which QuPath holds in large numbers and apart from what users draw. Coordinates are
pixels from the upper left corner, along pixel edges. The file's member `hptl_deploy`, which RFC
7946 (6.1) lets readers pass over, says where it comes from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    measurements: Mapping[str, Sequence[float | None]] | None = None,
) -> None:
    """Write the particles of a page; `description` is `classmap.describe`'s.

    `measurements` has columns, one value per particle in their order; None leaves one out.
    Raises OSError.
    """
    columns = measurements or {}
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(f'{{"type":"FeatureCollection","hptl_deploy":{_json(description)},"features":[')
        comma = ""
        for number, index, parts in particles_of(particles):
            phase = phases[index]
            values = {
                name: value
                for name, column in columns.items()
                if (value := column[number - 1]) is not None
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
