"""What a results folder already holds: one line per finished input, never rewritten.

A line is appended, and on the disk, only after all results of its input are in place, so
a process killed at any moment leaves results without a line (they are made again), never a
line without its results. A line cut short by a kill is dropped when the ledger is opened.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from hptl_deploy.closing import Closes
from hptl_deploy.errors import ResultsError
from hptl_deploy.files import remove, size_of
from hptl_deploy.segmentation.inputs.naming import fold

LEDGER_FILE = "ledger.jsonl"
_SCHEMA = 1
_AT_ONCE = 1000  # lines of a kilobyte or so each
# Where the lock lies in the file: beyond any ledger, since Windows forbids others to read
# bytes that are locked.
_LOCK_AT = 1 << 40


@dataclass(frozen=True)
class Entry:
    """One input that was finished, well or badly."""

    file: str
    """The input, below the input folder, forward slashes."""
    bytes: int
    sha256: str
    """Of the input's bytes."""
    model_sha256: str
    settings_sha256: str
    base: str
    """What the names of its results begin with, below the out folder."""
    outputs: dict[str, int]
    """Results below the out folder, with their size in bytes; a folder's is that of its files."""
    rows: list[dict[str, Any]]
    """Its rows of fields.csv."""
    failure: dict[str, str] | None = None
    """`stage` and `reason` where it failed; then it has neither results nor rows."""


class Ledger(Closes):
    """The ledger of one results folder; a context manager that keeps other runs out."""

    def __init__(self, folder: Path, results: Path | None = None) -> None:
        """Read the ledger in `folder`, dropping a torn last line.

        `results` is where the results lie, if not in `folder` as well. Raises ResultsError
        when it cannot be opened or another run holds it.
        """
        self._folder = folder
        self._results = results or folder
        self._path = folder / LEDGER_FILE
        self._entries: dict[str, Entry] = {}
        self._owners: dict[str, str] = {}
        self._claimed: dict[str, dict[str, int]] = {}
        try:
            # Binary and without buffer: every line is one write.
            self._file: BinaryIO = self._path.open("a+b", buffering=0)
        except OSError as exc:
            raise ResultsError(f"{self._path}: cannot be opened ({exc.strerror})") from exc
        try:
            self._lock()
            self._load()
        except BaseException:
            self._file.close()
            raise

    def know(self, earlier: Iterable[Entry]) -> None:
        """Take entries of another ledger for older than all of this one's, without a line here."""
        for entry in earlier:
            self._take(entry)
        self._load()

    def newest(self, file: str) -> Entry | None:
        """The newest entry of an input, whoever has overwritten its results."""
        return self._entries.get(file)

    def entries(self) -> list[Entry]:
        """The newest of every input."""
        return list(self._entries.values())

    def entry(self, file: str) -> Entry | None:
        """The newest entry of an input, if its results have not been overwritten since."""
        entry = self._entries.get(file)
        if entry and all(self._owners[fold(name)] == file for name in entry.outputs):
            return entry
        return None

    def bases(self) -> dict[str, str]:
        """Every input's base that still holds; first come those under which results lie."""
        entries = [entry for file in self._entries if (entry := self.entry(file))]
        entries.sort(key=lambda entry: not entry.outputs)
        return {entry.file: entry.base for entry in entries}

    def is_in_place(self, entry: Entry) -> bool:
        """True where every result of `entry` exists in the size it was written with."""
        return all(self._size(name) == size for name, size in entry.outputs.items())

    def append(self, entry: Entry) -> None:
        """Add a line and wait until it is on the disk.

        Raises ResultsError when that is not possible: without a ledger a run cannot go on.
        """
        self.extend([entry])

    def extend(self, entries: Sequence[Entry]) -> None:
        """Add lines, many in one go. Raises ResultsError as `append`."""
        for start in range(0, len(entries), _AT_ONCE):
            self._extend(entries[start : start + _AT_ONCE])

    def _extend(self, entries: Sequence[Entry]) -> None:
        lines = (
            json.dumps({"schema": _SCHEMA, **asdict(entry)}, ensure_ascii=False) + "\n"
            for entry in entries
        )
        try:
            self._write("".join(lines).encode("utf-8"))
        except FileNotFoundError as exc:
            if not self._folder.is_dir():
                raise ResultsError(
                    f"{self._folder}: has been deleted, so the run stops", hint="Start it again"
                ) from exc
            raise ResultsError(
                f"{self._path}: has been deleted, so the run stops",
                hint="Start it again; without this file all micrographs are done anew",
            ) from exc
        except OSError as exc:
            raise ResultsError(
                f"{self._path}: cannot be written ({exc.strerror or exc}), so the run stops",
                hint="What is done stays done; start it again when the folder can be written",
            ) from exc
        for entry in entries:
            self._take(entry)

    def sweep(self, files: Iterable[str]) -> int:
        """Delete results that inputs among `files` once had and no input has now.

        They come from runs with other names, settings or pages. Only what still has the
        size it was written with is touched. Returns how many went.
        """
        swept = 0
        for file in files:
            for name, size in list(self._claimed.get(file, {}).items()):
                owner = self._owners.get(fold(name))
                entry = self._entries.get(owner) if owner else None
                if entry and fold(name) in {fold(output) for output in entry.outputs}:
                    continue
                if self._size(name) == size:
                    remove(self._results / name)
                    swept += 1
                del self._claimed[file][name]
        return swept

    def close(self) -> None:
        """Let other runs in."""
        self._file.close()

    def _size(self, name: str) -> int | None:
        try:
            return size_of(self._results / name)
        except OSError:
            return None

    def _take(self, entry: Entry) -> None:
        self._entries[entry.file] = entry
        for name, size in entry.outputs.items():
            self._owners[fold(name)] = entry.file
            self._claimed.setdefault(entry.file, {})[name] = size

    def _write(self, line: bytes) -> None:
        if not self._path.exists():
            raise FileNotFoundError(self._path)
        self._file.seek(0, os.SEEK_END)
        start = self._file.tell()
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(None, "the disk is full")
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(start)
            raise

    def _load(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            self._file.truncate(whole)
        for line in content[:whole].splitlines():
            entry = _parse(line)
            if entry is not None:
                self._take(entry)

    def _lock(self) -> None:
        """Released by the system when the process ends, however it ends."""
        if not _lock(self._file):
            raise ResultsError(
                f"{self._folder}: another run is writing these results",
                hint="Wait until it ends, or choose another --out",
            )


def read_entries(folder: Path) -> list[Entry]:
    """All entries of the ledger in `folder`, oldest first; none where there is no ledger.

    Raises ResultsError when it cannot be read.
    """
    try:
        content = (folder / LEDGER_FILE).read_bytes()
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise ResultsError(f"{folder / LEDGER_FILE}: cannot be read ({exc.strerror})") from exc
    lines = content[: content.rfind(b"\n") + 1].splitlines()
    return [entry for entry in map(_parse, lines) if entry is not None]


def is_being_written(folder: Path) -> bool:
    """True while a run holds the ledger in `folder`; False where there is none.

    False, too, where the file system has no locks, or does not show them to other machines.
    """
    try:
        file = (folder / LEDGER_FILE).open("rb", buffering=0)
    except OSError:
        return False
    with file:
        return not _lock(file, shared=True)


def _lock(file: BinaryIO, *, shared: bool = False) -> bool:
    """Take the lock on an open ledger; False where another process has it.

    `shared` is for looking whether it is free: any number may look at once.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(_LOCK_AT)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(file.fileno(), kind | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass  # a file system without locks, as some network ones are
    return True


def _parse(line: bytes) -> Entry | None:
    """None for what is no entry of this schema: its input is done again."""
    try:
        document = json.loads(line)
        if document.pop("schema") != _SCHEMA:
            return None
        return Entry(**document)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
