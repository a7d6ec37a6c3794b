"""The tables over all fields of a results folder: written together, removed together.

They say what fields.csv says, so they are removed before it changes and made anew behind it: what
a killed run leaves has no tables of an earlier state beside newer fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hptl_deploy.errors import ResultsError
from hptl_deploy.files import atomic_path, write_text
from hptl_deploy.model import ModelCard
from hptl_deploy.phases import Phase, phases_from_json
from hptl_deploy.results import (
    OVERVIEW_FILES,
    PARTICLE_STATISTICS_FILE,
    PARTICLES_FILES,
    SIZES_FILE,
    STATISTICS_FILE,
    SUMMARY_FILE,
    table,
)
from hptl_deploy.statistics.findings import Findings
from hptl_deploy.statistics.lines import lines_of, made_with
from hptl_deploy.statistics.particles import Joined, Page, pages_of, tables_of
from hptl_deploy.statistics.samples import Row, samples_of
from hptl_deploy.statistics.sizes import SizeTally
from hptl_deploy.statistics.specks import speck_notes
from hptl_deploy.statistics.table_options import TableOptions
from hptl_deploy.statistics.tables import particle_statistics_text, sizes_text, statistics_text
from hptl_deploy.statistics.validation import Validations, validation_from_json, validation_of
from hptl_deploy.statistics.workbook import write_workbook


@dataclass(frozen=True)
class JoinedTables:
    """Those of one results folder."""

    folder: Path
    phases: Sequence[Phase]
    validations: Validations
    options: TableOptions

    @classmethod
    def of(cls, folder: Path, card: ModelCard, options: TableOptions) -> JoinedTables:
        """Those of a run of the model with this card."""
        return cls(folder, card.phases, validation_of(card.validation, card.phases), options)

    @classmethod
    def recorded(cls, folder: Path, run: Mapping[str, Any]) -> JoinedTables:
        """As a run.json of `folder`, or of a shard of it, wishes for them.

        Raises InputError where its phases are none.
        """
        phases = phases_from_json(run["phases"], str(folder))
        scores = validation_from_json(table(run, "model").get("validation"), phases)
        return cls(folder, phases, scores, TableOptions.from_json(table(run, "tables")))

    def remove(self) -> None:
        """Delete them, and the report of them.

        Raises OSError, on Windows where another program holds one open.
        """
        for name in OVERVIEW_FILES:
            (self.folder / name).unlink(missing_ok=True)

    def find(self, rows: Sequence[Row]) -> Findings:
        """What they say of `rows` of fields.csv; nothing is written.

        Raises ResultsError for a particle table that is missing or damaged.
        """
        return self._findings(rows, self._tally(pages_of(rows, self.folder)))

    def write(self, rows: Sequence[Row], columns: Sequence[str]) -> Findings:
        """Write all of them, each whole or not at all, of `rows` of fields.csv with `columns`.

        Raises ResultsError for a particle table that is missing or damaged, and when one or more
        cannot be written; the others are.
        """
        attempts = _Attempts(self.folder)
        pages = pages_of(rows, self.folder)
        tally = SizeTally(self.options.needle_aspect)
        if pages and not attempts.make(PARTICLES_FILES, lambda: self._join(pages, tally)):
            tally = self._tally(pages)  # the other may be of half the pages
        found, made, style = self._findings(rows, tally), made_with(rows), self.options.style
        texts = {STATISTICS_FILE: statistics_text(found, made, style)}
        if pages:
            texts[PARTICLE_STATISTICS_FILE] = particle_statistics_text(found, made, style)
            texts[SIZES_FILE] = sizes_text(found, made, style)
        for name, text in texts.items():
            attempts.make([name], partial(write_text, self.folder / name, text))
        attempts.make([SUMMARY_FILE], lambda: self._workbook(found, rows, columns))
        attempts.end()
        return found

    def _findings(self, rows: Sequence[Row], tally: SizeTally) -> Findings:
        samples, keys = samples_of(rows, self.phases), [phase.key for phase in self.phases]
        particles = tuple(tally.lines(keys))
        return Findings(
            tuple(lines_of(samples, self.phases, self.validations)),
            particles,
            tuple(tally.classes(keys)),
            (*samples.notes(), *speck_notes(particles, self.phases)),
        )

    def _tally(self, pages: Sequence[Page]) -> SizeTally:
        tally = SizeTally(self.options.needle_aspect)
        for _ in tables_of(pages, tally, self.phases):
            pass
        return tally

    def _join(self, pages: Sequence[Page], tally: SizeTally) -> None:
        parquet, csv = (self.folder / name for name in PARTICLES_FILES)
        with (
            atomic_path(parquet) as whole,
            atomic_path(csv) as text,
            Joined(whole, text, self.options.style) as joined,
        ):
            for table in tables_of(pages, tally, self.phases):
                joined.add(table)

    def _workbook(self, found: Findings, rows: Sequence[Row], columns: Sequence[str]) -> None:
        with atomic_path(self.folder / SUMMARY_FILE) as path:
            write_workbook(path, found, rows, columns, made_with(rows))


class _Attempts:
    """Files that are to be written, and those that cannot be."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._problems: dict[str, OSError] = {}

    def make(self, names: Sequence[str], write: Callable[[], None]) -> bool:
        """Whether the files of these names could be written."""
        try:
            write()
        except OSError as exc:
            self._problems[" and ".join(names)] = exc
            return False
        return True

    def end(self) -> None:
        """Raise ResultsError if anything could not be written."""
        if not self._problems:
            return
        reasons = "; ".join(
            f"{names} ({exc.strerror or exc})" for names, exc in self._problems.items()
        )
        raise ResultsError(
            f"{self._folder}: cannot be written: {reasons}",
            hint="Close the program that holds it open, such as Excel, or make room, and run "
            "again; class maps and all other tables are kept",
        ) from next(iter(self._problems.values()))
