"""From a TIFF's directories to its pictures: what is a page, what a channel of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs.base import Calibration
from hptl_deploy.micrographs.ome import is_ome, ome_images
from hptl_deploy.micrographs.tiff_metadata import (
    Layout,
    imagej_calibration,
    imagej_fields,
    imagej_layout,
    shaped_layout,
    tag_calibration,
)
from hptl_deploy.micrographs.tiff_vendors import vendor_calibration

if TYPE_CHECKING:
    from tifffile import TiffPage

_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_PHOTOMETRIC_MASK = 4
_MOST_PLANES_BEHIND = 100_000  # so that a few bytes cannot claim millions of pages
_METAMORPH_PLANES = 33629  # UIC2tag: one entry per plane behind a single directory


@dataclass(frozen=True)
class Plane:
    """One stored picture: the `number`-th behind a directory, 0 for its own."""

    page: TiffPage
    number: int = 0

    @property
    def shift(self) -> int:
        """Bytes between the directory's own pixels and this plane's."""
        return self.number * sum(self.page.databytecounts)


@dataclass(frozen=True)
class Picture:
    """One page to be: a plane, or three planes that are R, G and B."""

    planes: Sequence[Plane]
    calibration: Calibration | None
    significant_bits: int | None = None


def pictures(directories: Sequence[TiffPage], file_name: str, stored: int) -> list[Picture]:
    """The pictures of a file of `stored` bytes, in file order; at least one.

    Raises MicrographError for channels that are neither grey nor RGB, and for planes
    that the description states and the file does not hold.
    """
    found = _by_description(directories, file_name, stored)
    full = [picture for picture in found if not _is_reduced(picture.planes[0].page)]
    # A file of nothing but "reduced" pictures was marked by mistake.
    return full or found


def _by_description(directories: Sequence[TiffPage], file_name: str, stored: int) -> list[Picture]:
    first = directories[0]
    tag = first.tags.get(_METAMORPH_PLANES)
    if tag is not None and tag.count > 1:
        raise MicrographError(
            "holds a MetaMorph stack, which cannot be read yet; save it as TIFF in Fiji"
        )
    if is_ome(first.description):
        return _ome(directories, file_name)
    fields = imagej_fields(first)
    if fields is None:
        return _plain(directories, stored)
    layout = imagej_layout(fields, first)
    planes = (
        _planes_behind(first, layout.planes, stored)
        if len(directories) == 1
        else [Plane(page) for page in directories]
    )
    return [
        Picture(
            group, imagej_calibration(fields, first) or _stated(group[0].page, len(directories))
        )
        for group in _grouped(dict(enumerate(planes)), layout)
    ]


def _ome(directories: Sequence[TiffPage], file_name: str) -> list[Picture]:
    images = ome_images(directories[0].description, len(directories), file_name)
    if images is None:
        damaged = Calibration(None, "OME: the metadata cannot be understood")
        return [Picture([Plane(page)], damaged) for page in directories]
    found = []
    for image in images:
        planes = {plane: Plane(directories[at]) for plane, at in image.directories.items()}
        for group in _grouped(planes, image.layout):
            calibration = image.calibration or _stated(group[0].page, len(directories))
            found.append(Picture(group, calibration, image.significant_bits))
    return sorted(found, key=lambda picture: picture.planes[0].page.index)


def _plain(directories: Sequence[TiffPage], stored: int) -> list[Picture]:
    """Every directory by itself, but series as tifffile writes them by their shape."""
    found: list[Picture] = []
    at = 0
    while at < len(directories):
        first = directories[at]
        layout = shaped_layout(first) or Layout()
        run = 1  # directories until the next series
        while run < layout.planes and at + run < len(directories):
            if directories[at + run].description:
                break
            run += 1
        if run == 1:
            planes = _planes_behind(first, layout.planes, stored)
        elif run == layout.planes:
            planes = [Plane(page) for page in directories[at : at + run]]
        else:
            raise MicrographError(
                f"is cut short: it states {layout.planes} pictures, {run} are there; copy it again"
            )
        for group in _grouped(dict(enumerate(planes)), layout):
            found.append(Picture(group, _stated(group[0].page, len(directories))))
        at += run
    return found


def _planes_behind(page: TiffPage, count: int, stored: int) -> list[Plane]:
    """`count` planes that lie one after the other from the pixels of `page` on.

    This is how ImageJ and tifffile store stacks above 4 GiB: one directory, the rest
    without. A stale description may claim planes that were not kept; where the pixels
    are compressed or scattered there can be none.
    """
    offsets, lengths = page.dataoffsets, page.databytecounts
    contiguous = int(page.compression) == 1 and all(
        start + length == following
        for start, length, following in zip(offsets[:-1], lengths[:-1], offsets[1:], strict=False)
    )
    if count == 1 or not contiguous or not offsets:
        return [Plane(page)]
    if count > _MOST_PLANES_BEHIND:
        raise MicrographError(
            f"states {count} pictures behind one directory; expected {_MOST_PLANES_BEHIND} at most",
            hint="Save it in parts in Fiji",
        )
    end = offsets[0] + count * sum(lengths)
    if end > stored or not sum(lengths):
        raise MicrographError(
            f"is cut short: its {count} pictures end at byte {end}, the file at byte {stored}; "
            "copy it again"
        )
    return [Plane(page, number) for number in range(count)]


def _grouped(planes: Mapping[int, Plane], layout: Layout) -> list[list[Plane]]:
    """Planes that are channels of one picture together, R, G, B in this order."""
    if layout.channels not in {1, 3}:
        raise MicrographError(
            f"holds {layout.channels} channels; expected 1 (grey) or 3 (RGB)",
            hint="Choose the channels and save them in Fiji: Image > Type > RGB Color",
        )
    groups: dict[int, list[Plane]] = {}
    for number in sorted(planes):
        channel = number // layout.stride % layout.channels
        groups.setdefault(number - channel * layout.stride, []).append(planes[number])
    for group in groups.values():
        if len(group) != layout.channels:
            raise MicrographError(
                f"is incomplete: a picture of {layout.channels} channels has only {len(group)}; "
                "copy or export it again"
            )
    return list(groups.values())


def _stated(page: TiffPage, pages: int) -> Calibration | None:
    """By the page's own tags; the file has so many pages."""
    return vendor_calibration(page, pages) or tag_calibration(page)


def _is_reduced(page: TiffPage) -> bool:
    """True for thumbnails and masks."""
    return bool(int(page.subfiletype) & (_REDUCED | _MASK)) or (
        262 in page.tags and int(page.photometric) == _PHOTOMETRIC_MASK
    )
