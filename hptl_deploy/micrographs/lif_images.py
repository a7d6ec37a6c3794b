"""The images of a Leica LIF file as its XML describes them.

An `Element` with `Data/Image/ImageDescription` is an image. Below that, each `ChannelDescription`
has `DataType`, `ChannelTag`, `Resolution` (bits) and `BytesInc`, each `DimensionDescription` has
`DimID`, `NumberOfElements`, `Length` and `Unit` (from the first element to the last one), and
`BytesInc`. The element's `Memory` names the block of its pixels by `MemoryBlockID`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import calibration as calibrations
from hptl_deploy.micrographs.base import UNCALIBRATED, Calibration

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_DESCRIPTION = "Data/Image/ImageDescription"
_COLUMNS, _ROWS = 1, 2
_FURTHER = {10: "position", 11: "loop", 4: "time", 3: "focal plane"}
"""Dimensions of the pages, slowest first."""
_GREY, _COLOURS = 0, (1, 2, 3)
_LARGEST = 2**62
"""Bytes; sums of a few still fit into 64 bits."""


@dataclass(frozen=True)
class Axis:
    """One dimension of an image."""

    count: int
    bytes: int
    """From one element to the next one."""


@dataclass(frozen=True)
class LifImage:
    """An image; every distance is in bytes."""

    name: str
    block: str
    """The memory block that holds its pixels."""
    columns: Axis
    rows: Axis
    further: tuple[Axis, ...]
    """Of positions, times, focal planes: slowest first."""
    offsets: tuple[int, ...]
    """Of the grey channel, or of red, green and blue."""
    bits: int
    """Of a sample, as stored."""
    depth: int
    """Significant bits."""
    calibration: Calibration

    @property
    def planes(self) -> int:
        """Pages."""
        return prod(axis.count for axis in self.further)

    @property
    def stored_bytes(self) -> int:
        """From its first sample to behind its last one."""
        axes = (self.columns, self.rows, *self.further)
        last = sum((axis.count - 1) * axis.bytes for axis in axes)
        return last + max(self.offsets) + self.bits // 8


def named_images(root: Element) -> Iterator[tuple[str, Element]]:
    """(Name for sentences, element) of every image below `root`, in the order of the tree."""
    for element in root.iter("Element"):
        if element.find("Data/Image") is not None:
            yield f"the image {element.get('Name', '')[:40]!r}", element


def image_of(name: str, element: Element) -> LifImage:
    """What the element says of its image.

    Raises MicrographError where that contradicts itself or is of a kind that is not read.
    """
    axes, descriptions = _axes(name, element)
    columns, rows = axes.pop(_COLUMNS), axes.pop(_ROWS)
    unknown = [kind for kind, axis in axes.items() if kind not in _FURTHER and axis.count > 1]
    if unknown:
        raise MicrographError(
            f"holds {name} with a dimension that is no picture's (LIF dimension {min(unknown)}); "
            "expected columns, rows, positions, times and focal planes",
            hint="Export the image as TIFF from LAS X",
        )
    offsets, bits, depth = _channels(name, element)
    _check_apart(name, (columns, rows, *axes.values()), bits // 8)
    memory = element.find("Memory")
    return LifImage(
        name=name,
        block="" if memory is None else memory.get("MemoryBlockID", ""),
        columns=columns,
        rows=rows,
        further=tuple(axes[kind] for kind in _FURTHER if kind in axes),
        offsets=offsets,
        bits=bits,
        depth=depth,
        calibration=_calibration(descriptions[_COLUMNS], descriptions[_ROWS]),
    )


def _axes(name: str, element: Element) -> tuple[dict[int, Axis], dict[int, Element]]:
    axes: dict[int, Axis] = {}
    descriptions: dict[int, Element] = {}
    for item in element.iterfind(f"{_DESCRIPTION}/Dimensions/DimensionDescription"):
        kind = _number(name, item, "DimID")
        axis = Axis(_number(name, item, "NumberOfElements"), _number(name, item, "BytesInc"))
        if kind in axes or axis.count < 1:
            raise _damaged(name, f"has {axis.count} elements along dimension {kind}")
        axes[kind], descriptions[kind] = axis, item
    if not axes.keys() >= {_COLUMNS, _ROWS}:
        raise MicrographError(
            f"holds {name} without columns and rows; expected pictures",
            hint="Export the pictures of the project as TIFF from LAS X",
        )
    return axes, descriptions


def _check_apart(name: str, axes: Iterable[Axis], sample_bytes: int) -> None:
    """Raise MicrographError where two samples would lie at the same place.

    So many pixels as are declared then need so many bytes of the file.
    """
    least = sample_bytes
    for axis in sorted((axis for axis in axes if axis.count > 1), key=lambda axis: axis.bytes):
        if axis.bytes < least:
            raise _damaged(name, "has rows that lie upon each other")
        least = axis.bytes * axis.count


def _channels(name: str, element: Element) -> tuple[tuple[int, ...], int, int]:
    """(Distances of the samples, bits of each, significant ones)."""
    channels = element.findall(f"{_DESCRIPTION}/Channels/ChannelDescription")
    tags = {_number(name, channel, "ChannelTag"): channel for channel in channels}
    if len(channels) == 1:
        wanted = channels
    elif len(channels) == len(_COLOURS) and tags.keys() == set(_COLOURS):
        wanted = [tags[colour] for colour in _COLOURS]
    else:
        raise MicrographError(
            f"holds {name} with {len(channels)} channels; expected one, or red, green and blue",
            hint="Export one channel, or a colour picture, as TIFF from LAS X",
        )
    kinds = {
        (_number(name, channel, "DataType"), _number(name, channel, "Resolution"))
        for channel in wanted
    }
    kind, depth = kinds.pop()
    if kinds:
        raise MicrographError(
            f"holds {name} with channels of different depths; expected one depth",
            hint="Export it as TIFF of 8 or 16 bits from LAS X",
        )
    if kind != 0 or not 1 <= depth <= 16:
        raise MicrographError(
            f"holds {name} with {'floating-point' if kind else 'integer'} samples of {depth} bits; "
            "expected unsigned integers of up to 16 bits",
            hint="Export it as TIFF of 8 or 16 bits from LAS X",
        )
    offsets = tuple(_number(name, channel, "BytesInc") for channel in wanted)
    return offsets, 8 if depth <= 8 else 16, depth


def _calibration(columns: Element, rows: Element) -> Calibration:
    sizes = []
    for axis in (columns, rows):
        unit = calibrations.unit_um(axis.get("Unit", ""))
        # The length is that from the first element to the last one.
        steps = int(axis.get("NumberOfElements", 1)) - 1
        try:
            length = float(axis.get("Length", 0))
        except ValueError:
            length = 0.0
        if calibrations.is_no_unit(axis.get("Unit", "")) or steps < 1 or length == 0:
            return UNCALIBRATED
        if unit is None:
            return Calibration(None, f"LIF: the unit {axis.get('Unit', '')[:20]!r} is unknown")
        sizes.append(length * unit / steps)
    return calibrations.from_computed(sizes[0], sizes[1], "LIF")


def _number(name: str, element: Element, attribute: str) -> int:
    text = element.get(attribute, "")
    if not text.isdecimal() or len(text) > 19 or int(text) > _LARGEST:
        raise _damaged(name, f"says {text[:20]!r} for {attribute}")
    return int(text)


def _damaged(name: str, what: str) -> MicrographError:
    return MicrographError(f"is damaged: {name} {what}; copy it again")
