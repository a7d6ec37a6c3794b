"""What programs write into a TIFF's description: OME-XML, ImageJ, tifffile's shape.

All three say how many planes there are and which of them are channels of one picture.
Planes are counted in the order the program states; `Layout.stride` is the distance
between two channels of one picture:

    czt (ImageJ's default), 3 channels     plane 0 1 2 | 3 4 5 | ...     stride 1
    ztc, 2 slices, 3 channels              plane 0 . 2 . 4 . , . 1 . 3 . 5     stride 2
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from hptl_deploy.micrographs import calibration as calibrations
from hptl_deploy.micrographs.base import Calibration

if TYPE_CHECKING:
    from tifffile import TiffPage

LARGEST_SIZE = 2**31
"""Of one dimension in a description. Texts may hold numbers of thousands of digits."""


@dataclass(frozen=True)
class Layout:
    """How many planes there are and which are channels of the same picture."""

    planes: int = 1
    channels: int = 1
    stride: int = 1


def imagej_fields(page: TiffPage) -> dict[str, str] | None:
    """The lines `key=value` of ImageJ's description, or None for another program's."""
    for text in (page.description, page.description1):
        if text.startswith("ImageJ="):
            lines = (line.partition("=") for line in text.splitlines())
            return {key.strip(): value.strip() for key, _, value in lines}
    return None


def imagej_layout(fields: dict[str, str], page: TiffPage) -> Layout:
    """Planes by ImageJ's hyperstack dimensions; samples of one page are no planes."""
    sizes = {
        "c": _count(fields.get("channels")),
        "z": _count(fields.get("slices")),
        "t": _count(fields.get("frames")),
    }
    if sizes["c"] == int(page.samplesperpixel):
        sizes["c"] = 1  # some programs call R, G and B of one page channels
    order = fields.get("order", "czt").lower()
    if sorted(order) != ["c", "t", "z"]:
        order = "czt"
    stride = prod(sizes[axis] for axis in order[: order.index("c")])
    planes = max(prod(sizes.values()), _count(fields.get("images")) if sizes["c"] == 1 else 1)
    return Layout(planes, sizes["c"], stride)


def imagej_calibration(fields: dict[str, str], page: TiffPage) -> Calibration | None:
    """From the unit in the description and the resolution tags; None where not stated."""
    unit = fields.get("unit", "")
    if calibrations.is_no_unit(unit):
        return None
    size = calibrations.unit_um(unit)
    if size is None:
        return Calibration(None, f"ImageJ: the unit {unit[:20]!r} is unknown")
    density = _resolution(page)
    if density is None:
        return None
    return calibrations.from_density(
        *density, size, "ImageJ", of_devices=size == calibrations.UM_PER_INCH
    )


def tag_calibration(page: TiffPage) -> Calibration | None:
    """From XResolution, YResolution and ResolutionUnit; None where not stated."""
    density = _resolution(page)
    if density is None:
        return None
    units = {2: calibrations.UM_PER_INCH, 3: 1e4, 4: 1e3, 5: 1.0}
    tag = page.tags.get(296)
    # An absent unit is the inch by the standard.
    unit = 2 if tag is None else tag.value
    size = units.get(int(unit)) if isinstance(unit, int) else None
    if size is None:
        stated = density != (1.0, 1.0)
        return Calibration(None, "TIFF tags: a resolution without a unit") if stated else None
    return calibrations.from_density(*density, size, "TIFF tags")


def shaped_layout(page: TiffPage) -> Layout | None:
    """Planes by the shape that tifffile notes as JSON; None for another program's."""
    if not page.description.startswith('{"shape":'):
        return None
    try:
        noted = json.loads(page.description)
        shape = [int(size) for size in noted["shape"]]
        axes = str(noted.get("axes", ""))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    pixels = prod(page.shape)
    sizes = sorted(shape) or [0]
    if not pixels or sizes[0] < 1 or sizes[-1] > LARGEST_SIZE or prod(shape) % pixels:
        return None
    planes = prod(shape) // pixels
    if len(axes) != len(shape):
        return Layout(planes)
    leading = next(n for n in range(len(shape) + 1) if prod(shape[:n]) >= planes)
    if "C" not in axes[:leading]:
        return Layout(planes)
    at = axes.index("C")
    return Layout(planes, shape[at], prod(shape[at + 1 : leading]))


def _resolution(page: TiffPage) -> tuple[float, float] | None:
    """Pixels per unit in x and y, or None where the tags are missing or 0/0."""
    values = []
    for code in (282, 283):
        tag = page.tags.get(code)
        value = None if tag is None else tag.value
        if not (isinstance(value, tuple) and len(value) == 2 and value[1]):
            return None
        values.append(float(value[0] / value[1]))
    return values[0], values[1]


def _count(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 10 and int(text) else 1
