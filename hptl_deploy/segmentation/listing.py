"""Which files of a folder are micrographs to segment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from hptl_deploy.datasets.description import DATA_SET_FILE, is_data_set
from hptl_deploy.errors import InputError, UsageError
from hptl_deploy.files import TEMPORARY_SUFFIX
from hptl_deploy.results import RUN_FILE, SHARDS_FOLDER, is_results, read_run
from hptl_deploy.segmentation.options import absolute


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

    def order(self) -> list[str]:
        """Every name that a table may hold a row of, in the order of its rows."""
        return sorted({*self.names, *(failure.file for failure in self.failures)}, key=_order)


def list_inputs(source: Path, out: Path, split: str | None = None) -> Listing:
    """The micrographs that `source`, a file or a folder, stands for.

    Results (`out`, and every folder with our run.json or our shards), hidden files and
    half-written ones are left out. Links to folders are followed unless they lead where the
    walk has been. Of a data set the images are taken, of `split` if given, and not the labels.

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
        if is_results(source):
            what = f"its {RUN_FILE}" if read_run(source) else f"its {SHARDS_FOLDER}"
            raise InputError(
                f"{source}: is a results folder of hptl-deploy (it holds {what})",
                hint="Name the folder of the micrographs instead",
            )
        if is_data_set(source):
            return _from_data_set(source, split)
        listing = _Walk(source, out).run()
        if not listing.names and not listing.failures:
            raise InputError(
                f"{source}: no micrograph found in it or its sub-folders "
                f"(looked for {_looked_for()}; {listing.ignored} other files)"
            )
        return listing
    return _one_file(source)


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


class _Walk:
    """One walk over the input folder."""

    def __init__(self, top: Path, out: Path) -> None:
        from hptl_deploy.micrographs import MICROGRAPH_SUFFIXES, UNREADABLE_FORMATS

        self._suffixes = MICROGRAPH_SUFFIXES
        self._unreadable = UNREADABLE_FORMATS
        self._top = top
        self._out = os.path.realpath(out)
        self._seen: set[str] = set()
        self._links: list[Path] = []
        self._listing = Listing()

    def run(self) -> Listing:
        self._folder(self._top)
        # Links to folders come last, so that a folder inside the tree is listed under its
        # own name, wherever a link to it stands.
        while self._links:
            links, self._links = sorted(self._links), []
            for link in links:
                self._folder(link)
        listing = self._listing
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
            if current != self._top and is_results(current):
                continue
            try:
                with os.scandir(current) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
            except OSError as exc:
                self._fail(current, f"the folder cannot be read ({exc.strerror or exc})")
                continue
            for entry in found:
                try:
                    self._entry(entry, waiting)
                except OSError as exc:  # a link that leads to itself
                    self._fail(Path(entry.path), f"cannot be looked at ({exc.strerror or exc})")

    def _entry(self, entry: os.DirEntry[str], waiting: list[Path]) -> None:
        path = Path(entry.path)
        if entry.name.startswith(".") or entry.name.endswith(TEMPORARY_SUFFIX):
            return
        if entry.is_dir():
            (self._links if entry.is_symlink() else waiting).append(path)
            return
        suffix = path.suffix.lower()
        if suffix in self._unreadable:
            # Its name counts, so that results keep theirs on machines that can read it.
            self._listing.names.append(self._relative(path))
            self._fail(path, self._unreadable[suffix])
        elif suffix not in self._suffixes:
            self._listing.ignored += 1
        elif not entry.is_file():
            broken = entry.is_symlink() and not path.exists()
            self._fail(path, "a link that leads nowhere" if broken else "is no ordinary file")
        else:
            self._add(path)

    def _add(self, path: Path) -> None:
        relative = self._relative(path)
        self._listing.files.append(Listed(path, relative))
        self._listing.names.append(relative)

    def _fail(self, path: Path, reason: str) -> None:
        self._listing.failures.append(Failure(self._relative(path), "list", reason))

    def _relative(self, path: Path) -> str:
        return _display(path.relative_to(self._top).as_posix())


def _order(relative: str) -> tuple[str, ...]:
    return tuple(relative.split("/"))


def _display(name: str) -> str:
    """`name` as text that UTF-8 can hold; a byte that is no text becomes an escape."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
