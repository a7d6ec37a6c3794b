"""The read stage: hash, decide whether there is anything to do, decode page by page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hptl_deploy.datasets.description import DATA_SET_FILE
from hptl_deploy.engines.base import Engine
from hptl_deploy.errors import MicrographError
from hptl_deploy.left_out.strips import search_bytes
from hptl_deploy.micrographs.bands import BandReader
from hptl_deploy.micrographs.base import Calibration, Micrograph, Page
from hptl_deploy.micrographs.companions import companions, content_sha256
from hptl_deploy.outputs import kinds
from hptl_deploy.quality import judging
from hptl_deploy.rescaling.ratio import ratio_of
from hptl_deploy.segmentation import measuring
from hptl_deploy.segmentation.clock import Clock
from hptl_deploy.segmentation.items import Failed, Frame, Job, Kept, PageOf, Skipped, reason
from hptl_deploy.segmentation.ledger import Entry, Ledger
from hptl_deploy.segmentation.memory import MemoryPlan
from hptl_deploy.segmentation.mosaics.banding import LARGE
from hptl_deploy.segmentation.mosaics.mosaic import Mosaics
from hptl_deploy.segmentation.options import SegmentOptions
from hptl_deploy.segmentation.rescaled import plan_rescaled
from hptl_deploy.segmentation.stages import ByteGate, Cancelled
from hptl_deploy.tiling import Region

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Read = Frame | Kept | Skipped | Failed
Stamp = tuple[tuple[int, int], ...]
"""Size and time of modification, ns, of a micrograph's files."""


@dataclass(frozen=True)
class Reader:
    """Makes the stream's items from its jobs; several threads may each take some of them."""

    options: SegmentOptions
    engine: Engine
    memory: MemoryPlan
    ledger: Ledger
    mosaics: Mosaics
    clock: Clock
    gate: ByteGate
    """For frames, from decoding to writing."""
    keeps: ByteGate
    """For what is kept of a mosaic from one band to the next: all of it, in some formats."""
    stop: threading.Event
    """No further job is begun once this is set."""

    def items(self, jobs: Iterable[Job]) -> Iterator[Read]:
        """Every job's frames, or the word that it is skipped or failed."""
        for job in jobs:
            if self.stop.is_set():
                return
            try:
                yield from self._job(job)
            except Cancelled:
                raise
            except Exception as exc:
                # Readers of damaged files raise what they like; one file must not end a run.
                yield Failed(job, "read", reason(exc))

    def _job(self, job: Job) -> Iterator[Frame | Kept | Skipped]:
        path = job.listed.path
        with self.clock.busy("read"):
            stamp = _stamp(path)
            job.bytes, job.sha256 = sum(size for size, _ in stamp), content_sha256(path)
            entry = self._done_before(job)
        if entry is not None:
            yield Skipped(job, entry)
            return
        judging.load_libraries()
        if self.options.particles:
            measuring.load_libraries()
        kinds.load_libraries(self.options.also)
        from hptl_deploy.micrographs import open_micrograph

        with self.clock.busy("read"):
            opened = open_micrograph(path)
        with opened as micrograph:
            yield from self._pages(job, micrograph, stamp)

    def _pages(self, job: Job, micrograph: Micrograph, stamp: Stamp) -> Iterator[Frame | Kept]:
        pages = len(micrograph.pages)
        if pages == 0:
            raise MicrographError("holds no micrograph")
        for number, page in enumerate(micrograph.pages, 1):
            of = self._page_of(job, page, number, pages)
            items = self._whole(of, page) if of.plan.band is None else self._bands(of, page)
            for item in items:
                try:
                    _check_unchanged(job.listed.path, stamp)
                except BaseException:
                    if isinstance(item, Frame):
                        item.leave()
                    raise
                yield item
                del item  # not held while room for the next is waited for
                if job.abandoned:
                    return

    def _page_of(self, job: Job, page: Page, number: int, pages: int) -> PageOf:
        self.options.leave_out.check_page(page.height, page.width)
        kinds.check_page(self.options.also, page.height, page.width)
        capacity, tile = self.engine.capacity, self.options.tile
        calibration, shape = self._calibration(page), (page.height, page.width)
        trained_um = self.engine.model.card.pixel_size_um
        ratio = ratio_of(calibration, trained_um, self.options.rescale)
        if ratio is None:
            plan = self.memory.plan(*shape, capacity, tile)
            return PageOf(job, number, pages, plan, calibration, gaps=page.gaps)
        rescaled = plan_rescaled(self.memory, shape, ratio, capacity, tile)
        return PageOf(job, number, pages, rescaled.own_plan, calibration, rescaled, page.gaps)

    def _whole(self, of: PageOf, page: Page) -> Iterator[Frame]:
        (area,) = of.plan.areas
        yield self._frame(of, area, page.read)

    def _bands(self, of: PageOf, page: Page) -> Iterator[Frame | Kept]:
        mosaic, plan = self.mosaics.of(of), of.plan
        need = self.memory.check_bands(page, plan, self.engine.capacity, of.rescaled)
        twice = 2 * plan.halo if of.rescaled is None else of.rescaled.reading[1]
        with self.keeps.inside(need), page.bands(twice) as bands:
            of = self._searched(of, bands)
            for area in plan.areas:
                with self.clock.busy("read"):
                    there = not self.options.overwrite and mosaic.has(area)
                if there:
                    yield Kept(of, area)
                else:
                    rows = of.rows_for(area)
                    yield self._frame(of, area, partial(bands.read, rows.y0, rows.y1))

    def _searched(self, of: PageOf, bands: BandReader) -> PageOf:
        """With what is burnt in, before the first band is segmented; in every run alike."""
        if self.options.leave_out.scale_bar != "auto":
            return of
        shape = (of.plan.height, of.plan.width)
        with self.gate.inside(search_bytes(*shape, LARGE)), self.clock.busy("read"):
            from hptl_deploy.left_out.burnt_in import search_strips

            return replace(of, searched=search_strips(bands.read, *shape, LARGE))

    def _frame(self, of: PageOf, area: Region, read: Callable[[], NDArray[np.uint8]]) -> Frame:
        rescaled = of.rescaled
        held = self.memory.held(of.plan) if rescaled is None else rescaled.held
        self.gate.enter(held)
        try:
            with self.clock.busy("read"):
                pixels = read()
                seen = None if rescaled is None else rescaled.see(pixels, area)
        except BaseException:
            self.gate.leave(held)
            raise
        return Frame(of, area, of.rows_for(area), pixels, self.gate, held, seen)

    def _calibration(self, page: Page) -> Calibration:
        """By option, else by the file, else by the data set's description."""
        from hptl_deploy.micrographs.calibration import from_option, from_sizes

        size = self.options.data_set_pixel_size_um
        if self.options.pixel_size_um is not None:
            return from_option(self.options.pixel_size_um)
        if page.calibration.pixel_size_um is None and size is not None:
            return from_sizes(size, size, DATA_SET_FILE)
        return page.calibration

    def _done_before(self, job: Job) -> Entry | None:
        """The entry of an earlier run that did the same, and whose results are in place."""
        entry = self.ledger.entry(job.listed.relative)
        if entry is None or self.options.overwrite or job.sha256 != entry.sha256:
            return None
        return entry if self.still_valid(entry, job) and self.ledger.is_in_place(entry) else None

    def still_valid(self, entry: Entry, job: Job) -> bool:
        """True where `entry` is of this model, these settings and these names, and no failure."""
        return (
            entry.failure is None
            and entry.base == job.base
            and entry.model_sha256 == self.engine.model.sha256
            and entry.settings_sha256 == self.options.settings_sha256()
        )


def _stamp(path: Path) -> Stamp:
    """What changes when the micrograph is written to."""
    states = [file.stat() for file in (path, *companions(path))]
    return tuple((state.st_size, state.st_mtime_ns) for state in states)


def _check_unchanged(path: Path, stamp: Stamp) -> None:
    """Raise MicrographError where the file is not what it was when reading began."""
    try:
        now = _stamp(path)
    except FileNotFoundError as exc:
        raise MicrographError("was deleted while it was being read") from exc
    if now != stamp:
        raise MicrographError(
            "was changed while it was being read", hint="Run again when it is complete"
        )
