"""The bands of a mosaic that are done: kept on disk until its results can be put together.

    <results>/.bands/<what it is of>/
        0000.classes  0000.confidence  0000.measured  0000.picture.npy     band 1
        0000.json                                         last: band 1 is whole; its figures
        0001.classes  ...

A run that is killed or stopped goes on behind the last whole band, as long as input, model,
settings and the cutting are the same. When the last band is there, the maps are put together from
all of them; the folder goes when the input, with all its pages, is in the ledger.
"""

from __future__ import annotations

import io
import json
import shutil
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy import __version__
from hptl_deploy.errors import ResultsError
from hptl_deploy.files import sha256_json, write_bytes, write_json
from hptl_deploy.measurement.fields import Tally
from hptl_deploy.quality.counts import Counts
from hptl_deploy.segmentation.items import Job, PageOf, Solved
from hptl_deploy.segmentation.mosaics.band import (
    BandedMap,
    BandedRows,
    check_band,
    encode_band,
    read_rows,
)
from hptl_deploy.segmentation.mosaics.measured import Measured, damaged_band
from hptl_deploy.segmentation.mosaics.tiff import write_class_mosaic, write_confidence_mosaic
from hptl_deploy.segmentation.overlay import reduced_picture, write_overlay
from hptl_deploy.tiling import FramePlan, Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_deploy.phases import Phase

BANDS_FOLDER = ".bands"

OVERLAY_SIDE = 4096
"""Of a mosaic's overlay, in pixels at most: it is reduced by a power of two until it fits."""


class Mosaic:
    """One page's bands. Methods may be called from any thread."""

    def __init__(
        self, folder: Path, plan: FramePlan, *, confidence: bool, overlay: bool, particles: bool
    ) -> None:
        """The last three say what will be asked for besides the class map."""
        assert plan.band is not None
        self._folder = folder
        self._banded = BandedMap(plan.height, plan.width, plan.band)
        self._confidence = confidence
        self._overlay = overlay
        self.measured = Measured(self._banded, self._path, particles=particles)
        side = max(plan.height, plan.width)
        reduced = max(0, (-(-side // OVERLAY_SIDE) - 1).bit_length())
        self.reduced = min(reduced, self._banded.levels)
        """The overlay shows every 2^reduced-th row and column."""
        self._lock = threading.Lock()
        self._settled: set[int] = set()

    def _path(self, number: int, kind: str) -> Path:
        return self._folder / f"{number:04d}.{kind}"

    def _number(self, area: Region) -> int:
        return area.y0 // self._banded.band_rows

    def has(self, area: Region) -> bool:
        """Whether an earlier run has stored this band, and it is undamaged."""
        number = self._number(area)
        try:
            self._tally(number)
            check_band(self._banded, number, self._path(number, "classes"))
            if self._confidence:
                check_band(self._banded, number, self._path(number, "confidence"))
            if self._overlay:
                self._picture(number)
            self.measured.check(number)
        except (OSError, ResultsError):
            return False
        return True

    def put(self, solved: Solved, tally: Tally, counts: Counts) -> None:
        """Store a band with what was counted in it. Raises OSError."""
        frame = solved.frame
        number = self._number(frame.area)
        self._store(number, "classes", encode_band(self._banded, number, solved.classes))
        if self._confidence:
            content = encode_band(self._banded, number, solved.confidence)
            self._store(number, "confidence", content)
        self.measured.put(number, solved)
        about: dict[str, Any] = {"band": number, "tally": tally.to_json()}
        about["quality"] = counts.to_json()
        if self._overlay:
            rows = frame.rows_of_area
            picture = io.BytesIO()
            np.save(picture, reduced_picture(rows, 2**self.reduced))
            self._store(number, "picture.npy", picture.getvalue())
            about["picture_crc32"] = zlib.crc32(picture.getvalue())
        write_json(self._path(number, "json"), {**about, "sha256": sha256_json(about)})

    def settle(self, area: Region) -> bool:
        """This band is stored; True for the one that is the last."""
        with self._lock:
            self._settled.add(self._number(area))
            return len(self._settled) == self._banded.bands

    def tally(self) -> Tally:
        """What was counted in all bands. Raises OSError and ResultsError."""
        whole = Tally()
        for number in range(self._banded.bands):
            whole.join(self._tally(number))
        return whole

    def counts(self) -> Counts:
        """Saturated and unsure pixels of all bands. Raises OSError and ResultsError."""
        stored = (self._about(number)["quality"] for number in range(self._banded.bands))
        return sum(map(Counts.from_json, stored), Counts())

    def writers(
        self, base: str, phases: Sequence[Phase], about: dict[str, Any], kind: str
    ) -> dict[str, Callable[[Path], None]]:
        """What writes each result, by name; `about` is `describe`'s, `kind` the overlay's."""
        found: dict[str, Callable[[Path], None]] = {
            f"{base}_classes.tif": partial(
                write_class_mosaic,
                banded=self._banded,
                bands=self._paths("classes"),
                phases=phases,
                description=about,
            )
        }
        if self._confidence:
            found[f"{base}_confidence.tif"] = partial(
                write_confidence_mosaic,
                banded=self._banded,
                bands=self._paths("confidence"),
                description=about,
            )
        if self._overlay:
            found[f"{base}_overlay.{kind}"] = partial(
                self._write_overlay, phases=phases, about=about, kind=kind
            )
        return found

    def classes(self) -> BandedRows:
        """The class map, band by band."""
        return self._banded, partial(self._rows, self._banded, "classes")

    def confidence(self) -> BandedRows | None:
        """The confidence map; None where it is not asked for."""
        if not self._confidence:
            return None
        return self._banded, partial(self._rows, self._banded, "confidence")

    def _rows(self, banded: BandedMap, kind: str, level: int) -> Iterator[NDArray[np.uint8]]:
        for number, path in enumerate(self._paths(kind)):
            yield read_rows(banded, number, path, level)

    def remove(self) -> None:
        """Delete the bands; what cannot be deleted stays."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _paths(self, kind: str) -> list[Path]:
        return [self._path(number, kind) for number in range(self._banded.bands)]

    def _store(self, number: int, kind: str, content: bytes) -> None:
        write_bytes(self._path(number, kind), content)

    def _about(self, number: int) -> dict[str, Any]:
        path = self._path(number, "json")
        try:
            about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if about.pop("sha256") == sha256_json(about) and about["band"] == number:
                return about
        except (AttributeError, KeyError, TypeError, ValueError):
            pass  # not even JSON, or of another kind
        raise damaged_band(number, self._banded, path)

    def _tally(self, number: int) -> Tally:
        return Tally.from_json(self._about(number)["tally"])

    def _picture(self, number: int) -> NDArray[np.uint8]:
        path = self._path(number, "picture.npy")
        content = path.read_bytes()
        if zlib.crc32(content) != self._about(number)["picture_crc32"]:
            raise damaged_band(number, self._banded, path)
        picture: NDArray[np.uint8] = np.load(io.BytesIO(content), allow_pickle=False)
        return picture

    def _write_overlay(
        self, path: Path, *, phases: Sequence[Phase], about: dict[str, Any], kind: str
    ) -> None:
        numbers = range(self._banded.bands)
        pixels = np.concatenate([self._picture(number) for number in numbers])
        classes = np.concatenate(
            [
                read_rows(self._banded, number, self._path(number, "classes"), self.reduced)
                for number in numbers
            ]
        )
        size, factor = about["pixel_size_um"], 2**self.reduced
        about = {**about, "pixel_size_um": None if size is None else size * factor}
        write_overlay(path, pixels, classes, phases, kind, {**about, "reduced_by": factor})


class Mosaics:
    """The mosaics of a run."""

    def __init__(
        self,
        root: Path,
        model_sha256: str,
        settings_sha256: str,
        *,
        confidence: bool,
        overlay: str,
        particles: bool,
    ) -> None:
        """`root` is the folder of the run's books."""
        self._folder = root / BANDS_FOLDER
        self._of_run = {
            "version": __version__,
            "model": model_sha256,
            "settings": settings_sha256,
        }
        self._confidence, self._overlay = confidence, overlay != "none"
        self._particles = particles
        self._lock = threading.Lock()
        self._open: dict[tuple[str, int], Mosaic] = {}

    def of(self, page: PageOf) -> Mosaic:
        """The bands of a page whose input has been hashed."""
        key = (page.job.listed.relative, page.page)
        with self._lock:
            if key not in self._open:
                identity = {
                    **self._of_run,
                    "input": page.job.sha256,
                    "page": page.page,
                    "plan": asdict(page.plan),
                }
                self._open[key] = Mosaic(
                    self._folder / sha256_json(identity)[:32],
                    page.plan,
                    confidence=self._confidence,
                    overlay=self._overlay,
                    particles=self._particles,
                )
            return self._open[key]

    def close(self, job: Job) -> None:
        """The results of all its pages are in place, and the ledger says so."""
        with self._lock:
            keys = [key for key in self._open if key[0] == job.listed.relative]
            closed = [self._open.pop(key) for key in keys]
        for mosaic in closed:
            mosaic.remove()

    def end(self, *, complete: bool) -> None:
        """The run is over: delete the folder, where something will be gone on with if it is empty.

        Not before: a thread may be about to store the first band of a mosaic.
        """
        if complete:
            shutil.rmtree(self._folder, ignore_errors=True)
        with suppress(OSError):
            self._folder.rmdir()
