"""The write stage: class map, overlay, measurement, and the line in the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hptl_deploy import __version__
from hptl_deploy.engines.base import Engine
from hptl_deploy.errors import HptlError
from hptl_deploy.files import atomic_path
from hptl_deploy.measurement.fields import Field, measure_field
from hptl_deploy.segmentation.classmap import describe, write_class_map, write_confidence
from hptl_deploy.segmentation.items import Clock, Failed, Frame, Job, Skipped, Solved, reason
from hptl_deploy.segmentation.ledger import Entry, Ledger
from hptl_deploy.segmentation.listing import Failure
from hptl_deploy.segmentation.naming import page_base
from hptl_deploy.segmentation.options import SegmentOptions
from hptl_deploy.segmentation.overlay import write_overlay
from hptl_deploy.segmentation.tables import Tables

Written = Solved | Skipped | Failed


@dataclass
class _Parts:
    """What is written of an input so far."""

    outputs: dict[str, int] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Writer:
    """Takes the stream's items, page by page in order."""

    options: SegmentOptions
    engine: Engine
    out: Path
    ledger: Ledger
    tables: Tables
    clock: Clock
    report: Callable[[Failure | None, str], None]
    """Told about every input that is finished: its failure, if it failed, and its name."""
    counts: Counter[str] = field(default_factory=Counter)
    """`done`, `skipped` and `failed` inputs."""
    _parts: dict[str, _Parts] = field(default_factory=dict)

    def take(self, item: Written) -> None:
        """Write one item. Raises ResultsError when the ledger cannot be written."""
        with self.clock.busy("write"):
            if isinstance(item, Solved):
                self._solved(item)
            elif isinstance(item, Skipped):
                self._finish(item.job, "skipped", item.entry.rows)
            elif not item.job.abandoned:
                self._fail(item.job, item.stage, item.reason)
            self.tables.write_if_due()

    def _solved(self, solved: Solved) -> None:
        frame = solved.frame
        try:
            if frame.job.abandoned:
                return
            self._page(solved, self._parts.setdefault(frame.job.listed.relative, _Parts()))
        except OSError as exc:
            self._fail(frame.job, "write", f"{self.out}: {reason(exc)}")
        except HptlError as exc:
            self._fail(frame.job, "infer", reason(exc))
        except Exception as exc:
            self._fail(frame.job, "write", reason(exc))
        else:
            if frame.page == frame.pages:
                self._done(frame.job)
        finally:
            frame.leave()

    def _page(self, solved: Solved, parts: _Parts) -> None:
        """Measure first: a map that breaks the contract is not written."""
        frame, classes = solved.frame, solved.classes
        phases, kind = self.engine.model.card.phases, self.options.overlay
        measured = measure_field(classes, solved.confidence, phases)
        base = page_base(frame.job.base, frame.page, frame.pages)
        about = describe(
            self.engine.model, self.engine.info.precision, frame.calibration.pixel_size_um
        )
        writers: dict[str, Callable[[Path], None]] = {
            f"{base}_classes.tif": lambda path: write_class_map(path, classes, phases, about)
        }
        if self.options.confidence:
            writers[f"{base}_confidence.tif"] = lambda path: write_confidence(
                path, solved.confidence, about
            )
        if kind != "none":
            writers[f"{base}_overlay.{kind}"] = lambda path: write_overlay(
                path, frame.pixels, classes, phases, kind, about
            )
        for name, write in writers.items():
            self._output(parts, name, write)
        parts.rows.append(self._row(frame, measured, f"{base}_classes.tif"))

    def _row(self, frame: Frame, measured: Field, classes_file: str) -> dict[str, Any]:
        """A row of fields.csv."""
        fractions = {f"{key}_area_fraction": v for key, v in measured.area_fractions.items()}
        return {
            "file": frame.job.listed.relative,
            "page": frame.page,
            "width_px": frame.plan.width,
            "height_px": frame.plan.height,
            "pixel_size_um": frame.calibration.pixel_size_um,
            "pixel_size_source": frame.calibration.source,
            **fractions,
            "mean_confidence": measured.mean_confidence,
            "classes_file": classes_file,
            "model": self.engine.model.card.name,
            "model_sha256": self.engine.model.sha256,
            "precision": self.engine.info.precision,
            "hptl_deploy_version": __version__,
        }

    def _output(self, parts: _Parts, name: str, write: Callable[[Path], None]) -> None:
        path = self.out / name
        with atomic_path(path) as temporary:
            write(temporary)
        parts.outputs[name] = path.stat().st_size

    def _done(self, job: Job) -> None:
        parts = self._parts.pop(job.listed.relative)
        self.ledger.append(self._entry(job, parts.outputs, parts.rows))
        self._finish(job, "done", parts.rows)

    def _fail(self, job: Job, stage: str, why: str) -> None:
        """Nothing of a failed input stays: half a file's pages would pass for all of them."""
        job.abandoned = True
        parts = self._parts.pop(job.listed.relative, _Parts())
        for name in parts.outputs:
            with suppress(OSError):
                (self.out / name).unlink()
        failure = Failure(job.listed.relative, stage, why)
        self.ledger.append(self._entry(job, {}, [], {"stage": stage, "reason": why}))
        self._finish(job, "failed", [], failure)

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
            model_sha256=self.engine.model.sha256,
            settings_sha256=self.options.settings_sha256(),
            base=job.base,
            outputs=outputs,
            rows=rows,
            failure=failure,
        )

    def _finish(
        self, job: Job, outcome: str, rows: list[dict[str, Any]], failure: Failure | None = None
    ) -> None:
        name = job.listed.relative
        self.counts[outcome] += 1
        self.tables.rows[name] = rows
        self.tables.failures.pop(name, None)
        if failure is not None:
            self.tables.failures[name] = failure
        self.report(failure, name)
