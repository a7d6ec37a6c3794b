"""fields.csv and failures.csv: rewritten whole, always in the order of the listing."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from hptl_deploy.files import write_text
from hptl_deploy.measurement.particle_fields import no_figures
from hptl_deploy.phases import Phase
from hptl_deploy.segmentation.inputs.listing import Failure

FIELDS_FILE = "fields.csv"
FAILURES_FILE = "failures.csv"

# Between two rewrites at least this long, and at least twenty times as long as one took,
# so that tables of a large run do not come to be what it spends its time on.
_SECONDS = 3.0
_TIMES = 20


class Tables:
    """The rows of both tables, by input."""

    def __init__(
        self, folder: Path, order: Callable[[], list[str]], phases: Sequence[Phase]
    ) -> None:
        """`order` names every input that may have a row, in the order of its rows."""
        self._folder = folder
        self._order = order
        self.phases = phases
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.failures: dict[str, Failure] = {}
        self._due = time.monotonic() + _SECONDS

    def write(self) -> None:
        """Write both files. Raises OSError."""
        start = time.monotonic()
        write_text(self._folder / FIELDS_FILE, self._fields())
        write_text(self._folder / FAILURES_FILE, self._failures())
        self._due = time.monotonic() + max(_SECONDS, _TIMES * (time.monotonic() - start))

    def write_if_due(self) -> None:
        """Write now and then. A table that another program holds open is left for later."""
        if time.monotonic() >= self._due:
            try:
                self.write()
            except OSError:
                self._due = time.monotonic() + _SECONDS

    def all_rows(self) -> list[dict[str, Any]]:
        """Rows of fields.csv in order."""
        return [row for file in self._order() for row in self.rows.get(file, [])]

    def all_failures(self) -> list[Failure]:
        """Rows of failures.csv in order."""
        return [self.failures[file] for file in self._order() if file in self.failures]

    def mean_area_fractions(self) -> dict[str, float]:
        """By phase, over fields; empty without fields."""
        rows = self.all_rows()
        return {
            phase.key: sum(row[f"{phase.key}_area_fraction"] for row in rows) / len(rows)
            for phase in self.phases
            if rows
        }

    def _fields(self) -> str:
        columns = field_columns(self.phases)
        cells = ([_cell(name, row[name]) for name in columns] for row in self.all_rows())
        return _csv(columns, cells)

    def _failures(self) -> str:
        rows = ([failure.file, failure.stage, failure.reason] for failure in self.all_failures())
        return _csv(["file", "stage", "reason"], rows)


def field_columns(phases: Sequence[Phase]) -> list[str]:
    """The header of fields.csv."""
    return [
        *("file", "page", "width_px", "height_px", "pixel_size_um", "pixel_size_source"),
        "segmented_pixel_size_um",
        *(f"{phase.key}_area_fraction" for phase in phases),
        *no_figures(phases),
        *("mean_confidence", "classes_file", "particles_file"),
        *("model", "model_sha256", "precision"),
        "hptl_deploy_version",
    ]


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        # 9 digits tell one pixel in a gigapixel frame.
        return f"{value:.9g}" if name.endswith("pixel_size_um") else f"{value:.9f}"
    return str(value)


def _csv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Without a byte-order mark: scripts would take it for part of the first column's name."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
