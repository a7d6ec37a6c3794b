"""labelme: one JSON file per image; a later shape lies on top, as labelme draws it."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hptl_deploy.annotations.base import Mask, Picture, Reader, Shape
from hptl_deploy.annotations.drawing import ellipse
from hptl_deploy.annotations.sources import (
    Problem,
    files,
    first_json,
    inside,
    member,
    noted,
    points,
    read_json,
    ring,
)
from hptl_deploy.wording import one_line, shown_value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Labelme(Reader):
    """Polygons, rectangles, circles and masks."""

    name = "labelme"
    later_covers = True

    def recognises(self, source: Path) -> bool:
        """True where the first readable JSON file has shapes and an imagePath."""
        document = first_json(source)
        return isinstance(document, dict) and {"shapes", "imagePath"} <= document.keys()

    def read(self, source: Path, problems: list[str]) -> list[Picture]:
        """One picture per JSON file."""
        found = []
        for path in files(source, ".json"):
            with noted(problems):
                found.append(_picture(source, path, problems))
        return found


def _picture(source: Path, path: Path, problems: list[str]) -> Picture:
    document = read_json(path)
    shapes = member(document, "shapes", list, path.name)
    image = inside(source, path.parent, document.get("imagePath"), path.name)
    picture = Picture(path.name, image)
    width, height = document.get("imageWidth"), document.get("imageHeight")
    if width is not None or height is not None:
        picture.size = (
            member(document, "imageWidth", int, path.name),
            member(document, "imageHeight", int, path.name),
        )
    for place, entry in enumerate(shapes):
        with noted(problems):
            picture.shapes.append(_shape(entry, f"{path.name}, shape {place + 1}"))
    return picture


def _shape(entry: dict[str, Any], where: str) -> Shape:
    label = member(entry, "label", str, where)
    where = f"{where} ({one_line(label, 40)})"
    kind = entry.get("shape_type") or "polygon"
    if kind == "polygon":
        return Shape(where, (label,), (ring(entry.get("points"), where),))
    if kind not in ("rectangle", "circle", "mask"):
        raise Problem(
            f"{where}: is a {shown_value(kind)}, which has no area known here; expected polygon, "
            "rectangle, circle or mask"
        )
    corners = points(entry.get("points"), where)
    if len(corners) != 2:
        raise Problem(f"{where}: a {kind} has 2 points, found {len(corners)}")
    (x0, y0), (x1, y1) = corners
    if kind == "rectangle":
        return Shape(where, (label,), ([(x0, y0), (x1, y0), (x1, y1), (x0, y1)],))
    if kind == "circle":
        radius = math.dist(*corners)
        return Shape(where, (label,), (ellipse(x0, y0, radius, radius),))
    return Shape(where, (label,), mask=Mask.of(_mask(entry, where), round(y0), round(x0)))


def _mask(entry: dict[str, Any], where: str) -> NDArray[np.bool_]:
    import numpy as np
    from PIL import Image

    text = member(entry, "mask", str, where)
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=["PNG"]) as png:
            if png.width * png.height > Image.MAX_IMAGE_PIXELS:  # type: ignore[operator]
                raise ValueError(f"{png.width} x {png.height} px are too many")
            stored = np.asarray(png)
    except Exception as exc:
        raise Problem(f"{where}: its mask is not a readable PNG ({one_line(str(exc))})") from exc
    if stored.ndim != 2:
        raise Problem(f"{where}: its mask has {stored.ndim} dimensions; expected one channel")
    return np.asarray(stored > 0)
