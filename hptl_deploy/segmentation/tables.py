"""fields.csv and failures.csv: rewritten whole, always in the order of the listing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hptl_deploy.csv_text import CsvStyle
from hptl_deploy.errors import ResultsError
from hptl_deploy.files import write_text
from hptl_deploy.measurement.particle_fields import no_figures
from hptl_deploy.phases import Phase
from hptl_deploy.quality.row import QUALITY_COLUMNS, flag_counts
from hptl_deploy.results import OVERVIEW_FILES, RUN_FILE
from hptl_deploy.segmentation.inputs.listing import Failure
from hptl_deploy.statistics.findings import Findings
from hptl_deploy.statistics.joined import JoinedTables
from hptl_deploy.statistics.samples import mean_area_fractions, samples_of

FIELDS_FILE = "fields.csv"
FAILURES_FILE = "failures.csv"

# Between two rewrites at least this long, and at least twenty times as long as one took,
# so that tables of a large run do not come to be what it spends its time on.
_SECONDS = 3.0
_TIMES = 20


class Tables:
    """The rows of both tables, by input."""

    def __init__(
        self,
        folder: Path,
        order: Callable[[], list[str]],
        joined: JoinedTables,
    ) -> None:
        """`order` names every input that may have a row, in the order of its rows.

        Where `joined` is of another folder, these tables are a shard's, and it is left alone.
        """
        self._folder = folder
        self._order = order
        self._joined, self._style = joined, joined.options.style
        self.phases = joined.phases
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.failures: dict[str, Failure] = {}
        self._due = time.monotonic() + _SECONDS

    def write(self) -> None:
        """Write both files, having removed what was made of earlier ones. Raises OSError."""
        start = time.monotonic()
        if self._owns_joined():
            self._joined.remove()
        write_text(self._folder / FIELDS_FILE, self._fields())
        write_text(self._folder / FAILURES_FILE, self._failures())
        self._due = time.monotonic() + max(_SECONDS, _TIMES * (time.monotonic() - start))

    def join(self) -> Findings:
        """What the fields say together; written as tables beside these, but for a shard's.

        Raises ResultsError as `JoinedTables.write`.
        """
        if not self._owns_joined():
            return self._joined.find(self.all_rows())
        return self._joined.write(self.all_rows(), field_columns(self.phases))

    def _owns_joined(self) -> bool:
        return self._joined.folder == self._folder

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
        """By phase, over fields as statistics count them; empty without fields."""
        return mean_area_fractions(samples_of(self.all_rows(), self.phases), self.phases)

    def flags(self) -> dict[str, int]:
        """How many fields have each flag; none that no field has."""
        return flag_counts(self.all_rows())

    def _fields(self) -> str:
        columns, style = field_columns(self.phases), self._style
        cells = ([_cell(name, row[name], style) for name in columns] for row in self.all_rows())
        return style.text(columns, cells)

    def _failures(self) -> str:
        rows = ([failure.file, failure.stage, failure.reason] for failure in self.all_failures())
        return self._style.text(["file", "stage", "reason"], rows)


def unwritable(folder: Path, exc: OSError, then: str) -> ResultsError:
    """What is said where tables or run.json cannot be written, or an outdated one not removed."""
    named = Path(exc.filename or "").name
    what = named if named in OVERVIEW_FILES else f"{FIELDS_FILE}, {FAILURES_FILE} or {RUN_FILE}"
    return ResultsError(
        f"{folder}: {what} cannot be written ({exc.strerror or exc})",
        hint=f"Make room, or close programs that hold them open, and {then}",
    )


def fields_with_less(rows: Iterable[Mapping[str, Any]]) -> int:
    """How many rows of fields.csv are of fields of which something is left out."""
    return sum(row.get("left_out_px", 0) > 0 for row in rows)


def field_columns(phases: Sequence[Phase]) -> list[str]:
    """The header of fields.csv."""
    return [
        *("file", "page", "width_px", "height_px", "pixel_size_um", "pixel_size_source"),
        *("segmented_pixel_size_um", "left_out_px", "left_out"),
        *(f"{phase.key}_area_fraction" for phase in phases),
        *no_figures(phases),
        *("mean_confidence", *QUALITY_COLUMNS, "classes_file", "particles_file"),
        *("model", "model_sha256", "precision"),
        "hptl_deploy_version",
    ]


def _cell(name: str, value: object, style: CsvStyle) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        # 9 digits tell one pixel in a gigapixel frame.
        digits = f"{value:.9g}" if name.endswith("pixel_size_um") else f"{value:.9f}"
        return style.number(digits)
    return str(value)
