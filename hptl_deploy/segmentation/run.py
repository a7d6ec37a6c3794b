"""One run: a folder of micrographs in, a folder of results out."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hptl_deploy.engines.base import Engine
from hptl_deploy.errors import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_SOME_FAILED,
    InputError,
    ResultsError,
)
from hptl_deploy.files import remove_leftovers
from hptl_deploy.results import RUN_FILE, read_run
from hptl_deploy.segmentation.books import Books
from hptl_deploy.segmentation.clock import Clock
from hptl_deploy.segmentation.inference import Inference
from hptl_deploy.segmentation.items import Job
from hptl_deploy.segmentation.ledger import LEDGER_FILE, Ledger
from hptl_deploy.segmentation.listing import Failure, Listing, list_inputs
from hptl_deploy.segmentation.memory import check_tile, plan_memory
from hptl_deploy.segmentation.naming import result_bases
from hptl_deploy.segmentation.options import SegmentOptions
from hptl_deploy.segmentation.pipeline import run_stream, threads_per_stage
from hptl_deploy.segmentation.reading import Reader
from hptl_deploy.segmentation.record import RunRecord, result_list
from hptl_deploy.segmentation.stages import ByteGate
from hptl_deploy.segmentation.tables import FAILURES_FILE, FIELDS_FILE, Tables
from hptl_deploy.segmentation.writing import Writer
from hptl_deploy.sink import Bar, Silent, Sink
from hptl_deploy.tiling import check_core


@dataclass(frozen=True)
class RunSummary:
    """What came of a run."""

    out: Path
    state: str
    """`finished` or `interrupted`."""
    counts: dict[str, int]
    """Inputs `done` and `skipped` (done before), `failed`, `remaining` (after an interrupt),
    and other files `ignored`."""
    area_fractions: dict[str, float]
    """By phase, mean over all fields in fields.csv, 0 to 1; empty without fields."""
    fields: int
    """Rows of fields.csv."""
    failures: tuple[Failure, ...] = ()
    results: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    """`file`, `page` and `classes_file` (below `out`) of every field."""

    @property
    def exit_code(self) -> int:
        """What a command line ends with."""
        if self.state == "interrupted":
            return EXIT_INTERRUPTED
        return EXIT_SOME_FAILED if self.failures else EXIT_OK


def segment(
    options: SegmentOptions,
    engine: Engine,
    sink: Sink | None = None,
    stop: threading.Event | None = None,
) -> RunSummary:
    """Segment every micrograph of `options.input` that is not done yet.

    Setting `stop` ends the run early: what is in hand is finished, everything written is
    whole, and the same call later goes on from there. A micrograph that cannot be done is a
    `Failure`, not an exception.

    Raises InputError (nothing to do, results of something else in the way), UsageError,
    ResultsError (the results folder cannot be written).
    """
    sink = sink or Silent()
    stop = stop or threading.Event()
    options.check()
    if options.tile is not None:
        check_core(options.tile, engine.model.card.stride)
        check_tile(options.tile, engine.capacity)
    if options.pixel_size_um is not None:
        from hptl_deploy.micrographs.calibration import from_option

        from_option(options.pixel_size_um)
    out = options.out_folder
    listing = list_inputs(options.input, out, options.split)
    for note in listing.notes:
        sink.note(note)
    if options.pixel_size_um is None:  # else dataset.toml may change without any effect
        options = replace(options, data_set_pixel_size_um=listing.pixel_size_um)
    recorded = _open_results(out, options)
    with Ledger(out) as ledger:
        remove_leftovers(out)
        run = _Run(options, engine, sink, stop, listing, out, ledger, recorded)
        return run.go()


def _open_results(out: Path, options: SegmentOptions) -> dict[str, Any] | None:
    """Make the results folder; the run.json of an earlier run where it is continued.

    Raises InputError when it cannot be made or holds something else.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as exc:
        raise InputError(
            f"{out}: cannot become the results folder, because a file is in its place",
            hint="Choose another --out",
        ) from exc
    except OSError as exc:
        raise InputError(
            f"{out}: the results folder cannot be made ({exc.strerror})",
            hint="Choose another --out",
        ) from exc
    recorded = read_run(out)
    own = (RUN_FILE, FIELDS_FILE, FAILURES_FILE, LEDGER_FILE)
    taken = [name for name in own if (out / name).exists()]
    if taken == [LEDGER_FILE] and (out / LEDGER_FILE).stat().st_size == 0:
        taken = []  # killed between making the ledger and the first run.json
    if recorded is None:
        if taken:
            raise InputError(
                f"{out}: holds a {taken[0]} that this program did not write",
                hint="Choose another --out",
            )
        return None
    before, source = Path(str(recorded.get("input"))), options.input
    # A folder that was moved since may go on; two folders must not mix.
    if before.exists() and not before.samefile(source):
        raise InputError(
            f"{out}: holds the results of {before}, not of {source}",
            hint="Choose another --out",
        )
    return recorded


class _Run:
    """What the steps of one run share."""

    def __init__(
        self,
        options: SegmentOptions,
        engine: Engine,
        sink: Sink,
        stop: threading.Event,
        listing: Listing,
        out: Path,
        ledger: Ledger,
        recorded: dict[str, Any] | None,
    ) -> None:
        self.options, self.engine, self.sink, self.stop = options, engine, sink, stop
        self.listing, self.out, self.ledger = listing, out, ledger
        workers = threads_per_stage()
        recorded_memory = self._recorded_memory(recorded)
        self.memory = plan_memory(engine.info.device, recorded_memory, 2 * workers)
        bases = result_bases(listing.names)
        self.jobs = [Job(listed, bases[listed.relative]) for listed in listing.files]
        self.clock = Clock({"read": workers, "write": workers})
        self.tables = Tables(out, listing.order(), engine.model.card.phases)
        self.record = RunRecord(
            out, options, engine, listing, bases, self.memory, self.tables, self.clock
        )
        self.reader = Reader(
            options, engine, self.memory, ledger, self.clock,
            ByteGate(self.memory.frames), stop,
        )  # fmt: skip
        self.bar: Bar = Silent()
        self.books = Books(
            out, ledger, self.tables, self.clock,
            engine.model.sha256, options.settings_sha256(), self._report,
        )  # fmt: skip
        self.writer = Writer(options, engine, out, self.books, self.clock)

    def go(self) -> RunSummary:
        """Run, and leave tables and run.json behind, however it ends."""
        self.sink.note(self.memory.describe())
        self._take_over()
        for failure in self.listing.failures:
            self.tables.failures[failure.file] = failure
            self.sink.note(f"{failure.file}: {failure.reason}")
        self._write("running")
        try:
            with self.sink.progress("segment", len(self.jobs), "files") as self.bar:
                run_stream(
                    self.jobs, self.reader, self.writer, Inference(self.engine, self.sink.note),
                    self.clock, self.stop,
                )  # fmt: skip
        except BaseException:
            self._write_if_possible()
            raise
        self.ledger.sweep(job.listed.relative for job in self.jobs)
        state = "interrupted" if self._counts()["remaining"] else "finished"
        self._write(state)
        return RunSummary(
            out=self.out,
            state=state,
            counts=self._counts(),
            area_fractions=self.tables.mean_area_fractions(),
            fields=len(self.tables.all_rows()),
            failures=tuple(self.tables.all_failures()),
            results=tuple(result_list(self.tables)),
        )

    def _recorded_memory(self, recorded: dict[str, Any] | None) -> object:
        """The budget of an earlier run of the same model and settings."""
        model = recorded.get("model") if recorded else None
        same = (
            recorded is not None
            and isinstance(model, dict)
            and model.get("sha256") == self.engine.model.sha256
            and recorded.get("settings_sha256") == self.options.settings_sha256()
        )
        return recorded.get("memory") if recorded and same else None

    def _take_over(self) -> None:
        """Show what earlier runs did until this run has come to the same inputs."""
        stale = 0
        for job in self.jobs:
            entry = self.ledger.entry(job.listed.relative)
            if entry is None:
                continue
            name = job.listed.relative
            if entry.failure is not None:
                self.tables.failures[name] = Failure(name, **entry.failure)
            elif self.reader.still_valid(entry, job):
                self.tables.rows[name] = entry.rows
            else:
                stale += 1
        if stale:
            self.sink.note(
                f"{stale} results in {self.out} are of another model or other settings and are "
                "replaced"
            )

    def _report(self, share: float, name: str, failure: Failure | None) -> None:
        if failure is not None:
            self.sink.note(f"{failure.file}: {failure.reason}")
        self.bar.advance(share, name, self.clock.describe())

    def _counts(self) -> dict[str, int]:
        counts: Counter[str] = self.books.counts
        finished = sum(counts.values())
        return {
            "done": counts["done"],
            "skipped": counts["skipped"],
            "failed": counts["failed"] + len(self.listing.failures),
            "remaining": len(self.jobs) - finished,
            "ignored": self.listing.ignored,
        }

    def _write(self, state: str) -> None:
        try:
            # run.json first: it marks the folder as ours, whatever happens next.
            self.record.write(state, self._counts())
            self.tables.write()
        except OSError as exc:
            raise ResultsError(
                f"{self.out}: {FIELDS_FILE}, {FAILURES_FILE} or {RUN_FILE} cannot be written "
                f"({exc.strerror or exc})",
                hint="Close programs that hold them open and run again; class maps are kept",
            ) from exc

    def _write_if_possible(self) -> None:
        try:
            self._write("interrupted")
        except ResultsError:
            return  # the error that is on its way says more
