"""What arrives in a folder that a microscope is filling, once it is whole.

    arrivals = Arrivals(source, out, stop)
    listing = arrivals.start()                       # what is there now, whole or not
    names = LateNames(ledger.bases(), listing.names)
    with Stages() as stages:
        stages.guard(arrivals)                       # wakes it when the stream breaks
        ... watched_jobs(arrivals, names, tell)      # for the read threads, until `stop`
        ... arrivals.finished(name, failed=...)      # for each job, from any thread
    remaining = arrivals.remaining()

A micrograph is whole when two looks at it, `stable` seconds apart, find the same size and
time of modification, and it can be opened. There are only looks, at every file again and
again: network shares tell nobody of new files. What was there at the start, and had been
left alone for longer than that, comes at once. A file that is renamed into place gets its two
looks like any other, because it cannot be told from one whose writer has just begun.

A file comes again when it has changed since it came (the ledger knows by its content whether
there is anything to do); one that failed comes again, too, when it had been away. It does not
come while the stream has it in hand: two jobs of one input would mix their pages. So whoever
forgets to call `finished` sees every input once and no lull.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from queue import Empty, SimpleQueue

from hptl_deploy.segmentation.inputs.late_names import LateNames
from hptl_deploy.segmentation.inputs.listing import TOP, Failure, Listed, Listing
from hptl_deploy.segmentation.inputs.looks import LookingWalk, Stopped, file_system_time
from hptl_deploy.segmentation.inputs.seen import SeenFile, SeenFiles
from hptl_deploy.segmentation.inputs.watchable import check_watchable, unreadable
from hptl_deploy.segmentation.items import Job
from hptl_deploy.segmentation.options import STABLE_SECONDS

POLL_SECONDS = 2.0
"""From one walk over the folder to the next."""

# Waits are cut into pieces this long, so that whoever ends the watch never waits for it.
_PIECE_SECONDS = 0.1


@dataclass(frozen=True)
class Healed:
    """What was told of `file` is a failure no more: withdraw it where its stage is `list`."""

    file: str


@dataclass(frozen=True)
class Note:
    """A line for the reader."""

    text: str


@dataclass(frozen=True)
class CaughtUp:
    """Everything that came is finished and nothing new is whole: the time to write tables.

    Comes once per lull, the first time also where nothing has arrived at all.
    """

    waiting: tuple[str, ...]
    """Micrographs that are there and not whole yet, by `relative`."""


Event = Listed | Failure | Healed | Note | CaughtUp


def watched_jobs(
    arrivals: Arrivals, names: LateNames, tell: Callable[[Event], None]
) -> Iterator[Job]:
    """A job for every input that comes; `tell` gets all other events, in whichever thread asks.

    Raises what `Arrivals.start` does.
    """
    for event in arrivals:
        if isinstance(event, Listed):
            yield Job(event, names.name(event.relative))
        else:
            tell(event)


class Arrivals:
    """The inputs of a watched folder, as events. To be iterated once, by one thread at a time.

    `finished` and `cancel` may be called from any thread.
    """

    def __init__(
        self,
        source: Path,
        out: Path,
        stop: threading.Event,
        *,
        poll: float = POLL_SECONDS,
        stable: float = STABLE_SECONDS,
    ) -> None:
        """`out` is left out of the walk. Setting `stop` ends the iteration within 0.2 s."""
        if poll <= 0 or stable <= 0:
            raise ValueError(f"poll {poll} s, stable {stable} s: both must be above 0")
        self.listing = Listing()
        """What the newest walk found; replaced, never changed."""
        self._source, self._out, self._stop = source, out, stop
        self._poll, self._stable = poll, stable
        self._cancelled = threading.Event()
        self._reports: SimpleQueue[tuple[str, bool]] = SimpleQueue()
        self._files = SeenFiles(stable)
        self._in_hand: set[str] = set()
        self._told: dict[str, Failure] = {}
        self._trouble: tuple[str, str] | None = None
        self._news = True
        self._began = 0.0
        self._started = False

    def start(self) -> Listing:
        """Have the first look. Everything in it is told by the iteration as well.

        Call it when the run has written to `out`: that shows the file system's time, by which
        files are old enough to come at once. Raises UsageError for a data set or a file,
        InputError where the folder is missing, cannot be read, or holds results.
        """
        check_watchable(self._source)
        self._started = True
        with suppress(Stopped):  # then there is nothing to iterate over, either
            self._look()
        failure = self._failures().get(TOP)
        if failure is not None:
            raise unreadable(self._source, failure.reason)
        newest = self._files.newest_ns()
        self._files.trust_old(file_system_time(self._source, self._out, newest))
        return self.listing

    def __iter__(self) -> Iterator[Event]:
        """Events, until `stop` is set or `cancel` called. Raises what `start` does."""
        try:
            if not self._started:
                self.start()
            while not self._stopped():
                yield from self._told_now()
                yield from self._whole()
                yield from self._pause()
                self._look()
        except Stopped:
            return

    def finished(self, relative: str, *, failed: bool) -> None:
        """The stream is through with an input that came out of here, well or badly.

        Until then it does not come again and there is no lull.
        """
        self._reports.put((relative, failed))

    def cancel(self) -> None:
        """End the iteration, as `stop` does; for `Stages.guard`."""
        self._cancelled.set()

    def remaining(self) -> tuple[str, ...]:
        """Inputs that are there and not finished as they are now.

        They are not whole yet, have changed since, or are in hand. For the iterating thread,
        or for any when the iteration has ended.
        """
        self._take_reports()
        return tuple(sorted({*self._files.waiting(), *self._in_hand}))

    def _stopped(self) -> bool:
        return self._stop.is_set() or self._cancelled.is_set()

    def _look(self) -> None:
        """One walk over the folder."""
        self._began = time.monotonic()
        walk = LookingWalk(self._source, self._out, self._stopped)
        self.listing = walk.run()
        self._files.notice(walk.looks)

    def _failures(self) -> dict[str, Failure]:
        """What stands in the way of inputs now."""
        denied = {
            name: Failure(name, "list", f"cannot be opened ({reason}); it is tried again")
            for name, reason in self._files.denied().items()
        }
        return denied | {failure.file: failure for failure in self.listing.failures}

    def _told_now(self) -> Iterator[Event]:
        """What has changed about the folder and its failures since it was last told."""
        failures = self._failures()
        yield from self._folder_itself(failures.pop(TOP, None))
        if self._trouble:
            return  # nothing is known of what is below
        for file in sorted(self._told.keys() - failures.keys()):
            if not any(str(above) in failures for above in PurePosixPath(file).parents):
                yield self._healed(file)
        for file, failure in failures.items():
            if self._told.get(file) != failure:
                self._told[file], self._news = failure, True
                yield failure

    def _folder_itself(self, failure: Failure | None) -> Iterator[Note]:
        """A share that goes is told of once, and once more when it is back."""
        trouble: tuple[str, str] | None = None
        if failure is not None:
            trouble = (failure.reason, "can be read again")
        elif not self.listing.files and self._files.any_given():
            # What is left where a share was mounted is an empty folder.
            gone = "all its micrographs have gone (if it is a share, is it still connected?)"
            trouble = (gone, "holds micrographs again")
        if trouble and not self._trouble:
            yield Note(f"{self._source}: {trouble[0]}; watching on")
        elif self._trouble and not trouble:
            yield Note(f"{self._source}: {self._trouble[1]}")
        self._trouble = trouble

    def _healed(self, file: str) -> Healed:
        del self._told[file]
        self._news = True
        return Healed(file)

    def _whole(self) -> Iterator[Event]:
        """The files that are ready, in the listing's order."""
        self._take_reports()
        names = [f.relative for f in self.listing.files if f.relative not in self._in_hand]
        for file in self._files.due(self._began, names):
            if self._stopped():
                raise Stopped
            if self._files.open(file):
                yield from self._give(file)

    def _give(self, file: SeenFile) -> Iterator[Event]:
        name = file.listed.relative
        if name in self._told:
            yield self._healed(name)
        self._in_hand.add(name)
        self._news = True
        yield file.listed

    def _pause(self) -> Iterator[CaughtUp]:
        """Wait for the next walk; somewhere in between, the stream may have caught up."""
        end = time.monotonic() + self._poll
        while True:
            self._take_reports()
            if self._news and not self._in_hand:
                self._news = False
                yield CaughtUp(self._files.waiting())
            left = end - time.monotonic()
            if left <= 0:
                return
            self._stop.wait(min(left, _PIECE_SECONDS))
            if self._stopped():
                raise Stopped

    def _take_reports(self) -> None:
        while True:
            try:
                name, failed = self._reports.get_nowait()
            except Empty:
                return
            self._in_hand.discard(name)
            if failed:
                self._files.failed(name)
