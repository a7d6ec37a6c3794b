"""One run: a folder of micrographs in, a folder of results out."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from hptl_deploy.engines.base import Engine
from hptl_deploy.errors import ResultsError
from hptl_deploy.files import remove_leftovers
from hptl_deploy.report.writing import report_after_run
from hptl_deploy.rescaling.words import rescaling_line
from hptl_deploy.segmentation.books import Books
from hptl_deploy.segmentation.clock import Clock
from hptl_deploy.segmentation.inference import Inference
from hptl_deploy.segmentation.inputs.listing import Failure, Listing, list_inputs
from hptl_deploy.segmentation.inputs.sources import Inputs, ListedInputs, WatchedInputs
from hptl_deploy.segmentation.inputs.watchable import check_watchable
from hptl_deploy.segmentation.ledger import Ledger, read_entries
from hptl_deploy.segmentation.memory import check_tile, plan_memory
from hptl_deploy.segmentation.mosaics.mosaic import Mosaics
from hptl_deploy.segmentation.opening import open_results, recorded_memory
from hptl_deploy.segmentation.options import SegmentOptions
from hptl_deploy.segmentation.pipeline import run_stream, threads_per_stage
from hptl_deploy.segmentation.reading import Reader
from hptl_deploy.segmentation.record import RunRecord, result_list
from hptl_deploy.segmentation.shards.sharding import check_shards, share
from hptl_deploy.segmentation.stages import ByteGate
from hptl_deploy.segmentation.summary import RunSummary
from hptl_deploy.segmentation.tables import Tables, fields_with_less, unwritable
from hptl_deploy.segmentation.writing import Writer
from hptl_deploy.sink import Bar, Silent, Sink
from hptl_deploy.statistics.findings import Findings
from hptl_deploy.statistics.joined import JoinedTables
from hptl_deploy.tiling import check_core
from hptl_deploy.wording import counted


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
    if options.watch:
        check_watchable(options.input, options.split)
        return _in_results(options, engine, sink, stop, out, None)
    listing = list_inputs(options.input, out, options.split)
    if options.shard is not None:
        listing = share(listing, options.shard)
    for note in listing.notes:
        sink.note(note)
    if options.pixel_size_um is None:  # else dataset.toml may change without any effect
        options = replace(options, data_set_pixel_size_um=listing.pixel_size_um)
    return _in_results(options, engine, sink, stop, out, listing)


def _in_results(
    options: SegmentOptions,
    engine: Engine,
    sink: Sink,
    stop: threading.Event,
    out: Path,
    listing: Listing | None,
) -> RunSummary:
    """Open the results folder and its books, and run on `listing`, or watch where it is None."""
    recorded = open_results(out, options)
    home = out if options.shard is None else options.shard.home(out)
    if home != out:
        recorded = open_results(home, options)
    with Ledger(home, out) as ledger:
        check_shards(out, options.shard, options.input)
        if home != out:
            ledger.know(read_entries(out))
        # In `out` there are other shards' half-written files, so those are left to merge.
        remove_leftovers(home)
        inputs: ListedInputs | WatchedInputs = (
            WatchedInputs(options.input, out, ledger, stop, options.stable_seconds)
            if listing is None
            else ListedInputs(listing)
        )
        run = _Run(options, engine, sink, stop, inputs, out, home, ledger, recorded)
        if isinstance(inputs, WatchedInputs):
            inputs.tell(run.tables, run.books.exclusively, sink.note, run.caught_up)
        return run.go()


class _Run:
    """What the steps of one run share."""

    def __init__(
        self,
        options: SegmentOptions,
        engine: Engine,
        sink: Sink,
        stop: threading.Event,
        inputs: Inputs,
        out: Path,
        home: Path,
        ledger: Ledger,
        recorded: dict[str, Any] | None,
    ) -> None:
        self.options, self.engine, self.sink, self.stop = options, engine, sink, stop
        self.inputs, self.out, self.home, self.ledger = inputs, out, home, ledger
        workers = threads_per_stage()
        before = recorded_memory(recorded, engine.model, options)
        self.memory = plan_memory(engine.info.device, before, 2 * workers)
        self.clock = Clock({"read": workers, "write": workers})
        joined = JoinedTables.of(out, engine.model.card, options.tables)
        self.tables = Tables(home, inputs.order, joined)
        self.record = RunRecord(home, options, engine, inputs, self.memory, self.tables, self.clock)
        self.mosaics = Mosaics(
            home, engine.model.sha256, options.settings_sha256(),
            confidence=options.confidence, overlay=options.overlay, particles=options.particles,
        )  # fmt: skip
        self.reader = Reader(
            options, engine, self.memory, ledger, self.mosaics, self.clock,
            ByteGate(self.memory.frames), ByteGate(self.memory.reading), stop,
        )  # fmt: skip
        self.bar: Bar = Silent()
        self.books = Books(
            out, ledger, self.tables, self.clock,
            engine.model.sha256, options.settings_sha256(), self._report,
            lambda job, failed: inputs.finished(job, failed=failed),
        )  # fmt: skip
        self.writer = Writer(options, engine, out, self.books, self.mosaics, self.clock)

    def go(self) -> RunSummary:
        """Run, and leave tables and run.json behind, however it ends."""
        self.sink.note(self.memory.describe())
        self._take_over()
        if not self.options.watch:  # there they come by and by
            for failure in self.inputs.listing.failures:
                self.tables.failures[failure.file] = failure
                self.sink.note(f"{failure.file}: {failure.reason}")
        self._write("running")
        try:
            with self._progress() as self.bar:
                inference = Inference(self.engine, self.sink.note, self.memory.engine)
                run_stream(
                    self.inputs.jobs, self.reader, self.writer, inference, self.clock, self.stop
                )
        except BaseException:
            self._write_if_possible()
            raise
        self.books.end()
        if self.options.shard is None:  # a shard does not know what the others own by now
            self.ledger.sweep(job.listed.relative for job in self.inputs.known())
        state = "interrupted" if self._counts()["remaining"] else "finished"
        self._write(state)
        trained_um = self.engine.model.card.pixel_size_um
        line = rescaling_line(self.tables.all_rows(), trained_um, self.options.rescale)
        if line is not None:
            self.sink.note(line)
        self.mosaics.end(complete=state == "finished" and not self.tables.failures)
        findings = self.tables.join()
        return RunSummary(
            out=self.out,
            state=state,
            counts=self._counts(),
            area_fractions=self.tables.mean_area_fractions(),
            fields=len(self.tables.all_rows()),
            left_out=fields_with_less(self.tables.all_rows()),
            flags=self.tables.flags(),
            failures=tuple(self.tables.all_failures()),
            throughput=self.clock.to_json(),
            results=tuple(result_list(self.tables)),
            shard=self.options.shard,
            findings=findings,
            report=self._reported(findings),
        )

    def _reported(self, findings: Findings) -> Path | None:
        if not self.options.report or self.options.shard is not None:
            return None
        return report_after_run(self.out, self.sink, findings)

    def caught_up(self, waiting: tuple[str, ...]) -> None:
        """All that has arrived in a watched folder is done, but for what is not whole yet."""
        try:
            self._write("running")
            self._reported(self.tables.join())
        except ResultsError as exc:  # a table that is open elsewhere
            self.sink.note(f"{exc.message}; tried again at the next lull")
        counts = self._counts()
        words = [f"{counts['done'] + counts['skipped']} done"]
        words += [f"{counts['failed']} failed"] if counts["failed"] else []
        words += [f"{len(waiting)} not complete yet"] if waiting else []
        self.sink.note(f"watching {self.options.input}: {', '.join(words)}; Ctrl-C ends")

    def _progress(self) -> AbstractContextManager[Bar]:
        if self.inputs.total is None:
            return nullcontext(Silent())
        return self.sink.progress("segment", self.inputs.total, "files")

    def _take_over(self) -> None:
        """Show what earlier runs did until this run has come to the same inputs."""
        stale, known = 0, set[str]()
        for job in self.inputs.known():
            known.add(job.listed.relative)
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
        if self.options.shard is None and not self.options.watch:  # these know but a part of them
            gone = [e.file for e in self.ledger.entries() if e.outputs and e.file not in known]
            if gone:
                self.sink.note(
                    f"not among the inputs any more: {counted(len(gone), 'input')} of earlier "
                    f"runs, such as {gone[0]}; results of them stay in the folder, in no table"
                )

    def _report(self, share: float, name: str, failure: Failure | None) -> None:
        if failure is not None:
            self.sink.note(f"{failure.file}: {failure.reason}")
        self.bar.advance(share, name, self.clock.describe())

    def _counts(self) -> dict[str, int]:
        counts = self.books.counts
        unlisted = sum(failure.stage == "list" for failure in self.tables.failures.values())
        return {
            "done": counts["done"],
            "skipped": counts["skipped"],
            "failed": counts["failed"] + unlisted,
            "remaining": self.inputs.remaining(counts.total()),
            "ignored": self.inputs.listing.ignored,
        }

    def _write(self, state: str) -> None:
        try:
            # run.json first: it marks the folder as ours, whatever happens next.
            self.record.write(state, self._counts())
            self.tables.write()
        except OSError as exc:
            raise unwritable(self.home, exc, "run again; class maps are kept") from exc

    def _write_if_possible(self) -> None:
        if not self.out.is_dir():
            return  # deleted: nothing is made anew that would speak of results
        try:
            self._write("interrupted")
        except ResultsError:
            return  # the error that is on its way says more
