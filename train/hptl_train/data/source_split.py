"""Class-per-folder trees, and which of their pictures are held out from training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hptl_deploy.errors import DataSetError
from hptl_deploy.micrographs import MICROGRAPH_SUFFIXES
from hptl_train.data.batches import generator

Groups = dict[str, list[Path]]
"""Pictures by class, both sorted."""

TRAIN, VAL, _TEST = "train", "val", "test"
_SHARE = 0.05
_SMALLEST_CLASS = 5
"""Classes of fewer pictures are trained on whole."""
_MOST = 10_000
"""Pictures held out: a top-1 of 0.7 is then known to +-0.005 (one deviation of a share)."""
_STREAM_HELD_OUT = 22
_NAMED = 10
"""Classes that a message names; the others it counts."""


def class_groups(folder: Path) -> Groups:
    """The pictures below each folder in `folder`; folders without any are left out."""
    groups = {child.name: pictures(child) for child in sorted(folder.iterdir()) if child.is_dir()}
    return {name: files for name, files in groups.items() if files}


def pictures(folder: Path) -> list[Path]:
    """All pictures below `folder`."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in MICROGRAPH_SUFFIXES)


def is_split(folder: Path) -> bool:
    """Whether `folder` holds ImageNet's `train` and `val`, and not two classes of that name.

    As classes they would hold pictures themselves, and others might stand beside them.
    """
    folders = {child.name: child for child in folder.iterdir() if child.is_dir()}
    if not {TRAIN, VAL} <= folders.keys() or _loose(folders[TRAIN]):
        return False
    beside = [folders[name] for name in folders if name not in (TRAIN, VAL, _TEST)]
    return any(child.is_dir() for child in folders[TRAIN].iterdir()) and not any(
        map(pictures, beside)
    )


def given_split(folder: Path) -> tuple[Groups, Groups]:
    """(training pictures, held-out pictures) of a tree that `is_split`.

    Raises DataSetError when `val` is not sorted into classes, or into others than `train`'s.
    """
    where = f"source domain {folder}"
    train, held_out = class_groups(folder / TRAIN), class_groups(folder / VAL)
    if loose := _loose(folder / VAL):
        raise DataSetError(
            f"{where}: {VAL} holds pictures outside of class folders, such as {loose[0].name}; "
            f"expected a folder per class as in {TRAIN}"
        )
    if not held_out:
        raise DataSetError(f"{where}: {VAL} holds no pictures; expected a folder per class")
    if unknown := [name for name in held_out if name not in train]:
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        raise DataSetError(
            f"{where}: {VAL} holds classes that {TRAIN} does not: "
            f"{', '.join(unknown[:_NAMED])}{more}",
            hint=f"Name the folders of {VAL} as those of {TRAIN}, or remove them",
        )
    return train, held_out


def drawn_split(groups: Mapping[str, Sequence[Path]]) -> tuple[Groups, Groups]:
    """(training pictures, held-out pictures) of a tree without a split of its own.

    Held out are 5 % of each class of at least 5 pictures, at least one, and at most 10 000
    in all: then equally many of each class as far as they go. Which ones does not depend on
    the recipe's seed, so that runs of several seeds are scored on the same pictures.
    """
    train, held_out = {}, {}
    counts = _counts([len(files) for files in groups.values()])
    for index, (name, files) in enumerate(groups.items()):
        rng = generator(_STREAM_HELD_OUT, index)
        chosen = set(rng.choice(len(files), counts[index], replace=False).tolist())
        train[name] = [path for number, path in enumerate(files) if number not in chosen]
        held_out[name] = [path for number, path in enumerate(files) if number in chosen]
    return train, held_out


def _counts(sizes: Sequence[int]) -> list[int]:
    wanted = [max(1, round(_SHARE * n)) if n >= _SMALLEST_CLASS else 0 for n in sizes]
    if sum(wanted) <= _MOST:
        return wanted
    each = 0
    while sum(min(count, each + 1) for count in wanted) <= _MOST:
        each += 1
    if each:
        return [min(count, each) for count in wanted]
    # More classes than pictures to hold out: one each of as many.
    able = [index for index, count in enumerate(wanted) if count]
    chosen = set(generator(_STREAM_HELD_OUT).choice(able, _MOST, replace=False).tolist())
    return [int(index in chosen) for index in range(len(sizes))]


def _loose(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in MICROGRAPH_SUFFIXES)
