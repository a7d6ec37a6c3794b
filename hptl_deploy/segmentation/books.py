"""The books of a run: ledger, tables, counts; kept by one thread at a time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hptl_deploy.files import remove
from hptl_deploy.segmentation.clock import Clock
from hptl_deploy.segmentation.inputs.listing import Failure
from hptl_deploy.segmentation.items import Job, PageOf
from hptl_deploy.segmentation.ledger import Entry, Ledger
from hptl_deploy.segmentation.tables import Tables


@dataclass
class _Parts:
    """What is written of an input so far."""

    outputs: dict[str, int] = field(default_factory=dict)
    """Size in bytes by name below the out folder."""
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Rows of fields.csv by page."""
    advanced: float = 0.0
    """The share of it that the progress bar has been told of."""


class Books:
    """What became of every input. All methods may be called from any thread."""

    def __init__(
        self,
        out: Path,
        ledger: Ledger,
        tables: Tables,
        clock: Clock,
        model_sha256: str,
        settings_sha256: str,
        advance: Callable[[float, str, Failure | None], None],
        finished: Callable[[Job, bool], None] = lambda job, failed: None,
    ) -> None:
        """`advance` is told about progress: a share of an input, its name, its failure if any.

        `finished` is told about every input that is over, and whether it failed.
        """
        self._out, self._ledger, self._tables, self._clock = out, ledger, tables, clock
        self._model_sha256, self._settings_sha256 = model_sha256, settings_sha256
        self._advance, self._finished = advance, finished
        self._lock = threading.Lock()
        self._parts: dict[str, _Parts] = {}
        self._outcomes: dict[str, str] = {}
        """The newest of every input: in a watched folder it may come again."""

    @property
    def counts(self) -> Counter[str]:
        """`done`, `skipped` and `failed` inputs."""
        return Counter(self._outcomes.values())

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """No other thread changes ledger or tables inside."""
        with self._lock:
            yield

    def skipped(self, job: Job, entry: Entry) -> None:
        """An earlier run has done `job`."""
        with self._lock:
            self._finish(job, "skipped", entry.rows)

    def band_done(self, of: PageOf, pixels: int, *, now: bool) -> None:
        """`pixels` of a page are stored, `now` or by an earlier run."""
        with self._lock:
            if now:
                self._clock.done(pixels)
            if of.job.abandoned:
                return
            share = pixels / (of.plan.height * of.plan.width * of.pages)
            self._parts.setdefault(of.job.listed.relative, _Parts()).advanced += share
            self._advance(share, of.job.listed.relative, None)

    def page_done(self, of: PageOf, outputs: Mapping[str, int], row: dict[str, Any]) -> bool:
        """A page's results are in place; with the last page, `of.job` is done, and the answer True.

        Raises ResultsError when the ledger cannot be written.
        """
        job = of.job
        with self._lock:
            if job.abandoned:
                self._remove(outputs)
                return False
            banded = of.plan.band is not None
            self._clock.done(0 if banded else of.plan.height * of.plan.width, pages=1)
            parts = self._parts.setdefault(job.listed.relative, _Parts())
            parts.outputs |= outputs
            parts.rows[of.page] = row
            complete = len(parts.rows) == of.pages
            if complete:
                rows = [parts.rows[page] for page in sorted(parts.rows)]
                self._ledger.append(self._entry(job, parts.outputs, rows))
                self._finish(job, "done", rows)
                job.done = True
            self._tables.write_if_due()
            return complete

    def failed(self, job: Job, stage: str, why: str) -> None:
        """`job` cannot be done; only what fails first counts, and nothing behind its last page.

        Nothing of it stays: half a file's pages would pass for all of them. Raises ResultsError
        when the ledger cannot be written.
        """
        with self._lock:
            if job.abandoned or job.done:
                return
            job.abandoned = True
            self._remove(self._parts.get(job.listed.relative, _Parts()).outputs)
            failure = Failure(job.listed.relative, stage, why)
            self._ledger.append(self._entry(job, {}, [], {"stage": stage, "reason": why}))
            self._finish(job, "failed", [], failure)
            self._tables.write_if_due()

    def end(self) -> None:
        """The run is over: of what it has not finished, nothing stays, as of what failed."""
        with self._lock:
            for parts in self._parts.values():
                self._remove(parts.outputs)

    def _remove(self, outputs: Mapping[str, int]) -> None:
        for name in outputs:
            with suppress(OSError):
                remove(self._out / name)

    def _entry(
        self,
        job: Job,
        outputs: dict[str, int],
        rows: list[dict[str, Any]],
        failure: dict[str, str] | None = None,
    ) -> Entry:
        return Entry(
            file=job.listed.relative,
            bytes=job.bytes,
            sha256=job.sha256,
            model_sha256=self._model_sha256,
            settings_sha256=self._settings_sha256,
            base=job.base,
            outputs=outputs,
            rows=rows,
            failure=failure,
        )

    def _finish(
        self, job: Job, outcome: str, rows: list[dict[str, Any]], failure: Failure | None = None
    ) -> None:
        name = job.listed.relative
        self._outcomes[name] = outcome
        self._tables.rows[name] = rows
        self._tables.failures.pop(name, None)
        if failure is not None:
            self._tables.failures[name] = failure
        advanced = self._parts.pop(name, _Parts()).advanced
        self._advance(1.0 - advanced, name, failure)
        self._finished(job, failure is not None)
