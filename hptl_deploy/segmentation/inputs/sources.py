"""Where a run's inputs come from: a listing made at the start, or a folder that is watched."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from hptl_deploy.segmentation.inputs.arrivals import (
    POLL_SECONDS,
    Arrivals,
    CaughtUp,
    Event,
    Healed,
    Note,
    watched_jobs,
)
from hptl_deploy.segmentation.inputs.late_names import LateNames
from hptl_deploy.segmentation.inputs.listing import Failure, Listed, Listing
from hptl_deploy.segmentation.inputs.naming import result_bases
from hptl_deploy.segmentation.items import Job
from hptl_deploy.segmentation.ledger import Ledger
from hptl_deploy.segmentation.stages import Stages
from hptl_deploy.segmentation.tables import Tables


class Inputs(Protocol):
    """What a run works on."""

    bases: Mapping[str, str]
    """The beginning of the results' names of every input so far."""
    total: int | None
    """How many there are; None where that is not known."""

    @property
    def listing(self) -> Listing:
        """The newest."""

    def known(self) -> list[Job]:
        """A job for every input that the listing holds."""

    def jobs(self, stages: Stages) -> Iterable[Job]:
        """What is to be done, in order; taken by one thread of `stages` at a time."""

    def finished(self, job: Job, *, failed: bool) -> None:
        """A job is over. Called from any thread."""

    def order(self) -> list[str]:
        """Every input that the tables may hold a row of, in the order of its rows."""

    def remaining(self, finished: int) -> int:
        """Inputs that are there and not done, where so many are `finished`."""


class ListedInputs:
    """A listing's."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.bases: Mapping[str, str] = result_bases(listing.names)
        self.total: int | None = len(listing.files)

    def known(self) -> list[Job]:
        """See `Inputs`."""
        return [Job(listed, self.bases[listed.relative]) for listed in self.listing.files]

    def jobs(self, stages: Stages) -> Iterable[Job]:
        """See `Inputs`."""
        return self.known()

    def finished(self, job: Job, *, failed: bool) -> None:
        """See `Inputs`."""

    def order(self) -> list[str]:
        """See `Inputs`."""
        return self.listing.order()

    def remaining(self, finished: int) -> int:
        """See `Inputs`."""
        return len(self.listing.files) - finished


class WatchedInputs:
    """A folder's that somebody is filling.

    What it says besides is told where it belongs: failures of listing into the tables, notes to
    the reader; at every lull `caught_up` is called.
    """

    def __init__(
        self,
        source: Path,
        out: Path,
        ledger: Ledger,
        stop: threading.Event,
        stable: float,
    ) -> None:
        """The results folder `out` has been written to just now. Raises what `Arrivals` does."""
        self._source = source
        self._arrivals = Arrivals(source, out, stop, poll=POLL_SECONDS, stable=stable)
        self._names = LateNames(ledger.bases(), self._arrivals.start().names)
        self.bases = self._names.bases
        self.total: int | None = None
        self._tell: Callable[[Event], None] = lambda event: None

    @property
    def listing(self) -> Listing:
        """See `Inputs`. Its failures come as events."""
        return self._arrivals.listing

    def tell(
        self,
        tables: Tables,
        exclusively: Callable[[], AbstractContextManager[None]],
        note: Callable[[str], None],
        caught_up: Callable[[tuple[str, ...]], None],
    ) -> None:
        """Who is told; `exclusively` keeps others from the tables."""

        def told(event: Event) -> None:
            with exclusively():
                if isinstance(event, Failure):
                    tables.failures[event.file] = event
                    note(f"{event.file}: {event.reason}")
                elif isinstance(event, Healed):
                    failure = tables.failures.get(event.file)
                    if failure is not None and failure.stage == "list":
                        del tables.failures[event.file]
                elif isinstance(event, Note):
                    note(event.text)
                elif isinstance(event, CaughtUp):
                    caught_up(event.waiting)

        self._tell = told

    def known(self) -> list[Job]:
        """See `Inputs`; and for all that earlier runs did: files are often moved on from here."""
        return [Job(Listed(self._source / name, name), base) for name, base in self.bases.items()]

    def jobs(self, stages: Stages) -> Iterable[Job]:
        """See `Inputs`."""
        stages.guard(self._arrivals)
        return watched_jobs(self._arrivals, self._names, self._tell)

    def finished(self, job: Job, *, failed: bool) -> None:
        """See `Inputs`."""
        self._arrivals.finished(job.listed.relative, failed=failed)

    def order(self) -> list[str]:
        """See `Inputs`."""
        return self.listing.order(self.bases)

    def remaining(self, finished: int) -> int:
        """See `Inputs`."""
        return len(self._arrivals.remaining())
