"""The lines of statistics.csv: one per group, phase and quantity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hptl_deploy.phases import Phase
from hptl_deploy.statistics.intervals import Estimate, estimate
from hptl_deploy.statistics.samples import ALL, Row, Sample, Samples
from hptl_deploy.statistics.validation import Validation, Validations

AREA_FRACTION = "area_fraction"
QUANTITIES = {AREA_FRACTION: "fraction", "number_per_mm2": "1/mm2", "mean_free_path": "um"}
"""What is estimated over fields, with its unit."""
_COLUMNS = {
    AREA_FRACTION: "area_fraction",
    "number_per_mm2": "number_per_mm2",
    "mean_free_path": "mean_free_path_um",
}
"""How columns of fields.csv end, behind the phase's key."""
LINE_COLUMNS = (
    "group", "phase", "quantity", "unit", "n_fields", "mean", "s", "ci95", "ra_percent",
    "fields_for_10_percent", "more_fields_needed", "minimum", "maximum", "validation_iou",
    "validation_area_fraction_error", "validation_mean_absolute_area_error",
)  # fmt: skip
"""Of statistics.csv."""
MADE_WITH = ("model", "model_sha256", "precision", "hptl_deploy_version")
"""Columns of every table: what it was made with."""


@dataclass(frozen=True)
class Line:
    """One quantity of one phase over the fields of one group."""

    group: str
    """A sub-folder, or (all)."""
    phase: Phase
    quantity: str
    """One of QUANTITIES."""
    estimate: Estimate
    """Over the fields in which the quantity is known."""
    validation: Validation
    """Errors of areas; none stand beside other quantities, where they would look like theirs."""

    @property
    def unit(self) -> str:
        """Of the quantity."""
        return QUANTITIES[self.quantity]

    def to_json(self) -> dict[str, Any]:
        """By column of statistics.csv."""
        found, checked = self.estimate, self.validation
        values = (
            self.group, self.phase.key, self.quantity, self.unit, found.n, found.mean, found.s,
            found.ci95, found.ra_percent, found.needed, found.more_needed, found.minimum,
            found.maximum, checked.iou, checked.area_fraction_error,
            checked.mean_absolute_area_error,
        )  # fmt: skip
        return dict(zip(LINE_COLUMNS, values, strict=True))


def lines_of(samples: Samples, phases: Sequence[Phase], validations: Validations) -> list[Line]:
    """All fields together, then group by group where there are several."""
    members: dict[str, list[Sample]] = {ALL: samples.samples} if samples.samples else {}
    groups = samples.groups()
    if len(groups) > 1:
        members |= {group: [] for group in groups}
        for sample in samples.samples:
            members[sample.group].append(sample)
    return [
        Line(
            group,
            phase,
            quantity,
            estimate(values),
            validations[phase.key] if quantity == AREA_FRACTION else Validation(),
        )
        for group, those in members.items()
        for phase in phases
        for quantity, ending in _COLUMNS.items()
        if (values := _known(those, f"{phase.key}_{ending}"))
    ]


def _known(samples: Iterable[Sample], column: str) -> list[float]:
    """A column's values; fewer than there are samples where, say, the pixel size is unknown."""
    return [value for s in samples if (value := s.values.get(column)) is not None]


def made_with(rows: Sequence[Row]) -> dict[str, str]:
    """What the fields were made with; several, as after an update, are joined by `; `."""
    return {name: "; ".join(dict.fromkeys(str(row[name]) for row in rows)) for name in MADE_WITH}
