"""What a page's particles come to per phase: number per area, mean free path; fields of mosaics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy.measurement.crossings import FieldCrossings
from hptl_deploy.measurement.particles import Particles
from hptl_deploy.measurement.runs import RowRuns
from hptl_deploy.phases import IGNORE, Phase
from hptl_deploy.quality.counts import Counts, count
from hptl_deploy.quality.judging import focus_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIELD_WIDTH, FIELD_HEIGHT = 2560, 1920
"""Of the fields of a mosaic, about: a microscope camera's frame in px."""
_FOCUS_ROWS = 256
"""Of a field's rows those are judged for focus that lie with its middle one in one piece of this
grid: bands begin and end on it, so they are in memory together whatever the bands."""


def field_figures(
    particles: Particles, known: int, phases: Sequence[Phase], pixel_size_um: float | None
) -> dict[str, int | float | None]:
    """`<key>_particles`, `<key>_number_per_mm2`, `<key>_mean_free_path_um` per phase but the first.

    `known` pixels of the page are some phase. Of the particles that the border, or what is left
    out, cuts, half count per area, as grains do in Jeffries' planimetric method. None where the
    pixel size is unknown, or nothing is there to measure.
    """
    found: dict[str, int | float | None] = {}
    for index, phase in enumerate(phases[1:], 1):
        members = particles.phase == index
        count = int(members.sum())
        halves = 2 * count - int((members & particles.cut).sum())
        found[f"{phase.key}_particles"] = count if known else None
        found[f"{phase.key}_number_per_mm2"] = _per_mm2(halves, known, pixel_size_um)
        free = mean_free_path(particles, index, known)
        found[f"{phase.key}_mean_free_path_um"] = _in_um(free, pixel_size_um)
    return found


def mean_free_path(particles: Particles, index: int, known: int) -> float | None:
    """(1 - A_A) / N_L of phase `index` in px; None where test lines meet none of it.

    From edge to edge of its particles, through whatever is between (Fullman 1953; Underwood,
    Quantitative Stereology). N_L is particles met per length of test lines, which are all rows
    and all columns of pixels; half the crossings of outlines, so that a particle that the border
    cuts in two counts half.
    """
    members = particles.phase == index
    area, crossings = particles.area[members].sum(), particles.crossings[members].sum()
    return _free_path(int(area), int(crossings), known)


def no_figures(phases: Sequence[Phase]) -> dict[str, int | float | None]:
    """`field_figures` of a page whose particles are not measured."""
    names = ("particles", "number_per_mm2", "mean_free_path_um")
    return {f"{phase.key}_{name}": None for phase in phases[1:] for name in names}


class FieldGrid:
    """A mosaic of `height` x `width` px divided into fields of about 2560 x 1920 px.

    All are of one size but for a pixel: as many as come nearest to that size.
    """

    def __init__(self, height: int, width: int) -> None:
        self._down = _edges(height, FIELD_HEIGHT)
        self._across = _edges(width, FIELD_WIDTH)
        # [fields down, fields across, class index]
        self._pixels = np.zeros((len(self._down) - 1, len(self._across) - 1, 256), np.int64)
        self._crossings = FieldCrossings(self._down, self._across)
        # [fields down, fields across, 2]: saturated, unsure
        self._doubtful = np.zeros((*self._pixels.shape[:2], 2), np.int64)
        self._focus: dict[tuple[int, int], float] = {}

    def add(
        self,
        pixels: NDArray[np.uint8],
        classes: NDArray[np.uint8],
        confidence: NDArray[np.uint8],
        top: int,
    ) -> None:
        """Count rows of the mosaic, the first of which is row `top`.

        `pixels` are uint8 [rows, W, 3]; `classes` and `confidence` x 255 uint8 [rows, W].
        """
        for row, column in np.ndindex(self._pixels.shape[:2]):
            first = max(int(self._down[row]) - top, 0)
            behind = int(self._down[row + 1]) - top
            here = (
                slice(first, max(behind, 0)),
                slice(int(self._across[column]), int(self._across[column + 1])),
            )
            part = classes[here]
            if part.size:
                self._pixels[row, column] += np.bincount(part.ravel(), minlength=256)
                found = count(pixels[here], part, confidence[here])
                self._doubtful[row, column] += (found.saturated, found.unsure)
                self._judge(pixels, classes, (row, column), top)

    def _judge(
        self,
        pixels: NDArray[np.uint8],
        classes: NDArray[np.uint8],
        field: tuple[int, int],
        top: int,
    ) -> None:
        """The focus of a `field` whose middle rows are there."""
        first, behind = self._down[field[0] : field[0] + 2].tolist()
        begin = (first + behind) // 2 // _FOCUS_ROWS * _FOCUS_ROWS
        rows = slice(max(first, begin) - top, min(behind, begin + _FOCUS_ROWS) - top)
        if rows.start < 0 or rows.stop > len(classes):
            return
        here = (rows, slice(*self._across[field[1] : field[1] + 2].tolist()))
        focus = focus_of(pixels[here], classes[here])
        if focus is not None:
            self._focus[field] = focus

    def to_json(self) -> dict[str, list[list[float]]]:
        """For storing: field down, field across, what is counted, and how many, where there are.

        Of `focus`, the figure in place of the last two.
        """
        counted: dict[str, list[list[float]]] = {
            name: [[*place.tolist(), int(counts[tuple(place)])] for place in np.argwhere(counts)]
            for name, counts in self._counted.items()
        }
        return counted | {"focus": [[*field, figure] for field, figure in self._focus.items()]}

    @property
    def _counted(self) -> dict[str, NDArray[np.int64]]:
        return {"pixels": self._pixels, "doubtful": self._doubtful}

    def join(self, document: Any) -> None:  # noqa: ANN401
        """Count what `to_json` gave of other rows, too. Raises ValueError for anything else."""
        try:
            for name, counts in self._counted.items():
                for row, column, what, number in document[name]:
                    if min(row, column, what, number) < 0:
                        raise ValueError("negative")
                    counts[row, column, what] += number
            self._focus |= {(row, column): float(one) for row, column, one in document["focus"]}
        except (LookupError, TypeError, ValueError) as exc:
            raise ValueError("no counts of fields") from exc

    def cross(self, runs: RowRuns, bottom: int) -> None:
        """The runs of the page's next rows, down to row `bottom`: what free paths are made of."""
        self._crossings.add(runs, bottom)

    def fields(
        self, phases: Sequence[Phase], particles: Particles | None, pixel_size_um: float | None
    ) -> list[dict[str, Any]]:
        """Every field, row by row, of which at least half is some phase.

        `x_px`, `y_px` (its upper left corner), `width_px`, `height_px`, `known_px` (its pixels
        that are some phase), `focus` of its middle rows (px), `saturated_fraction` and
        `unsure_fraction` of its known pixels, `<key>_area_fraction` of every phase;
        `<key>_particles`, `<key>_number_per_mm2` and `<key>_mean_free_path_um` of all but the
        first: a particle is where its centre of area is; the path is that of the field cut out of
        the map. None without `particles`; the last needs all rows to have been given to `cross`.
        """
        numbers = None if particles is None else self._numbers(particles)
        found = []
        for row, column in np.ndindex(self._pixels.shape[:2]):
            pixels = self._pixels[row, column].tolist()
            known = sum(pixels) - pixels[IGNORE]
            if 2 * known < sum(pixels):
                continue
            field = self._about((row, column), known)
            for index, phase in enumerate(phases):
                field[f"{phase.key}_area_fraction"] = pixels[index] / known
            if numbers is None:
                found.append(field | no_figures(phases))
                continue
            for index, phase in enumerate(phases[1:], 1):
                particles_here, halves = numbers[row, column, index].tolist()
                crossings = int(self._crossings.counts[row, column, index])
                free = _free_path(pixels[index], crossings, known)
                field[f"{phase.key}_particles"] = particles_here
                field[f"{phase.key}_number_per_mm2"] = _per_mm2(halves, known, pixel_size_um)
                field[f"{phase.key}_mean_free_path_um"] = _in_um(free, pixel_size_um)
            found.append(field)
        return found

    def _about(self, field: tuple[int, int], known: int) -> dict[str, Any]:
        """Where a `field` (down, across) of `known` pixels lies, and how doubtful it is."""
        top, bottom = self._down[field[0] : field[0] + 2].tolist()
        left, right = self._across[field[1] : field[1] + 2].tolist()
        doubtful = Counts(known, *self._doubtful[field].tolist())
        return {
            "x_px": left,
            "y_px": top,
            "width_px": right - left,
            "height_px": bottom - top,
            "known_px": known,
            "focus": self._focus.get(field),
            "saturated_fraction": doubtful.saturated_fraction,
            "unsure_fraction": doubtful.unsure_fraction,
        }

    def _numbers(self, particles: Particles) -> NDArray[np.int64]:
        """Particles, and halves of them that count [fields down, fields across, index, 2]."""
        down, across, indices = self._pixels.shape
        row = np.searchsorted(self._down, particles.y, side="right") - 1
        column = np.searchsorted(self._across, particles.x, side="right") - 1
        place = (row * across + column) * indices + particles.phase
        halves = [np.ones(len(particles)), 2 - particles.cut.astype(np.float64)]
        counted = [np.bincount(place, one, minlength=self._pixels.size) for one in halves]
        return np.stack(counted, axis=-1).astype(np.int64).reshape(down, across, indices, 2)


def _edges(length: int, wanted: int) -> NDArray[np.int64]:
    count = max(1, round(length / wanted))
    edges: NDArray[np.int64] = np.arange(count + 1, dtype=np.int64) * length // count
    return edges


def _free_path(area: int, crossings: int, known: int) -> float | None:
    """`mean_free_path` of a phase of `area` px among `known` px, from what its outlines cross."""
    if not crossings:
        return None
    per_length = crossings / 2 / (2 * known)
    return (1 - area / known) / per_length


def _in_um(length: float | None, pixel_size_um: float | None) -> float | None:
    return None if length is None or pixel_size_um is None else length * pixel_size_um


def _per_mm2(halves: int, known: int, pixel_size_um: float | None) -> float | None:
    """Half of `halves` over the area of `known` pixels."""
    if pixel_size_um is None or not known:
        return None
    return halves / 2 / (known * pixel_size_um**2 / 1e6)
