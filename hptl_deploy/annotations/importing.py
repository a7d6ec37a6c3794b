"""Annotations to a data set: all problems in one report, then all files at once.

DATASET/images/NAME          the micrographs, byte for byte
DATASET/labels/STEM.png      class indices in the phases' colours, 255 = ignore
DATASET/dataset.toml         phases and split
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hptl_deploy.annotations.base import Picture, Reader
from hptl_deploy.annotations.classes import Classes
from hptl_deploy.annotations.cvat import Cvat
from hptl_deploy.annotations.imagej import ImageJ
from hptl_deploy.annotations.label_studio import LabelStudio
from hptl_deploy.annotations.labelme import Labelme
from hptl_deploy.annotations.qupath import QuPath
from hptl_deploy.annotations.sources import Problem, check_source, folder_of, images, size_of
from hptl_deploy.datasets.description import DATA_SET_FILE, phases_toml
from hptl_deploy.errors import DataSetError, InputError, UsageError
from hptl_deploy.files import TEMPORARY_SUFFIX
from hptl_deploy.phases import IGNORE, Phase, palette

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

READERS: tuple[Reader, ...] = (Cvat(), Labelme(), LabelStudio(), QuPath(), ImageJ())
FORMATS = tuple(reader.name for reader in READERS)


@dataclass
class Imported:
    """What was made."""

    folder: Path
    format: str
    phases: tuple[Phase, ...]
    pixels: dict[str, int]
    """Of each phase, by its key, and `ignore`."""
    pictures: int = 0
    shapes: int = 0
    contested: int = 0
    """Pixels that shapes of different phases claim and nobody decides."""
    left_out: list[str] = field(default_factory=list)
    """Images of the source without annotations."""


def import_annotations(
    source: Path,
    folder: Path,
    *,
    format_name: str = "auto",
    phases: Sequence[Phase] | None = None,
    ignore_unannotated: bool = False,
) -> Imported:
    """Make the data set `folder` of the annotations in `source`.

    Pixels in no shape become phase 0, or ignored ones on demand. Raises DataSetError with all
    problems, and then nothing has been written; InputError where `folder` is taken; UsageError for
    a format that is none of FORMATS; OSError.
    """
    check_source(source)
    _check_folder(source, folder)
    reader = _reader(source, format_name)
    problems: list[str] = []
    pictures = reader.read(source, problems)
    classes = Classes(phases)
    done = Imported(folder, reader.name, classes.phases, {})
    used = {picture.image.resolve() for picture in pictures}
    done.left_out = [
        path.name for path in images(source) if path.resolve() not in used and _is_micrograph(path)
    ]
    if not pictures and not problems:
        problems.append("no annotated micrograph found")
    problems += _twice(pictures)
    part = folder.with_name(f".{folder.name[:100]}-{os.getpid()}{TEMPORARY_SUFFIX}")
    shutil.rmtree(part, ignore_errors=True)
    try:
        (part / "images").mkdir(parents=True)
        (part / "labels").mkdir()
        counts = [0] * 256
        for picture in pictures:
            labels = _labels(picture, reader, classes, ignore_unannotated, done, problems)
            if labels is None or problems or classes.unknown:
                continue
            for place, count in enumerate(_counts(labels)):
                counts[place] += count
            _write(part, picture, labels, classes.phases)
        problems += classes.problems()
        if problems:
            number = f"{len(problems)} problems" if len(problems) > 1 else "a problem"
            raise DataSetError(
                f"annotations {source} ({reader.name}): {number}, nothing is written",
                problems=problems,
            )
        (part / DATA_SET_FILE).write_text(
            _description(folder, reader.name, classes.phases), encoding="utf-8", newline="\n"
        )
        if folder.is_dir():
            folder.rmdir()  # an empty one, which Windows would not rename over
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    done.pixels = {phase.key: counts[place] for place, phase in enumerate(classes.phases)}
    done.pixels["ignore"] = counts[IGNORE]
    return done


def _check_folder(source: Path, folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(
            f"{folder}: is there already, and nothing is written over", hint="Choose another folder"
        )
    if folder.resolve().is_relative_to(folder_of(source).resolve()):
        raise InputError(
            f"{folder}: lies inside the annotations' folder {folder_of(source)}",
            hint="Choose a folder outside, such as one beside it",
        )


def _reader(source: Path, name: str) -> Reader:
    for reader in READERS:
        if name == reader.name or (name == "auto" and reader.recognises(source)):
            return reader
    if name == "auto":
        raise DataSetError(
            f"annotations {source}: are of no format known here",
            hint=f"Name it with --format: {', '.join(FORMATS)}",
        )
    raise UsageError(f"--format {name}: expected auto, {', '.join(FORMATS)}")


def _is_micrograph(path: Path) -> bool:
    return not path.parent.name.startswith("Segmentation")  # CVAT's masks


def _twice(pictures: list[Picture]) -> list[str]:
    problems = []
    by_stem: dict[str, Picture] = {}
    for picture in pictures:
        stem = picture.image.stem.casefold()
        first = by_stem.setdefault(stem, picture)
        if first is picture:
            continue
        if first.image.resolve() == picture.image.resolve():
            problems.append(
                f"{picture.image.name} is annotated twice, in {first.where} and {picture.where}"
            )
        else:
            problems.append(
                f"{first.image.name} ({first.where}) and {picture.image.name} ({picture.where}) "
                "share a stem, which names the label"
            )
    return problems


def _labels(
    picture: Picture,
    reader: Reader,
    classes: Classes,
    ignore_unannotated: bool,
    done: Imported,
    problems: list[str],
) -> NDArray[np.uint8] | None:
    """The class indices of one picture; None where something about it is wrong."""
    import numpy as np

    from hptl_deploy.annotations.drawing import draw

    try:
        height, width = size_of(picture)
    except Problem as exc:
        problems.append(str(exc))
        return None
    untouched = len(classes.phases)  # 250 at most
    labels = np.full((height, width), untouched, np.uint8)
    for shape in picture.shapes:
        try:
            place = classes.find(shape)
            row, column, mask = draw(shape, height, width)
        except Problem as exc:
            problems.append(str(exc))
            continue
        if not mask.any():
            problems.append(f"{shape.where}: covers no pixel's centre inside {picture.image.name}")
        if place is None:
            continue
        part = labels[row : row + mask.shape[0], column : column + mask.shape[1]]
        clash = mask & (part != untouched) & (part != place)
        part[mask] = place
        if not reader.later_covers:
            part[clash] = IGNORE
    done.pictures += 1
    done.shapes += len(picture.shapes)
    done.contested += int((labels == IGNORE).sum())
    labels[labels == untouched] = IGNORE if ignore_unannotated else 0
    return labels


def _counts(labels: NDArray[np.uint8]) -> list[int]:
    import numpy as np

    return [int(count) for count in np.bincount(labels.ravel(), minlength=256)]


def _write(
    part: Path, picture: Picture, labels: NDArray[np.uint8], phases: Sequence[Phase]
) -> None:
    from PIL import Image

    shutil.copyfile(picture.image, part / "images" / picture.image.name)
    png = Image.fromarray(labels)
    png.putpalette(palette(phases).tobytes())
    png.save(part / "labels" / f"{picture.image.stem}.png", "PNG")


def _description(folder: Path, format_name: str, phases: Sequence[Phase]) -> str:
    name = json.dumps(folder.resolve().name, ensure_ascii=False)
    return (
        f'name = {name}\nimages = "images"\nlabels = "labels"\nignore = {IGNORE}\n'
        f'origin = "annotations imported from {format_name}"\n\n{phases_toml(phases)}\n'
        "[split]\nval = 0.1\ntest = 0.1\n"
    )
