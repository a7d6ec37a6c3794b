"""How a watched folder is looked at: sizes and times of its files, never their contents."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hptl_deploy.micrographs.companions import companions
from hptl_deploy.segmentation.inputs.listing import Listed, Walk

_SECOND = 1_000_000_000
# Not to wait where a pipe has taken a micrograph's place.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class Stopped(Exception):
    """Whoever watches was told to stop in the middle of a look."""


@dataclass(frozen=True, slots=True)
class Look:
    """A micrograph at one moment, with the files that belong to it.

    Two looks are equal where nobody has written in between.
    """

    size: int
    mtime_ns: int
    ctime_ns: int = field(compare=False)
    """The last change by the file system's own clock: tools that copy set the time of
    modification to what they like, but not this. (On Windows: when it was created.)"""


def look_of(state: os.stat_result) -> Look:
    """The part of `state` that tells whether a file is being written."""
    return Look(state.st_size, state.st_mtime_ns, state.st_ctime_ns)


def look_at(path: Path) -> Look:
    """Ask the file itself, as its folder's entry lags behind on Windows. Raises OSError."""
    return with_companions(look_of(path.stat()), path, _look_at)


def _look_at(path: Path) -> Look:
    return look_of(path.stat())


def with_companions(look: Look, path: Path, ask: Callable[[Path], Look]) -> Look:
    """`look` at `path` and `ask`'s at the files that belong to it, as one. Raises OSError."""
    for beside in map(ask, companions(path)):
        look = Look(
            look.size + beside.size,
            max(look.mtime_ns, beside.mtime_ns),
            max(look.ctime_ns, beside.ctime_ns),
        )
    return look


def look_inside(path: Path) -> Look:
    """Open the file and look: a network share then asks its server, not its cache.

    Raises PermissionError, too, where another program holds the file for itself, as
    microscopes on Windows do; else OSError.
    """
    return with_companions(_look_inside(path), path, _look_inside)


def _look_inside(path: Path) -> Look:
    handle = os.open(path, _FLAGS)
    try:
        return look_of(os.fstat(handle))
    finally:
        os.close(handle)


class LookingWalk(Walk):
    """A walk that also has a look at every micrograph."""

    def __init__(self, top: Path, out: Path, stopped: Callable[[], bool]) -> None:
        """`stopped` is asked at every file, since a walk over a slow share takes its time."""
        super().__init__(top, out)
        self._stopped = stopped
        self.looks: dict[str, tuple[Listed, Look]] = {}
        """By `relative`."""

    def entry(self, entry: os.DirEntry[str], waiting: list[Path]) -> None:
        """As the walk does. Raises Stopped, and OSError."""
        if self._stopped():
            raise Stopped
        super().entry(entry, waiting)

    def add(self, path: Path, entry: os.DirEntry[str]) -> Listed | None:
        """Take in a micrograph, unless it has gone since its folder was read."""
        try:
            look = with_companions(look_of(entry.stat()), path, _look_at)
        except FileNotFoundError:
            return None
        listed = super().add(path, entry)
        if listed is not None:
            self.looks[listed.relative] = listed, look
        return listed


def file_system_time(source: Path, out: Path, newest_ns: int) -> int:
    """A time, in ns, that the clock behind `source` has certainly reached.

    A share's clock may be ahead of ours or behind it, and nothing may be written into
    `source` to find out. So: `newest_ns`, the newest change in it, or the newest in `out`, to
    which a run has just written, if both are on one file system; and never more than our own
    clock shows, because a share whose clock was once set back holds changes of the future.
    Where this falls short of the share's true time, files merely seem younger than they are.
    """
    try:
        state = out.stat()
        if state.st_dev == source.stat().st_dev:
            newest_ns = max(newest_ns, state.st_mtime_ns)
    except OSError:
        pass  # then the newest change has to do
    return min(newest_ns, time.time_ns())


def is_old(look: Look, now_ns: int, seconds: float) -> bool:
    """True where the file was left alone for more than `seconds` before `now_ns`."""
    return now_ns - max(look.mtime_ns, look.ctime_ns) > seconds * _SECOND
