"""The data set folder: `dataset.toml`, images, labels, split.

    name = "my alloy"
    images = "images"            # sub-folders, equal stems
    labels = "labels"
    pixel_size_um = 0.088        # optional
    synthetic = false            # optional; true: every image is computed, none was taken
    ignore = 255                 # optional
    ignore_colour = [255, 255, 255]   # optional, for RGB masks
    licence = "CC-BY-4.0"        # optional, goes into the model card

    [[phases]]                   # one per class; its index is its place here
    key = "al"                   # optional, for column names
    name = "aluminium matrix"
    value = 0                    # in index masks
    colour = [0, 0, 0]           # in RGB masks and in every picture

    [split]                      # list file, list of names, or share
    train = "splits/train.txt"
    val = 0.1
    test = 0.1

Without `dataset.toml`, `images/` and `labels/` with the paper's three phases and a
seeded 80/10/10 split are assumed, and said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hptl_deploy.datasets.description import (
    label_code,
    pixel_size,
    read_description,
    synthetic,
)
from hptl_deploy.datasets.labels import LABEL_SUFFIXES, LabelCode, read_labels
from hptl_deploy.datasets.split import DEFAULT_SHARES, SPLITS, assign_splits
from hptl_deploy.errors import DataSetError, MicrographError
from hptl_deploy.files import sha256_file
from hptl_deploy.micrographs.companions import content_sha256
from hptl_deploy.phases import Phase

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Sample:
    """One labelled micrograph."""

    stem: str
    image: Path
    label: Path
    split: str
    """`train`, `val`, `test`; empty where the sample is in none."""


@dataclass(frozen=True)
class DataSet:
    """A labelled data set whose structure has been checked."""

    name: str
    root: Path
    code: LabelCode
    samples: tuple[Sample, ...]
    """Those in a split, in the order of their stems."""
    unassigned: tuple[Sample, ...]
    """Those in no split."""
    pixel_size_um: float | None
    licence: str
    synthetic: bool
    """True where the description says that every micrograph is synthetic."""
    origin: str
    """How it was made or where it is from, in its owner's words; may be empty."""
    notes: tuple[str, ...]
    """What was assumed and what was left out; to be shown to the user."""

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The K phases, in the order of class indices."""
        return self.code.phases

    def split(self, name: str) -> tuple[Sample, ...]:
        """The samples of one split, or of all for `all`. Raises DataSetError for another name."""
        if name == "all":
            return self.samples
        if name not in SPLITS:
            raise DataSetError(f"split {name}: expected train, val, test or all")
        return tuple(sample for sample in self.samples if sample.split == name)

    def read(self, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """(pixels uint8 [H, W, 3] RGB, class indices uint8 [H, W], 255 = ignored).

        Raises DataSetError naming the sample when either cannot be read or they differ in size.
        """
        from hptl_deploy.micrographs import open_micrograph

        try:
            with open_micrograph(sample.image) as micrograph:
                if len(micrograph.pages) != 1:
                    raise DataSetError(
                        f"{sample.image.name}: holds {len(micrograph.pages)} pages; a labelled "
                        "micrograph has one"
                    )
                pixels = micrograph.pages[0].read()
        except MicrographError as exc:
            raise DataSetError(f"{sample.image.name}: {exc}") from exc
        labels = read_labels(sample.label, self.code)
        if labels.shape != pixels.shape[:2]:
            raise DataSetError(
                f"{sample.stem}: the micrograph is {pixels.shape[1]} x {pixels.shape[0]} px, "
                f"its label {labels.shape[1]} x {labels.shape[0]} px"
            )
        return pixels, labels

    @cached_property
    def sha256(self) -> str:
        """Hash of everything training sees: phases, split, every image's and label's bytes."""
        digest = hashlib.sha256(repr((self.code, self.pixel_size_um)).encode())
        for sample in self.samples:
            digest.update(f"{sample.stem}/{sample.split}".encode())
            digest.update(content_sha256(sample.image).encode())
            digest.update(sha256_file(sample.label).encode())
        return digest.hexdigest()


def load_data_set(root: Path, *, verify: bool = False) -> DataSet:
    """Read a data set's description and match images with labels.

    With `verify` every image and label is decoded and compared as well. Raises DataSetError
    with all problems found at once: unknown keys, missing partners, names in no place,
    and under `verify` unreadable files, unknown values or colours (with their counts) and
    unequal sizes.
    """
    if not root.is_dir():
        raise DataSetError(f"data set {root}: is not a folder")
    problems: list[str] = []
    notes: list[str] = []
    table = read_description(root, problems, notes)
    code = label_code(table, problems)
    images = _by_stem(_subfolder(root, table, "images", problems), _image_suffixes(), problems)
    labels = _by_stem(_subfolder(root, table, "labels", problems), LABEL_SUFFIXES, problems)
    problems += [f"image {images[s].name} has no label" for s in sorted(images.keys() - labels)]
    problems += [f"label {labels[s].name} has no image" for s in sorted(labels.keys() - images)]
    stems = sorted(images.keys() & labels.keys())
    if not stems and not problems:
        problems.append("no labelled micrograph found")
    shares = table.get("split", dict(DEFAULT_SHARES))
    if not isinstance(shares, dict):
        problems.append("[split]: expected a table with train, val and test")
        shares = {}
    split_of = assign_splits(stems, shares, root, problems)
    if left := len(stems) - len(split_of):
        notes.append(f"{left} of {len(stems)} micrographs are in no split and stay unused")
    matched = [Sample(s, images[s], labels[s], split_of.get(s, "")) for s in stems]
    data_set = DataSet(
        name=str(table.get("name", root.resolve().name)),
        root=root,
        code=code,
        samples=tuple(sample for sample in matched if sample.split),
        unassigned=tuple(sample for sample in matched if not sample.split),
        pixel_size_um=pixel_size(table, problems),
        licence=str(table.get("licence", "not stated")),
        synthetic=synthetic(table, problems),
        origin=str(table.get("origin", "")),
        notes=tuple(notes),
    )
    if verify:
        problems += _pixel_problems(data_set)
    if problems:
        count = f"{len(problems)} problems" if len(problems) > 1 else "a problem"
        raise DataSetError(f"data set {root}: {count}", problems=problems)
    return data_set


def _subfolder(root: Path, table: dict[str, Any], key: str, problems: list[str]) -> Path:
    folder = root / str(table.get(key, key))
    if not folder.is_dir():
        problems.append(f"the folder of {key}, {folder}, is missing")
    return folder


def _image_suffixes() -> Iterable[str]:
    from hptl_deploy.micrographs import MICROGRAPH_SUFFIXES

    return MICROGRAPH_SUFFIXES


def _by_stem(folder: Path, suffixes: Iterable[str], problems: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    wanted = set(suffixes)
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        if path.suffix.lower() not in wanted or path.name.startswith("."):
            continue
        if path.stem in found:
            problems.append(f"{folder.name}: {found[path.stem].name} and {path.name} share a stem")
        found[path.stem] = path
    return found


def _pixel_problems(data_set: DataSet) -> list[str]:
    problems = []
    for sample in data_set.samples:
        try:
            data_set.read(sample)
        except DataSetError as exc:
            problems.append(exc.message)
    return problems
