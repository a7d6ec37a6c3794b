"""Which files of a folder are micrographs to segment."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from hptl_deploy.datasets.description import DATA_SET_FILE, is_data_set, labels_folder
from hptl_deploy.errors import InputError, UsageError
from hptl_deploy.files import TEMPORARY_SUFFIX
from hptl_deploy.micrographs.companions import is_companion
from hptl_deploy.results import RUN_FILE, SHARDS_FOLDER, is_results, read_run
from hptl_deploy.segmentation.options import absolute

TOP = "."
"""What a failure of the input folder itself calls it."""


@dataclass(frozen=True)
class Listed:
    """One micrograph file."""

    path: Path
    relative: str
    """Below the input folder, forward slashes; the file's name where INPUT is a file."""


@dataclass(frozen=True)
class Failure:
    """Why one input is not among the results."""

    file: str
    stage: str
    """`list`, `read`, `infer` or `write`."""
    reason: str


@dataclass
class Listing:
    """What a run works on; `files` are sorted by `relative`, folder by folder."""

    files: list[Listed] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """Every micrograph's `relative`, also of those that this run leaves out: names of
    results are decided from all of them."""
    failures: list[Failure] = field(default_factory=list)
    elsewhere: list[Failure] = field(default_factory=list)
    """Of a shard's share: failures that another shard may not meet, which they belong to."""
    ignored: int = 0
    """Files that are no micrographs."""
    notes: list[str] = field(default_factory=list)
    pixel_size_um: float | None = None
    """What the data set's description says of its images; None where there is none."""

    def order(self, more: Iterable[str] = ()) -> list[str]:
        """Every name that a table may hold a row of, and `more`, in the order of its rows."""
        failed = (failure.file for failure in self.failures)
        return sorted({*self.names, *failed, *more}, key=_order)


def list_inputs(source: Path, out: Path, split: str | None = None) -> Listing:
    """The micrographs that `source`, a file or a folder, stands for.

    Results (`out`, and every folder with our run.json or our shards), hidden files and
    half-written ones are left out. Links to folders are followed unless they lead where the
    walk has been. Of a data set the images are taken, of `split` if given, and not the labels; the
    labels of data sets in sub-folders are left out, too.

    Raises InputError when `source` does not exist, is itself a results folder or holds no
    micrograph; UsageError for `split` without a data set; DataSetError.
    """
    if split is not None and not is_data_set(source):
        raise UsageError(
            f"--split {split}: {source} is no data set (neither {DATA_SET_FILE} nor images/ and "
            "labels/), so it has no splits",
            hint="Leave --split out, or name the folder of a data set",
        )
    if source.is_dir():
        refuse_results(source)
        if is_data_set(source):
            return _from_data_set(source, split)
        listing = Walk(source, out).run()
        if not listing.names and not listing.failures:
            raise InputError(
                f"{source}: no micrograph found in it or its sub-folders "
                f"(looked for {_looked_for()}; {listing.ignored} other files)"
            )
        return listing
    return _one_file(source)


def refuse_results(source: Path) -> None:
    """Raise InputError where `source` holds results of this program."""
    if is_results(source):
        what = f"its {RUN_FILE}" if read_run(source) else f"its {SHARDS_FOLDER}"
        raise InputError(
            f"{source}: is a results folder of hptl-deploy (it holds {what})",
            hint="Name the folder of the micrographs instead",
        )


def _looked_for() -> str:
    from hptl_deploy.micrographs import MICROGRAPH_SUFFIXES

    return " ".join(sorted(MICROGRAPH_SUFFIXES))


def _one_file(source: Path) -> Listing:
    from hptl_deploy.micrographs import MICROGRAPH_SUFFIXES, UNREADABLE_FORMATS

    if not source.exists():
        raise InputError(f"{source}: does not exist", hint="Name a folder or a micrograph file")
    suffix = source.suffix.lower()
    if suffix in UNREADABLE_FORMATS:
        raise InputError(f"{source}: {UNREADABLE_FORMATS[suffix]}")
    if suffix not in MICROGRAPH_SUFFIXES:
        raise InputError(
            f"{source}: its extension is none of a micrograph's (looked for {_looked_for()})"
        )
    name = _display(source.name)
    return Listing(files=[Listed(source, name)], names=[name])


def _from_data_set(source: Path, split: str | None) -> Listing:
    from hptl_deploy.datasets import load_data_set

    data_set = load_data_set(source)
    samples = data_set.samples if split else (*data_set.samples, *data_set.unassigned)
    chosen = [sample for sample in samples if split is None or sample.split == split]
    if not chosen:
        splits = ", ".join(sorted({sample.split for sample in samples})) or "none"
        raise UsageError(f"--split {split}: {source} has no image in it (splits: {splits})")
    top = absolute(source)
    paths = {sample.image: absolute(sample.image) for sample in samples}
    if not all(path.is_relative_to(top) for path in paths.values()):
        top = Path(os.path.commonpath([path.parent for path in paths.values()]))
    names = {image: _display(path.relative_to(top).as_posix()) for image, path in paths.items()}
    files = [Listed(sample.image, names[sample.image]) for sample in chosen]
    what = "all of them" if split is None else f"split {split}"
    notes = data_set.notes if split else ()
    return Listing(
        files=sorted(files, key=lambda listed: _order(listed.relative)),
        names=sorted(names.values(), key=_order),
        notes=[
            *notes,
            f"{source} is a data set: segmenting {len(files)} of its images ({what}), not its "
            "labels",
        ],
        pixel_size_um=data_set.pixel_size_um,
    )


class Walk:
    """One walk over the input folder; `entry` and `add` are there to be extended."""

    def __init__(self, top: Path, out: Path) -> None:
        from hptl_deploy.micrographs import MICROGRAPH_SUFFIXES, UNREADABLE_FORMATS

        self._suffixes = MICROGRAPH_SUFFIXES
        self._unreadable = UNREADABLE_FORMATS
        self._top = top
        self._out = os.path.realpath(out)
        self._seen: set[str] = set()
        self._links: list[Path] = []
        self.listing = Listing()

    def run(self) -> Listing:
        """What is there now. Where the folder itself cannot be read, a failure of `TOP`."""
        self._folder(self._top)
        # Links to folders come last, so that a folder inside the tree is listed under its
        # own name, wherever a link to it stands.
        while self._links:
            links, self._links = sorted(self._links), []
            for link in links:
                self._folder(link)
        listing = self.listing
        listing.files.sort(key=lambda listed: _order(listed.relative))
        listing.names.sort(key=_order)
        listing.failures.sort(key=lambda failure: _order(failure.file))
        return listing

    def _folder(self, folder: Path) -> None:
        # A stack, not recursion: trees can be deeper than Python's.
        waiting = [folder]
        while waiting:
            current = waiting.pop()
            real = os.path.realpath(current)
            if real in self._seen or real == self._out:
                continue
            self._seen.add(real)
            found = self._entries(current)
            ours = RUN_FILE in found or SHARDS_FOLDER in found
            if current != self._top and ours and is_results(current):
                continue
            if current != self._top:
                self._leave_labels(current, found)
            for name in sorted(found):
                try:
                    self.entry(found[name], waiting)
                except OSError as exc:  # a link that leads to itself
                    path = Path(found[name].path)
                    self._fail(path, f"cannot be looked at ({exc.strerror or exc})")

    def _leave_labels(self, folder: Path, found: dict[str, os.DirEntry[str]]) -> None:
        """Count the labels of a data set below the input, if `found` in it, as walked already."""
        # Most folders have neither, and are not asked what else they are.
        if not {DATA_SET_FILE, "labels"}.isdisjoint(found) and is_data_set(folder):
            labels = labels_folder(folder)
            if labels.is_dir():
                self._seen.add(os.path.realpath(labels))
                within = labels.is_relative_to(folder)
                name = labels.relative_to(folder).as_posix() if within else labels
                self.listing.notes.append(
                    f"{folder} is a data set: its labels, {name}, are not segmented"
                )

    def _entries(self, folder: Path) -> dict[str, os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return {entry.name: entry for entry in entries}
        except OSError as exc:
            # One that went since its parent was read is as if it had never been there.
            if folder == self._top or not isinstance(exc, FileNotFoundError):
                self._fail(folder, f"the folder cannot be read ({exc.strerror or exc})")
            return {}

    def entry(self, entry: os.DirEntry[str], waiting: list[Path]) -> None:
        """Take one file in, or put a folder among those `waiting`. Raises OSError."""
        path = Path(entry.path)
        if entry.name.startswith(".") or entry.name.endswith(TEMPORARY_SUFFIX):
            return
        if entry.is_dir():
            (self._links if entry.is_symlink() else waiting).append(path)
            return
        suffix = path.suffix.lower()
        if suffix in self._unreadable:
            # Its name counts, so that results keep theirs on machines that can read it.
            self.listing.names.append(self._relative(path))
            self._fail(path, self._unreadable[suffix])
        elif suffix not in self._suffixes:
            if not is_companion(path):
                self.listing.ignored += 1
        elif entry.is_file():
            self.add(path, entry)
        elif os.path.lexists(path):  # else it went since its folder was read
            broken = entry.is_symlink() and not path.exists()
            self._fail(path, "a link that leads nowhere" if broken else "is no ordinary file")

    def add(self, path: Path, entry: os.DirEntry[str]) -> Listed | None:
        """Take in a micrograph; None where it is left out after all. Raises OSError."""
        listed = Listed(path, self._relative(path))
        self.listing.files.append(listed)
        self.listing.names.append(listed.relative)
        return listed

    def _fail(self, path: Path, reason: str) -> None:
        self.listing.failures.append(Failure(self._relative(path), "list", reason))

    def _relative(self, path: Path) -> str:
        return _display(path.relative_to(self._top).as_posix())


def _order(relative: str) -> tuple[str, ...]:
    return tuple(relative.split("/"))


def _display(name: str) -> str:
    """`name` as text that UTF-8 can hold; a byte that is no text becomes an escape."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
