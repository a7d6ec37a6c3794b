"""Which fields of a run are observations, and the group that each belongs to.

A field is a page, or one of the equal parts that a mosaic is divided into. A group is a
sub-folder of the input: a specimen, if each has a folder of its own. All fields weigh the same,
whatever their size.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from hptl_deploy.phases import Phase
from hptl_deploy.wording import counted

Row = Mapping[str, Any]
"""A row of fields.csv as the ledger keeps it."""

ALL, TOP = "(all)", "(top)"
"""All fields of a run together, and those that lie in no sub-folder."""
_UNLIKE = 2.0
"""Times the pixels, or the real area, of the smallest, from which on fields are said to differ."""


@dataclass(frozen=True)
class Sample:
    """One field with something measured in it."""

    group: str
    """As `group_of` gives it."""
    values: Row
    """What was measured, by column of fields.csv."""
    pixels: int
    """Width x height."""
    area_mm2: float | None = None
    """Area in the specimen; None where the pixel size is unknown."""


@dataclass
class Samples:
    """The fields of a run, in the order of its rows."""

    samples: list[Sample] = field(default_factory=list)
    frames: int = 0
    """Of `samples`: pages that are one field."""
    mosaics: int = 0
    """Pages that are several fields."""
    unmeasured: int = 0
    """Fields in which every pixel is left out; they are no samples."""

    uncalibrated: int = 0
    """Of `samples`: those whose pixel size is unknown."""

    without_particles: Counter[str] = field(default_factory=Counter)
    """Pages whose particles were asked for and are not there, by reason."""

    def groups(self) -> list[str]:
        """The groups that have a sample, in order."""
        return in_order(sample.group for sample in self.samples)

    def notes(self) -> list[str]:
        """What a reader of the figures must know, in sentences."""
        lacking = [
            f"{counted(pages, 'page')} without figures of particles: {why}"
            for why, pages in self.without_particles.items()
        ]
        said = [*self._mixed(), *self._unlike(), *self._uncalibrated()]
        return [*said, *self._unmeasured(), *lacking]

    def _mixed(self) -> list[str]:
        if not self.mosaics:
            return []
        parts = len(self.samples) - self.frames
        text = f"{counted(self.mosaics, 'mosaic')} divided into {counted(parts, 'field')}"
        if self.frames:
            text = f"{counted(self.frames, 'single frame')} and {text}; each counts the same"
        return [text]

    def _unlike(self) -> list[str]:
        """Pixels tell nothing of the real size where magnifications are mixed, so both count."""
        measures = {
            "Mpx": [sample.pixels / 1e6 for sample in self.samples],
            "mm2": [s.area_mm2 for s in self.samples if s.area_mm2 is not None],
        }
        said = [
            f"{min(sizes):.3g} to {max(sizes):.3g} {unit}"
            for unit, sizes in measures.items()
            if sizes and max(sizes) > _UNLIKE * min(sizes) * (1 + 1e-9)
        ]
        return [f"fields differ in size, {' and '.join(said)}; each counts the same"][: len(said)]

    def _uncalibrated(self) -> list[str]:
        if not 0 < self.uncalibrated < len(self.samples):
            return []
        return [
            f"the pixel size of {self.uncalibrated} of {len(self.samples)} fields is unknown: "
            "figures in um and mm2 are of the others"
        ]

    def _unmeasured(self) -> list[str]:
        if not self.unmeasured:
            return []
        those = "it" if self.unmeasured == 1 else "each"
        return [
            f"{counted(self.unmeasured, 'field')} not counted, because all of {those} is left out"
        ]


def samples_of(rows: Iterable[Row], phases: Sequence[Phase]) -> Samples:
    """The observations in `rows`.

    A row with `mosaic_fields` counts as those; a field without a measured pixel counts not at
    all, one of which a part is left out like any other.
    """
    found = Samples()
    for row in rows:
        group = group_of(row["file"])
        parts = row.get("mosaic_fields") or [row]
        measured = [part for part in parts if _is_measured(part, phases)]
        found.unmeasured += len(parts) - len(measured)
        found.uncalibrated += len(measured) if row["pixel_size_um"] is None else 0
        if row.get("particles_note"):
            found.without_particles[row["particles_note"]] += 1
        if row.get("mosaic_fields"):
            found.mosaics += bool(measured)
        else:
            found.frames += len(measured)
        found.samples += [_sample(group, part, row["pixel_size_um"]) for part in measured]
    return found


def _sample(group: str, values: Row, pixel_size_um: float | None) -> Sample:
    pixels = values["width_px"] * values["height_px"]
    area = None if pixel_size_um is None else pixels * pixel_size_um**2 / 1e6
    return Sample(group, values, pixels, area)


def group_of(file: str) -> str:
    """The sub-folder of an input, by its name below the input folder; (top) where it has none."""
    parent = str(PurePosixPath(file).parent)
    if parent == ".":
        return TOP
    return f"./{parent}" if parent in (ALL, TOP) else parent


def in_order(groups: Iterable[str]) -> list[str]:
    """Every group once, by name, (top) first."""
    return sorted(set(groups), key=lambda group: (group != TOP, group))


def mean_area_fractions(samples: Samples, phases: Sequence[Phase]) -> dict[str, float]:
    """By phase, over all fields, 0 to 1; empty without fields."""
    count = len(samples.samples)
    return {
        phase.key: math.fsum(s.values[fraction(phase)] for s in samples.samples) / count
        for phase in phases
        if count
    }


def fraction(phase: Phase) -> str:
    """The column of a phase's area fraction."""
    return f"{phase.key}_area_fraction"


def _is_measured(values: Row, phases: Sequence[Phase]) -> bool:
    """Fractions sum up to 1, but where no pixel is some phase: there all are None."""
    return any(values[fraction(phase)] for phase in phases)
