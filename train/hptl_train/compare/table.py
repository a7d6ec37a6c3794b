"""The table of a comparison: for a screen, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from hptl_deploy.phases import Phase
from hptl_deploy.sink import figure
from hptl_train.compare.plan import title_of
from hptl_train.compare.scoring import Scores

MEANING = (
    "l1, l2: mean loss per labelled pixel on whole training and test micrographs (cross-entropy in "
    "nats; SVM: hinge). Scores are pooled over the test micrographs' pixels. Area error: "
    "percentage points of area, found - true, pooled; abs.: its size, mean over "
    "micrographs. Mpx trained: micrograph pixels in all crops that a network saw of this data set."
)
_AREA_ERRORS = ("area_fraction_error", "mean_absolute_area_error")


@dataclass(frozen=True)
class Figure:
    """One number of a row over its seeds."""

    values: tuple[float, ...]
    """Those seeds that have it."""

    @property
    def mean(self) -> float | None:
        """None where no seed has it."""
        return mean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """The seeds' standard deviation (n - 1); None below two."""
        return stdev(self.values) if len(self.values) > 1 else None

    def text(self, digits: int, factor: float = 1.0, *, sign: bool = False) -> str:
        """`0.912 ± 0.004`; without a spread the number alone."""
        if self.mean is None:
            return "-"
        shown = f"{factor * self.mean:{'+' if sign else ''}.{digits}f}"
        return shown if self.spread is None else f"{shown} ± {factor * self.spread:.{digits}f}"


class Table:
    """Rows of figures under the columns of the paper's tables and ours."""

    def __init__(
        self,
        scores: Mapping[str, Sequence[Scores]],
        seconds: Mapping[str, float],
        trained: Mapping[str, int],
        phases: Sequence[Phase],
    ) -> None:
        """All by row: `scores`, one for each seed; `seconds` per micrograph; pixels `trained` on.

        The last are micrograph pixels in all crops that a network saw.
        """
        self._seconds = seconds
        self._trained = trained
        self._phases = tuple(phases)
        self.rows = {row: self._figures(found) for row, found in scores.items()}
        self.seeds = {row: len(found) for row, found in scores.items()}

    def _figures(self, scores: Sequence[Scores]) -> dict[str, Figure]:
        columns: dict[str, list[float | None]] = {
            "l1": [s.l1 for s in scores],
            "l2": [s.l2 for s in scores],
            "l2-l1": [s.gap for s in scores],
            "accuracy": [s.test["accuracy"] for s in scores],
            "mean_iou": [s.test["mean_iou"] for s in scores],
        }
        for place, phase in enumerate(self._phases):
            for key in ("iou", *_AREA_ERRORS):
                own = [s.test["phases"][place][key] for s in scores]
                columns[f"{phase.key}_{key}"] = own
        return {
            name: Figure(tuple(value for value in values if value is not None))
            for name, values in columns.items()
        }

    def header(self) -> list[str]:
        """Column titles, those of the paper first."""
        return [
            "method",
            "l1",
            "l2",
            "l2-l1",
            "s/image",
            "accuracy %",
            "mean IoU",
            *(f"IoU {phase.key}" for phase in self._phases),
            *(f"area error {phase.key}, points" for phase in self._phases),
            *(f"abs. area error {phase.key}, points" for phase in self._phases),
            "Mpx trained",
        ]

    def lines(self) -> list[list[str]]:
        """The cells, a list for each row."""
        return [
            [
                title_of(row),
                *(figures[key].text(4) for key in ("l1", "l2", "l2-l1")),
                figure(self._seconds.get(row), 2),
                figures["accuracy"].text(2, 100),
                figures["mean_iou"].text(3),
                *(figures[f"{phase.key}_iou"].text(3) for phase in self._phases),
                *(
                    figures[f"{phase.key}_{key}"].text(2, 100, sign=key == _AREA_ERRORS[0])
                    for key in _AREA_ERRORS
                    for phase in self._phases
                ),
                figure(self._trained[row] / 1e6, 1) if row in self._trained else "-",
            ]
            for row, figures in self.rows.items()
        ]

    def markdown(self) -> str:
        """The table as it goes into a document, with what its columns mean."""
        rows = [self.header(), ["---"] * len(self.header()), *self.lines()]
        seeds = ", ".join(f"{title_of(row)} {count}" for row, count in self.seeds.items())
        return (
            "".join(f"| {' | '.join(cells)} |\n" for cells in rows)
            + f"\n{MEANING} ± is the standard deviation (n - 1) over the seeds: {seeds}.\n"
        )

    def csv(self) -> str:
        """Every number unrounded, mean and spread in columns of their own."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        names = list(next(iter(self.rows.values())))
        spread = [f"{name}_sd" for name in names]
        writer.writerow(["method", "seeds", "seconds_per_image", "trained_pixels", *names, *spread])
        for row, figures in self.rows.items():
            writer.writerow(
                [
                    title_of(row),
                    self.seeds[row],
                    _cell(self._seconds.get(row)),
                    self._trained.get(row, ""),
                    *(_cell(figures[name].mean) for name in names),
                    *(_cell(figures[name].spread) for name in names),
                ]
            )
        return text.getvalue()


def _cell(value: float | None) -> str:
    return "" if value is None else repr(value)
