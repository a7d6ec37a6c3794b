"""The write stage: class map, overlay and measurement of every page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hptl_deploy import __version__
from hptl_deploy.engines.base import Engine
from hptl_deploy.errors import HptlError
from hptl_deploy.files import atomic_path
from hptl_deploy.measurement.fields import Field, measure_field
from hptl_deploy.segmentation.books import Books
from hptl_deploy.segmentation.classmap import describe, write_class_map, write_confidence
from hptl_deploy.segmentation.clock import Clock
from hptl_deploy.segmentation.items import Failed, Kept, PageOf, Skipped, Solved, reason
from hptl_deploy.segmentation.naming import page_base
from hptl_deploy.segmentation.options import SegmentOptions
from hptl_deploy.segmentation.overlay import write_overlay

Written = Solved | Kept | Skipped | Failed

Outputs = dict[str, Callable[[Path], None]]
"""What writes each result, by its name below the out folder."""


@dataclass(frozen=True)
class Writer:
    """Takes the stream's items, from several threads."""

    options: SegmentOptions
    engine: Engine
    out: Path
    books: Books
    clock: Clock

    def take(self, item: Written) -> None:
        """Write one item. Raises ResultsError when the ledger cannot be written."""
        with self.clock.busy("write"):
            if isinstance(item, Skipped):
                self.books.skipped(item.job, item.entry)
            elif isinstance(item, Failed):
                self.books.failed(item.job, item.stage, item.reason)
            elif isinstance(item, Solved):
                self._solved(item)

    def _solved(self, solved: Solved) -> None:
        frame = solved.frame
        if frame.job.abandoned:
            frame.leave()
            return
        try:
            outputs, row = self._page(solved)
        except Exception as exc:
            self._failed(solved, exc)
        else:
            self.books.page_done(frame.of, outputs, row)
        finally:
            frame.leave()

    def _failed(self, solved: Solved, error: Exception) -> None:
        """The stage that is to blame: a map that breaks the contract is the engine's fault."""
        why = reason(error)
        if isinstance(error, OSError):
            self.books.failed(solved.frame.job, "write", f"{self.out}: {why}")
        else:
            stage = "infer" if isinstance(error, HptlError) else "write"
            self.books.failed(solved.frame.job, stage, why)

    def _page(self, solved: Solved) -> tuple[dict[str, int], dict[str, Any]]:
        """Sizes of what was written, by name, and the row of fields.csv.

        Measured first: a map that breaks the contract is not written.
        """
        of, classes = solved.frame.of, solved.classes
        phases, kind = self.engine.model.card.phases, self.options.overlay
        measured = measure_field(classes, solved.confidence, phases)
        base = page_base(of.job.base, of.page, of.pages)
        about = describe(
            self.engine.model, self.engine.info.precision, of.calibration.pixel_size_um
        )
        writers: Outputs = {
            f"{base}_classes.tif": lambda path: write_class_map(path, classes, phases, about)
        }
        if self.options.confidence:
            writers[f"{base}_confidence.tif"] = lambda path: write_confidence(
                path, solved.confidence, about
            )
        if kind != "none":
            writers[f"{base}_overlay.{kind}"] = lambda path: write_overlay(
                path, solved.frame.pixels, classes, phases, kind, about
            )
        outputs = self._write(writers)
        return outputs, self._row(of, measured, f"{base}_classes.tif")

    def _write(self, writers: Outputs) -> dict[str, int]:
        """Each result whole or not at all; sizes by name. On an error none of them stays."""
        written: dict[str, int] = {}
        try:
            for name, write in writers.items():
                path = self.out / name
                with atomic_path(path) as temporary:
                    write(temporary)
                written[name] = path.stat().st_size
        except BaseException:
            for name in written:
                (self.out / name).unlink(missing_ok=True)
            raise
        return written

    def _row(self, of: PageOf, measured: Field, classes_file: str) -> dict[str, Any]:
        """A row of fields.csv."""
        fractions = {f"{key}_area_fraction": v for key, v in measured.area_fractions.items()}
        return {
            "file": of.job.listed.relative,
            "page": of.page,
            "width_px": of.plan.width,
            "height_px": of.plan.height,
            "pixel_size_um": of.calibration.pixel_size_um,
            "pixel_size_source": of.calibration.source,
            **fractions,
            "mean_confidence": measured.mean_confidence,
            "classes_file": classes_file,
            "model": self.engine.model.card.name,
            "model_sha256": self.engine.model.sha256,
            "precision": self.engine.info.precision,
            "hptl_deploy_version": __version__,
        }
