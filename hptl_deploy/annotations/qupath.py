"""QuPath's GeoJSON: one file per image of the same name; holes are holes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hptl_deploy.annotations.base import Picture, Reader, Ring, Shape
from hptl_deploy.annotations.sources import (
    Problem,
    files,
    first_json,
    images,
    member,
    named,
    noted,
    only,
    read_json,
    ring,
)
from hptl_deploy.wording import one_line, shown_value


class QuPath(Reader):
    """Polygons and multipolygons; no order, so contested pixels are ignored."""

    name = "qupath"

    def recognises(self, source: Path) -> bool:
        """True where there is a GeoJSON file, by its ending or its content."""
        if files(source, ".geojson"):
            return True
        document = first_json(source)
        return isinstance(document, dict) and document.get("type") == "FeatureCollection"

    def read(self, source: Path, problems: list[str]) -> list[Picture]:
        """One picture per file."""
        candidates = images(source)
        found = []
        for path in files(source, ".geojson", ".json"):
            with noted(problems):
                # QuPath may keep the image's ending: a.tif.geojson.
                image = only(named(candidates, path.stem), path.stem, path.name)
                picture = Picture(path.name, image)
                for place, feature in enumerate(_features(path)):
                    with noted(problems):
                        picture.shapes.append(_shape(feature, f"{path.name}, feature {place + 1}"))
                found.append(picture)
        return found


def _features(path: Path) -> list[Any]:
    document = read_json(path)
    if isinstance(document, list):
        return document
    if isinstance(document, dict) and document.get("type") == "Feature":
        return [document]
    found: list[Any] = member(document, "features", list, path.name)
    return found


def _shape(feature: object, where: str) -> Shape:
    properties = member(feature, "properties", dict, where)
    classification = properties.get("classification")
    label = ""
    if classification is not None:
        label = member(classification, "name", str, where)
        where = f"{where} ({one_line(label, 40)})"
    geometry = member(feature, "geometry", dict, where)
    kind = geometry.get("type")
    if kind not in ("Polygon", "MultiPolygon"):
        raise Problem(
            f"{where}: is a {shown_value(kind)}, which has no area; expected Polygon or "
            "MultiPolygon"
        )
    coordinates = member(geometry, "coordinates", list, where)
    polygons = [coordinates] if kind == "Polygon" else coordinates
    rings: list[Ring] = []
    for polygon in polygons:
        if not isinstance(polygon, list):
            raise Problem(f"{where}: expected a list of rings, found {shown_value(polygon)}")
        rings += [ring(entry, where) for entry in polygon]
    if not rings:
        raise Problem(f"{where}: is empty")
    return Shape(where, (label,), tuple(rings))
