"""Label Studio's JSON export: brushes, polygons, rectangles, ellipses, in percent of the image."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hptl_deploy.annotations.base import Mask, Picture, Reader, Shape
from hptl_deploy.annotations.drawing import ellipse, rectangle
from hptl_deploy.annotations.label_studio_rle import decode_mask
from hptl_deploy.annotations.sources import (
    Problem,
    files,
    first_json,
    folder_of,
    images,
    inside,
    member,
    noted,
    number,
    only,
    read_json,
    ring,
    size_of,
)
from hptl_deploy.wording import one_line, shown_value

_KINDS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels")


class LabelStudio(Reader):
    """A list of tasks; no order of regions, so contested pixels are ignored."""

    name = "label-studio"

    def recognises(self, source: Path) -> bool:
        """True where the first readable JSON file is a list of tasks."""
        document = first_json(source)
        first = document[0] if isinstance(document, list) and document else None
        return isinstance(first, dict) and {"annotations", "data"} <= first.keys()

    def read(self, source: Path, problems: list[str]) -> list[Picture]:
        """One picture per task."""
        candidates = images(source)
        found = []
        for path in files(source, ".json"):
            with noted(problems):
                tasks = read_json(path)
                if not isinstance(tasks, list):
                    raise Problem(f"{path.name}: expected a list of tasks")
                for place, task in enumerate(tasks):
                    with noted(problems):
                        where = f"{path.name}, task {place + 1}"
                        found.append(_picture(source, candidates, task, where, problems))
        return found


def _picture(
    source: Path, candidates: list[Path], task: object, where: str, problems: list[str]
) -> Picture:
    image = _image(source, candidates, member(task, "data", dict, where), where)
    picture = Picture(where, image)
    kept = [
        entry
        for entry in member(task, "annotations", list, where)
        if not (isinstance(entry, dict) and entry.get("was_cancelled"))
    ]
    if len(kept) != 1:
        raise Problem(
            f"{where}: has {len(kept)} annotations; expected 1, so keep the one that counts"
        )
    regions = member(kept[0], "result", list, where)
    picture.size = next(filter(None, map(_stated, regions)), None)
    size_of(picture)  # before a brush takes the memory that a wrong size asks for
    for place, entry in enumerate(regions):
        here = f"{where}, region {place + 1}"
        with noted(problems):
            kind = entry.get("type") if isinstance(entry, dict) else None
            if kind not in _KINDS:
                raise Problem(
                    f"{here}: is of the type {shown_value(kind)}; expected {', '.join(_KINDS)}"
                )
            size = (
                member(entry, "original_width", int, here),
                member(entry, "original_height", int, here),
            )
            if picture.size != size:
                raise Problem(f"{here}: states another size than the region before it")
            picture.shapes.append(_shape(entry, kind, size, here))
    return picture


def _stated(region: object) -> tuple[int, int] | None:
    """(width, height) of the image as a region has it, where it does."""
    if not isinstance(region, dict):
        return None
    width, height = region.get("original_width"), region.get("original_height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _image(source: Path, candidates: list[Path], data: dict[str, Any], where: str) -> Path:
    """The image that the task's data names: by its path below the source, else by its name."""
    from hptl_deploy.micrographs import MICROGRAPH_SUFFIXES

    texts = [value for value in data.values() if isinstance(value, str)]
    named = [text for text in texts if text.lower().endswith(MICROGRAPH_SUFFIXES)]
    address = data.get("image") or (named[0] if len(named) == 1 else None)
    if not isinstance(address, str):
        raise Problem(f"{where}: its data name no image; expected one under the key image")
    try:
        parts = urlsplit(address)
    except ValueError as exc:
        raise Problem(f"{where}: its image {one_line(address)} is no address") from exc
    if parts.scheme or parts.netloc:
        raise Problem(
            f"{where}: its image {one_line(address)} is an address, and nothing is downloaded; put "
            "the image beside the export and name it by its file name"
        )
    local = parse_qs(parts.query).get("d", [""])[0] if "local-files" in parts.path else ""
    path = local or unquote(parts.path)
    if not path.startswith("/data/") or ".." in path.split("/"):
        root = folder_of(source)
        if path.startswith("/") or ".." in path.split("/") or (root / path).is_file():
            return inside(source, root, path, where)
    name = PurePosixPath(path).name
    # Uploads carry eight characters of their own before the name.
    for wanted in (name, re.sub(r"^[0-9a-f]{8}-", "", name)):
        if same := [p for p in candidates if p.name == wanted]:
            return only(same, name, where)
    return only([], name, where)


def _shape(entry: dict[str, Any], kind: str, size: tuple[int, int], where: str) -> Shape:
    value = member(entry, "value", dict, where)
    labels = member(value, kind, list, where)
    if len(labels) != 1 or not isinstance(labels[0], str):
        raise Problem(f"{where}: expected one label, found {shown_value(labels)}")
    label = (labels[0],)
    where = f"{where} ({one_line(labels[0], 40)})"
    width, height = size
    if kind == "brushlabels":
        pixels = decode_mask(value.get("rle"), width, height, where)
        return Shape(where, label, mask=Mask.of(pixels))
    if kind == "polygonlabels":
        corners = ring(value.get("points"), where)
        return Shape(where, label, ([(x * width / 100, y * height / 100) for x, y in corners],))
    x, y = (number(value.get(key), where) for key in ("x", "y"))
    x, y = x * width / 100, y * height / 100
    turn = number(value.get("rotation", 0), where)
    first, second = ("width", "height") if kind == "rectanglelabels" else ("radiusX", "radiusY")
    across = number(value.get(first), where) * width / 100
    down = number(value.get(second), where) * height / 100
    outline = rectangle if kind == "rectanglelabels" else ellipse
    return Shape(where, label, (outline(x, y, across, down, turn),))
