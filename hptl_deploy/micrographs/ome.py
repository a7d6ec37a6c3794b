"""OME-XML in a TIFF: which directories are which planes, pixel size, significant bits."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from xml.etree import ElementTree

from hptl_deploy.micrographs import calibration as calibrations
from hptl_deploy.micrographs.base import Calibration
from hptl_deploy.micrographs.tiff_metadata import LARGEST_SIZE, Layout

_MOST_MENTIONS = 16
"""Of a directory in one image's blocks; sound files mention it once."""


@dataclass(frozen=True)
class OmeImage:
    """One `Image` element."""

    layout: Layout
    directories: dict[int, int]
    """Index of a plane: index of its directory in the file."""
    calibration: Calibration | None
    """None where the pixel size is not stated."""
    significant_bits: int | None


def is_ome(description: str) -> bool:
    """True for a description that is OME-XML."""
    return description.rstrip()[-4:] == "OME>"


def ome_images(description: str, directories: int, file_name: str) -> list[OmeImage] | None:
    """The images that have planes in this file of so many directories.

    A data set may be spread over several files; each is opened by itself, so planes
    that lie in others are left out. Returns None where the XML cannot be understood.
    """
    if "<!DOCTYPE" in description or "<!ENTITY" in description:
        return None  # OME-XML has neither; entities can expand without end
    try:
        root = ElementTree.fromstring(description)
        own_id = root.get("UUID")
        found = [
            _image(pixels, directories, own_id, file_name)
            for image in root
            if _name(image) == "Image"
            for pixels in image
            if _name(pixels) == "Pixels"
        ]
    except (ElementTree.ParseError, ValueError, KeyError, RecursionError):
        return None
    return [image for image in found if image.directories] or None


def _image(
    pixels: ElementTree.Element, directories: int, own_id: str | None, file_name: str
) -> OmeImage:
    channels = [element for element in pixels if _name(element) == "Channel"]
    samples = int(channels[0].get("SamplesPerPixel", 1)) if channels else 1
    order = pixels.attrib["DimensionOrder"][2:]  # XYCZT: the fastest axis first
    sizes = {axis: max(1, int(pixels.attrib[f"Size{axis}"])) for axis in order}
    if max(samples, *sizes.values()) > LARGEST_SIZE:
        raise ValueError("a size beyond all bounds")
    sizes["C"] = max(1, sizes["C"] // max(1, samples))
    strides = {axis: prod(sizes[a] for a in order[:at]) for at, axis in enumerate(order)}
    planes = prod(sizes.values())
    bits = pixels.get("SignificantBits")
    return OmeImage(
        layout=Layout(planes, sizes["C"], strides["C"]),
        directories=_directories(pixels, strides, planes, directories, own_id, file_name),
        calibration=_calibration(pixels),
        significant_bits=int(bits) if bits else None,
    )


def _directories(
    pixels: ElementTree.Element,
    strides: dict[str, int],
    planes: int,
    directories: int,
    own_id: str | None,
    file_name: str,
) -> dict[int, int]:
    blocks = [element for element in pixels if _name(element) == "TiffData"]
    if not blocks:
        return {plane: plane for plane in range(min(planes, directories))}
    found: dict[int, int] = {}
    steps = 0
    for block in blocks:
        if not _in_this_file(block, own_id, file_name):
            continue
        directory = int(block.get("IFD", 0))
        plane = sum(int(block.get(f"First{axis}", 0)) * strides[axis] for axis in strides)
        count = int(block.get("PlaneCount", 1 if "IFD" in block.attrib else directories))
        if plane < 0 or directory < 0:
            raise ValueError("negative index")
        here = range(min(count, directories - directory, planes - plane))
        steps += len(here)
        if steps > _MOST_MENTIONS * directories:
            raise ValueError("many blocks for the same directories")
        for step in here:
            found[plane + step] = directory + step
    return found


def _in_this_file(block: ElementTree.Element, own_id: str | None, file_name: str) -> bool:
    for element in block:
        if _name(element) == "UUID":
            same_name = element.get("FileName", "").lower() == file_name.lower()
            return same_name or (own_id is not None and element.text == own_id)
    return True


def _calibration(pixels: ElementTree.Element) -> Calibration | None:
    stated = pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeY")
    if stated[0] is None:
        return None
    sizes: list[float] = []
    for axis, text in zip("XY", stated, strict=True):
        unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
        if calibrations.is_no_unit(unit):
            return None
        factor = calibrations.unit_um(unit)
        if factor is None:
            return Calibration(None, f"OME: the unit {unit[:20]!r} is unknown")
        # A height that is not stated is the width.
        sizes.append(sizes[0] if text is None else float(text) * factor)
    return calibrations.from_sizes(sizes[0], sizes[1], "OME")


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
