"""The write stage: class map, overlay and measurement of every page."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hptl_deploy.engines.base import Engine
from hptl_deploy.errors import HptlError, ResultsError
from hptl_deploy.files import atomic_path, remove, size_of
from hptl_deploy.left_out.marking import LeftOut, left_out_of
from hptl_deploy.measurement.fields import Tally
from hptl_deploy.measurement.particles import PageParticles, measure_particles
from hptl_deploy.quality.counts import count
from hptl_deploy.quality.judging import banded_figures, figures_of
from hptl_deploy.segmentation.books import Books
from hptl_deploy.segmentation.classmap import describe, write_class_map, write_confidence
from hptl_deploy.segmentation.clock import Clock
from hptl_deploy.segmentation.inputs.naming import page_base
from hptl_deploy.segmentation.items import (
    Failed,
    Job,
    Kept,
    Outputs,
    PageOf,
    Skipped,
    Solved,
    reason,
)
from hptl_deploy.segmentation.measuring import Measures, particle_writers, row_of
from hptl_deploy.segmentation.mosaics.mosaic import Mosaic, Mosaics
from hptl_deploy.segmentation.options import SegmentOptions
from hptl_deploy.segmentation.overlay import write_overlay
from hptl_deploy.tiling import Region

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Written = Solved | Kept | Skipped | Failed

_FULL = {errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""Nothing can be written any more: no space, no right to write, nothing left of one's share."""


@dataclass(frozen=True)
class Writer:
    """Takes the stream's items, from several threads."""

    options: SegmentOptions
    engine: Engine
    out: Path
    books: Books
    mosaics: Mosaics
    clock: Clock

    def take(self, item: Written) -> None:
        """Write one item.

        Raises ResultsError when the ledger, or anything at all, cannot be written: the run need
        not go through all that is left to say so of each.
        """
        with self.clock.busy("write"):
            if isinstance(item, Skipped):
                self.books.skipped(item.job, item.entry)
            elif isinstance(item, Failed):
                self.books.failed(item.job, item.stage, item.reason)
            elif isinstance(item, Kept):
                with self._blamed(item.job):
                    self._band_done(item.of, item.area, now=False)
            else:
                try:
                    with self._blamed(item.frame.job):
                        self._solved(item.on_own_grid())
                finally:
                    item.frame.leave()

    @contextmanager
    def _blamed(self, job: Job) -> Iterator[None]:
        """What goes wrong inside is the job's failure, in the stage that is to blame.

        A map that breaks the contract is the engine's fault. ResultsError passes.
        """
        try:
            yield
        except ResultsError:
            raise
        except OSError as exc:
            self._check_there()
            effective = os.access in os.supports_effective_ids
            if exc.errno in _FULL or not os.access(self.out, os.W_OK, effective_ids=effective):
                raise ResultsError(
                    f"{self.out}: cannot be written ({reason(exc)}), so the run stops",
                    hint="What is done stays done; start it again when the folder can be written",
                ) from exc
            self.books.failed(job, "write", f"{self.out}: {reason(exc)}")
        except HptlError as exc:
            self.books.failed(job, "infer", reason(exc))
        except Exception as exc:
            self.books.failed(job, "write", reason(exc))

    def _check_there(self) -> None:
        if not self.out.is_dir():
            raise ResultsError(
                f"{self.out}: has been deleted, so the run stops", hint="Start it again"
            )

    def _solved(self, solved: Solved) -> None:
        """Tallied first: a map that breaks the contract is not written."""
        self._check_there()  # writing would make it anew
        frame, of = solved.frame, solved.frame.of
        banded = of.plan.band is not None
        if of.job.abandoned and not banded:
            return
        left_out = self._left_out_of_bands(of) if banded else self._left_out(of, frame.pixels)
        left_out.mark(solved.classes, solved.confidence, frame.area)
        tally, phases = Tally(), self.engine.model.card.phases
        tally.add(solved.classes, solved.confidence)
        measured = tally.field(phases)
        if banded:
            counts = count(frame.rows_of_area, solved.classes, solved.confidence)
            self.mosaics.of(of).put(solved, tally, counts)
            self._band_done(of, frame.area, now=True)
            return
        asked = self.options.particles
        found = measure_particles(solved.classes, solved.confidence) if asked else None
        about, base = self._about(of), self._base(of)
        writers = self._writers(solved, base, about)
        writers |= particle_writers(found, of, base, phases, about)
        statistics = self.engine.model.card.training_statistics
        seen = None if frame.rescaled is None else frame.rescaled.pixels
        figures = figures_of(frame.pixels, solved.classes, solved.confidence, statistics, seen)
        outputs = self._write(writers | self._further(base, about, found, solved))
        self._enter(of, outputs, Measures(measured, left_out, figures, found))

    def _left_out(self, of: PageOf, pixels: NDArray[np.uint8]) -> LeftOut:
        """Of a page; what is burnt in is looked for in the `pixels` of all of it."""
        plan = of.plan
        return left_out_of(self.options.leave_out, plan.height, plan.width, of.gaps, pixels)

    def _left_out_of_bands(self, of: PageOf) -> LeftOut:
        """Of a page in bands, which the reader has searched: the same in all of them."""
        plan = of.plan
        return LeftOut(plan.height, plan.width, self.options.leave_out, of.gaps, of.searched)

    def _band_done(self, of: PageOf, area: Region, *, now: bool) -> None:
        self.books.band_done(of, math.prod(area.shape), now=now)
        mosaic = self.mosaics.of(of)
        if not mosaic.settle(area) or of.job.abandoned:
            return
        about, phases = self._about(of), self.engine.model.card.phases
        base = self._base(of)
        writers = mosaic.writers(base, phases, about, self.options.overlay)
        try:
            measured = mosaic.tally().field(phases)
            figures = banded_figures(mosaic.counts())
            found, grid = mosaic.measured.particles(), mosaic.measured.fields()
            writers |= particle_writers(found, of, base, phases, about)
            outputs = self._write(writers | self._further(base, about, found, mosaic))
        except ResultsError as exc:  # a stored band is damaged; the next run makes it again
            self.books.failed(of.job, "write", reason(exc))
            return
        self._enter(
            of, outputs, Measures(measured, self._left_out_of_bands(of), figures, found, grid)
        )

    def _enter(self, of: PageOf, outputs: dict[str, int], measures: Measures) -> None:
        """Into the books; bands are kept until all pages are there, or they would be made again."""
        row = row_of(
            of, self._base(of), measures, self.engine.model, self.engine.info.precision,
            asked=self.options.particles,
        )  # fmt: skip
        if self.books.page_done(of, outputs, row):
            self.mosaics.close(of.job)

    def _base(self, of: PageOf) -> str:
        return page_base(of.job.base, of.page, of.pages)

    def _about(self, of: PageOf) -> dict[str, Any]:
        precision = self.engine.info.precision
        about = describe(self.engine.model, precision, of.calibration.pixel_size_um)
        if of.rescaled is not None:
            about["segmented_pixel_size_um"] = of.segmented_pixel_size_um
        return about

    def _writers(self, solved: Solved, base: str, about: dict[str, Any]) -> Outputs:
        """Of a page that lies in memory."""
        classes, confidence = solved.classes, solved.confidence
        phases, kind = self.engine.model.card.phases, self.options.overlay
        writers: Outputs = {
            f"{base}_classes.tif": lambda path: write_class_map(path, classes, phases, about)
        }
        if self.options.confidence:
            writers[f"{base}_confidence.tif"] = lambda path: write_confidence(
                path, confidence, about
            )
        if kind != "none":
            pixels = solved.frame.pixels
            writers[f"{base}_overlay.{kind}"] = lambda path: write_overlay(
                path, pixels, classes, phases, kind, about
            )
        return writers

    def _further(
        self,
        base: str,
        about: dict[str, Any],
        found: PageParticles | None,
        source: Solved | Mosaic,
    ) -> Outputs:
        """The formats of --also."""
        if not self.options.also:
            return {}
        from hptl_deploy.outputs.writers import further_writers, maps_of

        page = maps_of(source, confidence=self.options.confidence)
        noise = self.options.particles and found is None
        particles = None if found is None else found.particles
        also, phases = self.options.also, self.engine.model.card.phases
        return further_writers(also, base, page, phases, about, particles, noise=noise)

    def _write(self, writers: Outputs) -> dict[str, int]:
        """Each result whole or not at all; sizes by name. On an error none of them stays."""
        written: dict[str, int] = {}
        try:
            for name, write in writers.items():
                path = self.out / name
                with atomic_path(path, self.out) as temporary:
                    write(temporary)
                written[name] = size_of(path)
        except BaseException:
            for name in written:
                remove(self.out / name)
            raise
        return written
