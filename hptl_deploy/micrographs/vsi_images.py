"""The pictures of an Olympus VSI file as its fields describe them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import calibration as calibrations
from hptl_deploy.micrographs import limits, vsi_tags
from hptl_deploy.micrographs.base import UNCALIBRATED, Calibration
from hptl_deploy.micrographs.vsi_tags import Field

_SCALE, _UNIT, _NAME, _KIND = 2019, 2020, 2030, 2074
_BOUNDARY, _IS_EXTERNAL, _TILE_ORIGIN = 2053, 20005, 2410
_MEANING = 2023
_DEPTH = 100049
_BESIDE = {
    1: "an overview",
    2: "a mask of the specimen",
    4: "a picture of the focus",
    8: "a map of sharpness",
    16: "a map of heights",
    32: "a texture",
    64: "a stack behind a picture of extended focus",
    256: "a macro picture",
    1024: "a list of focus points",
}
"""Kinds of pictures that are no micrographs; 0 is one."""
FOCAL_PLANE, TIME = 1, 2
_CHANNELS = {3: "wavelength", 4: "channel", 9: "phase"}
_UNIT_FORM = re.compile(r"10\^(-?\d{1,2})m\^1")
_UM_EXPONENT = 6


@dataclass(frozen=True)
class VsiImage:
    """A micrograph whose pixels lie in a folder of their own."""

    name: str
    """For sentences."""
    number: int
    """Of the folder, stackN."""
    width: int
    height: int
    origin: tuple[int, int] | None
    """Of the first tile, (x, y) in pixels of the picture; None where it is not stated."""
    axes: tuple[int | None, ...]
    """What the third, fourth, ... number of a tile's place means; None where nothing is said."""
    depth: int | None
    """Significant bits, where they are stated."""
    calibration: Calibration


def images_of(collection: Field) -> list[VsiImage]:
    """The micrographs among the pictures, in the file's order; at least one.

    Raises MicrographError where the fields contradict themselves.
    """
    found: list[VsiImage] = []
    others: list[str] = []
    for field in collection.all(vsi_tags.IMAGE):
        properties = field.first(vsi_tags.PROPERTIES) or Field(0, None, b"")
        kind = properties.number(_KIND) or 0
        name = f"the picture {properties.text(_NAME)[:40]!r}"
        if kind == 0:
            found.append(_image(name, field, properties))
        elif kind in _BESIDE:
            others.append(f"{name} ({_BESIDE[kind]})")
        else:
            raise MicrographError(
                f"holds {name} of a kind that is not known here ({kind})",
                hint="Export the micrographs as TIFF from cellSens",
            )
    if not found:
        holds = f"holds no micrograph, only {', '.join(others[:3])}" if others else "holds none"
        raise MicrographError(
            f"{holds}; expected a picture with pixels in a folder beside it",
            hint="Export the micrograph as TIFF from cellSens",
        )
    if len({image.number for image in found}) < len(found):
        raise MicrographError("is damaged: two of its pictures share a folder; copy it again")
    return found


def _image(name: str, field: Field, properties: Field) -> VsiImage:
    frames = [one for one in _external(field) if one.first(_BOUNDARY)]
    if len(frames) != 1 or frames[0].number(_IS_EXTERNAL) == 0:
        raise MicrographError(
            f"holds {name} whose pixels do not lie in a folder of their own, which is not known "
            "here",
            hint="Export it as TIFF from cellSens",
        )
    boundary = frames[0].numbers(_BOUNDARY, "4i")
    if not boundary:
        raise MicrographError(f"is damaged: {name} has no size; copy it again")
    width, height = (int(side) for side in boundary[2:])
    limits.check_size(width, height)
    origin = frames[0].numbers(_TILE_ORIGIN, "2i")
    return VsiImage(
        name=name,
        number=field.second or 0,
        width=width,
        height=height,
        origin=(int(origin[0]), int(origin[1])) if origin else None,
        axes=_axes(name, field),
        depth=_depth(properties),
        calibration=_calibration(properties),
    )


def _external(field: Field) -> Iterator[Field]:
    for frame in field.all(vsi_tags.FRAME):
        yield from frame.all(vsi_tags.EXTERNAL_FILE)


def _axes(name: str, field: Field) -> tuple[int | None, ...]:
    """By the place of each dimension; the first two are columns and rows."""
    meanings: dict[int, int] = {}
    for order, dimension in enumerate(field.all(vsi_tags.DIMENSION)):
        place = order if dimension.second is None else dimension.second
        found = {one.number(_MEANING) for one in dimension.all(vsi_tags.PARAMETERS)} - {None}
        if not found:
            continue
        meaning = found.pop()
        if found or meaning is None or place in meanings or not 0 <= place < 16:
            raise MicrographError(
                f"is damaged: {name} has a dimension with several meanings; copy it again"
            )
        if meaning not in {FOCAL_PLANE, TIME, *_CHANNELS} or meaning in meanings.values():
            raise MicrographError(
                f"holds {name} with a dimension that is not known here ({meaning})",
                hint="Export it as TIFF from cellSens",
            )
        meanings[place] = meaning
    return tuple(meanings.get(place) for place in range(max(meanings, default=-1) + 1))


def channels_word(meaning: int | None) -> str | None:
    """What several pictures of one field are called where they are no pages; else None."""
    return None if meaning is None else _CHANNELS.get(meaning)


def _depth(properties: Field) -> int | None:
    """The camera's, where one is stated."""
    devices = properties.first(vsi_tags.DEVICES)
    depths: set[int] = set()
    waiting = [] if devices is None else [devices]
    while waiting:
        volume = waiting.pop()
        waiting += volume.fields
        if volume.tag == vsi_tags.CAMERA and (depth := volume.number(_DEPTH)) is not None:
            depths.add(depth)
    return depths.pop() if len(depths) == 1 else None


def _calibration(properties: Field) -> Calibration:
    scale = properties.numbers(_SCALE, "2d")
    if not scale:
        return UNCALIBRATED
    unit = properties.text(_UNIT)
    match = _UNIT_FORM.fullmatch(unit)
    if match is None:
        return Calibration(None, f"VSI: the unit {_shown(unit)!r} is unknown")
    um = 10.0 ** (int(match[1]) + _UM_EXPONENT)
    return calibrations.from_computed(scale[0] * um, scale[1] * um, "VSI")


def _shown(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:20])
