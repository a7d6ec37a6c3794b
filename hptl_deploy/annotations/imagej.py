"""ImageJ's regions: NAME.roi or NAME.zip (also RoiSet_NAME.zip) beside the image NAME.

The class is the region's name, `Mg2Si` or numbered `Mg2Si-3` or `0003 mg2si`, else its group: 1 is
the phase after the first, as 0 means no group.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from hptl_deploy.annotations.base import Picture, Reader, Ring, Shape
from hptl_deploy.annotations.drawing import ellipse, rectangle
from hptl_deploy.annotations.sources import (
    Problem,
    files,
    images,
    named,
    noted,
    number,
    only,
    ring,
)
from hptl_deploy.wording import one_line

_MOST_MEMBERS = 100_000
_MOST_ROI_BYTES = 16 * 2**20
_MOST_ZIP_BYTES = 256 * 2**20
"""Unpacked."""


class ImageJ(Reader):
    """Polygons, freehand and traced outlines, rectangles, ovals; no order."""

    name = "imagej"

    def recognises(self, source: Path) -> bool:
        """True where there are .roi files or archives."""
        return bool(files(source, ".roi", ".zip"))

    def read(self, source: Path, problems: list[str]) -> list[Picture]:
        """One picture per .roi file or archive."""
        candidates = images(source)
        found = []
        for path in files(source, ".roi", ".zip"):
            with noted(problems):
                picture = Picture(path.name, _image(path, candidates))
                for name, content in _members(path):
                    with noted(problems):
                        picture.shapes.append(_shape(name, content, path.name))
                found.append(picture)
        return found


def _image(path: Path, candidates: list[Path]) -> Path:
    same = named(candidates, path.stem)
    stem = re.sub(r"(?i)^[-_ ]*roiset[-_ ]*|[-_ ]*roiset[-_ ]*$", "", path.stem)
    if not same and not stem:
        same = candidates  # RoiSet.zip, as ImageJ names it, beside its one image
    return only(same or named(candidates, stem), stem, path.name)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name without ending, bytes) of each region; raises Problem for what is no such file."""
    try:
        if path.suffix.lower() == ".roi":
            if path.stat().st_size > _MOST_ROI_BYTES:
                raise Problem(f"{path.name}: has more than {_MOST_ROI_BYTES >> 20} MiB")
            yield path.stem, path.read_bytes()
            return
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            total = sum(entry.file_size for entry in entries)
            if len(entries) > _MOST_MEMBERS or total > _MOST_ZIP_BYTES:
                raise Problem(
                    f"{path.name}: unpacks to {len(entries)} files of {total / 2**20:.0f} MiB; a "
                    f"set of regions has {_MOST_MEMBERS} and {_MOST_ZIP_BYTES >> 20} MiB at most"
                )
            for entry in entries:
                name = entry.filename.replace("\\", "/").rsplit("/", 1)[-1]
                if not name.lower().endswith(".roi"):
                    raise Problem(f"{path.name}: holds {one_line(name, 60)}, which is no .roi file")
                with archive.open(entry) as stream:
                    yield name[:-4], stream.read(_MOST_ROI_BYTES)
    except (OSError, ValueError, EOFError, RuntimeError, NotImplementedError) as exc:
        raise Problem(f"{path.name}: cannot be unpacked ({one_line(str(exc))})") from exc
    except (zipfile.BadZipFile, zlib.error) as exc:
        raise Problem(f"{path.name}: is damaged ({one_line(str(exc))})") from exc


def _shape(member_name: str, content: bytes, file: str) -> Shape:
    import numpy as np
    import roifile

    where = f"{file}, region {one_line(member_name, 40)}"
    try:
        roi = roifile.ImagejRoi.frombytes(content)
        name = roi.name or member_name
        kind = roifile.ROI_TYPE(roi.roitype)
        parts = list(roi.coordinates(multi=True)) if roi.composite else []
        several = [part.tolist() for part in parts]
        outline = [] if several or not roi.n_coordinates else np.asarray(roi.coordinates()).tolist()
    except Exception as exc:  # whatever a damaged file makes of the library
        raise Problem(f"{where}: is no readable ImageJ region ({one_line(str(exc))})") from exc
    left, top, right, bottom = roi.left, roi.top, roi.right, roi.bottom
    rings: tuple[Ring, ...]
    if several:
        rings = tuple(ring(part, where) for part in several)
    elif kind in (roifile.ROI_TYPE.RECT, roifile.ROI_TYPE.OVAL):
        x, y, width, height = map(float, (left, top, right - left, bottom - top))
        if roi.subpixelrect:
            x, y, width, height = (
                number(float(value), where) for value in (roi.xd, roi.yd, roi.widthd, roi.heightd)
            )
        if width <= 0 or height <= 0:
            raise Problem(f"{where}: is {width:g} x {height:g} px")
        if kind == roifile.ROI_TYPE.RECT:
            rings = (rectangle(x, y, width, height),)
        else:
            rings = (ellipse(x + width / 2, y + height / 2, width / 2, height / 2),)
    elif kind in (roifile.ROI_TYPE.POLYGON, roifile.ROI_TYPE.FREEHAND, roifile.ROI_TYPE.TRACED):
        rings = (ring(outline, where),)
    else:
        raise Problem(
            f"{where}: is a {kind.name.lower()}, which has no area; expected a polygon, freehand, "
            "traced, rectangle or oval region"
        )
    labels = (name, re.sub(r"[-_ ]*\d+$", "", name), re.sub(r"^\d+[-_ ]+", "", name))
    return Shape(where, labels, rings, group=int(roi.group))
