"""Files of others: JSON of a bearable size, numbers that are numbers, images inside the folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hptl_deploy.annotations.drawing import FARTHEST
from hptl_deploy.errors import DataSetError, MicrographError
from hptl_deploy.wording import one_line, shown_value

if TYPE_CHECKING:
    from hptl_deploy.annotations.base import Picture

MOST_BYTES = 256 * 2**20
"""Of one annotation file."""


class Problem(Exception):
    """A sentence about one file or shape; the readers turn it into a line of the report."""


def size_of(picture: Picture) -> tuple[int, int]:
    """(height, width) of the picture's image, px.

    Raises Problem where it cannot be used, or the annotations are for another size.
    """
    from hptl_deploy.micrographs import open_micrograph

    try:
        with open_micrograph(picture.image) as micrograph:
            pages = len(micrograph.pages)
            if pages != 1:
                raise MicrographError(f"holds {pages} pages; a labelled micrograph has one")
            micrograph.pages[0].read()
            height, width = micrograph.pages[0].height, micrograph.pages[0].width
    except MicrographError as exc:
        raise Problem(f"{picture.image.name}: {exc}") from exc
    if picture.size is not None and picture.size != (width, height):
        raise Problem(
            f"{picture.where}: is for {picture.size[0]} x {picture.size[1]} px, but "
            f"{picture.image.name} has {width} x {height} px"
        )
    return height, width


@contextmanager
def noted(problems: list[str]) -> Iterator[None]:
    """A Problem that is raised inside becomes a line of `problems`, and the work goes on."""
    try:
        yield
    except Problem as exc:
        problems.append(str(exc))


def read_json(path: Path) -> Any:  # noqa: ANN401
    """The document of a JSON file; raises Problem when it is too large or none."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise Problem(
                f"{path.name}: has {size / 2**20:.0f} MiB, more than the {MOST_BYTES >> 20} MiB "
                "an annotation file may have"
            )
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as exc:
        reason = "nested too deeply" if isinstance(exc, RecursionError) else one_line(str(exc))
        raise Problem(f"{path.name}: is not readable JSON ({reason})") from exc


def first_json(source: Path) -> Any:  # noqa: ANN401
    """The first readable document of the JSON files below `source`; None without one."""
    for path in files(source, ".json"):
        try:
            return read_json(path)
        except Problem:
            continue
    return None


def files(source: Path, *suffixes: str) -> list[Path]:
    """The files below `source` with these endings, sorted; `source` itself where it is one.

    A link that leads out of the folder is none of them.
    """
    found = [source] if source.is_file() else sorted(source.rglob("*"))
    root = folder_of(source).resolve()
    return [
        path
        for path in found
        if path.suffix.lower() in suffixes
        and not path.name.startswith(".")
        and path.is_file()
        and path.resolve().is_relative_to(root)
    ]


def images(source: Path) -> list[Path]:
    """The micrographs below `source`."""
    from hptl_deploy.micrographs import MICROGRAPH_SUFFIXES

    return files(folder_of(source), *MICROGRAPH_SUFFIXES)


def folder_of(source: Path) -> Path:
    """The folder that images must lie in."""
    return source if source.is_dir() else source.parent


def inside(source: Path, folder: Path, name: object, where: str) -> Path:
    """The image `name`, relative to `folder`; raises Problem where it is outside `source`."""
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise Problem(f"{where}: expected the name of an image, found {shown_value(name)}")
    plain = name.replace("\\", "/")
    root = folder_of(source).resolve()
    outside = plain.startswith("/") or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", plain)
    try:
        path = (folder / plain).resolve()
        if outside or ".." in plain.split("/") or not path.is_relative_to(root):
            raise Problem(
                f"{where}: names the image {one_line(name)}, which is outside {root.name}; "
                "put it beside the annotations and name it without a path"
            )
        if not path.is_file():
            raise Problem(f"{where}: its image {one_line(name)} is missing")
    except (OSError, RuntimeError) as exc:
        raise Problem(f"{where}: its image {one_line(name)} cannot be looked up") from exc
    return folder / plain


def named(candidates: Sequence[Path], name: str) -> list[Path]:
    """Those that are called `name`, with or without their ending."""
    return [path for path in candidates if name in (path.stem, path.name)]


def only(found: Sequence[Path], what: str, where: str) -> Path:
    """The one of `found`; raises Problem where there is none or more."""
    if not found:
        raise Problem(f"{where}: its image {one_line(what)} is missing")
    if len(found) > 1:
        names = ", ".join(path.as_posix() for path in found[:3])
        raise Problem(f"{where}: its image {one_line(what)} is there {len(found)} times: {names}")
    return found[0]


def number(value: object, where: str) -> float:
    """A finite coordinate or length, px; raises Problem for anything else."""
    # Compared before it becomes a float: JSON knows integers that no float holds. Not a number
    # compares with nothing.
    if type(value) in (int, float) and -FARTHEST <= value <= FARTHEST:  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    raise Problem(f"{where}: expected a coordinate within ±1e7, found {shown_value(value)}")


def points(value: object, where: str) -> list[tuple[float, float]]:
    """A list of [x, y] pairs; raises Problem for anything else."""
    if not isinstance(value, list):
        raise Problem(f"{where}: expected a list of points, found {shown_value(value)}")
    found = []
    for point in value:
        if not isinstance(point, list) or len(point) < 2:
            raise Problem(f"{where}: expected a point as [x, y], found {shown_value(point)}")
        found.append((number(point[0], where), number(point[1], where)))
    return found


def ring(value: object, where: str) -> list[tuple[float, float]]:
    """The points of an outline; raises Problem where there are fewer than 3 different ones."""
    found = points(value, where)
    if len(set(found)) < 3:
        raise Problem(
            f"{where}: an outline has {len(set(found))} different points; expected 3 or more"
        )
    return found


def member(table: object, key: str, kind: type, where: str) -> Any:  # noqa: ANN401
    """`table[key]`, which must be a `kind`; raises Problem otherwise."""
    value = table.get(key) if isinstance(table, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        kinds = {str: "a text", list: "a list", dict: "a table", int: "a whole number"}
        raise Problem(f"{where}: expected {kinds[kind]} as {key}, found {shown_value(value)}")
    return value


def check_source(source: Path) -> None:
    """Raise DataSetError where there is nothing to read."""
    if not source.exists():
        raise DataSetError(f"annotations {source}: there is no such file or folder")
