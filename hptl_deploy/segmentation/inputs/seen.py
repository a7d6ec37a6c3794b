"""What is known of every file of a watched folder, and which of them are whole."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from hptl_deploy.segmentation.inputs.listing import Listed
from hptl_deploy.segmentation.inputs.looks import Look, is_old, look_at, look_inside

# A file that cannot be opened is a failure only after so many times the stable time: on
# Windows that is how a file looks that a microscope is still writing.
_PATIENCE = 10


class Denial(NamedTuple):
    """Why a file cannot be opened, and since when."""

    since: float
    reason: str


@dataclass
class SeenFile:
    """What is known of one file."""

    listed: Listed
    entry: Look
    """As its folder had it at the last walk."""
    look: Look
    """As the file itself had it."""
    since: float
    """When `look` was first seen."""
    given: Look | None = None
    """What it looked like when it last came out."""
    failed: bool = False
    """The stream could not do it when it last came out."""
    away: bool = False
    """A walk did not find it since it came out."""
    denial: Denial | None = None

    @property
    def pending(self) -> bool:
        """It is to come out once it is whole."""
        return self.look != self.given or (self.failed and self.away)


class SeenFiles:
    """Every file that was seen; those that came out are remembered when they go."""

    def __init__(self, stable: float) -> None:
        self._stable = stable
        self._files: dict[str, SeenFile] = {}

    def notice(self, looks: Mapping[str, tuple[Listed, Look]]) -> None:
        """Take in what a walk found."""
        for name in self._files.keys() - looks.keys():
            self._missed(name)
        for listed, entry in looks.values():
            self._found(listed, entry)

    def trust_old(self, now_ns: int) -> None:
        """Files that nobody had touched for long at `now_ns` need no second look."""
        for file in self._files.values():
            if is_old(file.look, now_ns, self._stable):
                file.since = float("-inf")

    def newest_ns(self) -> int:
        """The newest change of any file; 0 without files."""
        return max((file.look.ctime_ns for file in self._files.values()), default=0)

    def any_given(self) -> bool:
        """True once a file has come out."""
        return any(file.given for file in self._files.values())

    def due(self, began: float, names: Collection[str]) -> list[SeenFile]:
        """Those among `names` that looked alike for long enough at a walk that `began` then."""
        files = (self._files[name] for name in names if name in self._files)
        return [
            file
            for file in files
            if file.pending and file.look.size and began - file.since >= self._stable
        ]

    def open(self, file: SeenFile) -> bool:
        """True where the file is whole indeed: it counts as given. Else it waits on."""
        try:
            look = look_inside(file.listed.path)
        except FileNotFoundError:
            return False  # the next walk misses it
        except OSError as exc:
            since = file.denial.since if file.denial else time.monotonic()
            file.denial = Denial(since, exc.strerror or str(exc))
            return False
        file.denial = None
        if look != file.look:
            file.look, file.since = look, time.monotonic()
            return False
        file.given, file.failed, file.away = look, False, False
        return True

    def failed(self, name: str) -> None:
        """The stream could not do a file that was given."""
        self._files[name].failed = True

    def denied(self) -> dict[str, str]:
        """Files that could not be opened for so long that it must be told, with the reason."""
        limit = time.monotonic() - _PATIENCE * self._stable
        return {
            name: file.denial.reason
            for name, file in self._files.items()
            if file.denial and file.denial.since <= limit
        }

    def waiting(self) -> tuple[str, ...]:
        """Those that are yet to come out, or to come again."""
        return tuple(sorted(name for name, file in self._files.items() if file.pending))

    def _missed(self, name: str) -> None:
        file = self._files[name]
        if file.given is None:
            del self._files[name]
        else:
            # Its own look no longer counts: it waits for nothing while it is not there.
            file.look, file.away, file.denial = file.given, True, None

    def _found(self, listed: Listed, entry: Look) -> None:
        """The file itself is asked only where its folder's entry or its past calls for it."""
        file = self._files.get(listed.relative)
        if file is not None and file.entry == entry and not file.pending:
            return
        try:
            look = look_at(listed.path)
        except OSError:
            return  # gone again: the next walk misses it, or tells why it cannot be read
        if file is None:
            self._files[listed.relative] = SeenFile(listed, entry, look, time.monotonic())
            return
        file.entry = entry
        if look != file.look:
            file.look, file.since = look, time.monotonic()
