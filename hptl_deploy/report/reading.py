"""What a report is made of: run.json, the ledger's rows and failures.csv of a results folder.

Other pieces of the results (particles, statistics, flags) may be missing: folders of earlier
versions have fewer of them, and a run may have been told to leave them out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hptl_deploy.csv_text import read_table
from hptl_deploy.errors import InputError, ResultsError
from hptl_deploy.phases import Phase, phases_from_json
from hptl_deploy.results import RUN_FILE, SHARDS_FOLDER, WHICH_FOLDER, read_run, shard_homes, table
from hptl_deploy.segmentation.ledger import LEDGER_FILE, Entry, read_entries
from hptl_deploy.segmentation.tables import FAILURES_FILE
from hptl_deploy.statistics.findings import Findings
from hptl_deploy.statistics.joined import JoinedTables

Row = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """A results folder as far as a report tells of it."""

    folder: Path
    run: dict[str, Any]
    """Its run.json."""
    phases: tuple[Phase, ...]
    rows: list[Row]
    """The rows of fields.csv, as the ledger keeps them: not rounded."""
    outputs: dict[str, int]
    """Every result of these rows, below `folder`, with its size in bytes."""
    failures: list[dict[str, str]]
    """`file`, `stage`, `reason`."""
    findings: Findings
    """What the fields say together."""

    def table(self, name: str) -> dict[str, Any]:
        """An object of run.json; empty where there is none."""
        return table(self.run, name)


def tables(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of a list within `document`; none where there is no such list."""
    found = document.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def read_results(folder: Path, findings: Findings | None = None) -> Results:
    """Read what lies in `folder`; `findings` are worked out where they are not given.

    Raises ResultsError where it holds no results of ours, shards that are not merged yet, or
    books that do not belong together.
    """
    run = read_run(folder)
    if run is None:
        if any(read_run(home) for home in shard_homes(folder).values()):
            raise ResultsError(
                f"{folder}: its shards are not merged yet",
                hint=f"hptl-deploy merge {folder} joins what is in {SHARDS_FOLDER}",
            )
        found = (
            f"holds no {RUN_FILE} of segment that can be read"
            if folder.is_dir()
            else "is not a folder"
        )
        raise ResultsError(f"{folder}: {found}, so there is nothing to report", hint=WHICH_FOLDER)
    where = str(folder / RUN_FILE)
    try:
        phases = phases_from_json(run.get("phases"), where)
    except InputError as exc:
        raise ResultsError(str(exc), hint="Run segment again") from exc
    entries = _current(run, read_entries(folder))
    rows = _rows(folder, run, entries)
    if not all(_is_row(row, phases) for row in rows):
        raise ResultsError(
            f"{folder / LEDGER_FILE}: holds rows that this version did not write",
            hint="Run segment again, with --overwrite",
        )
    return Results(
        folder=folder,
        run=run,
        phases=phases,
        rows=rows,
        outputs={name: size for entry in entries.values() for name, size in entry.outputs.items()},
        failures=_failures(folder / FAILURES_FILE),
        findings=findings or JoinedTables.recorded(folder, run).find(rows),
    )


def _current(run: Mapping[str, Any], entries: list[Entry]) -> dict[str, Entry]:
    """The newest entry of every input, if it is of the run's model and settings."""
    wanted = (table(run, "model").get("sha256"), run.get("settings_sha256"))
    newest = {entry.file: entry for entry in entries}
    return {
        file: entry
        for file, entry in newest.items()
        if (entry.model_sha256, entry.settings_sha256) == wanted
    }


def _is_row(row: object, phases: Sequence[Phase]) -> bool:
    """True where `row` has all that the report cannot do without.

    Figures are None in a field of which everything is left out.
    """
    if not isinstance(row, dict):
        return False
    words, wholes = ("file", "classes_file"), ("page", "width_px", "height_px")
    figures = ["pixel_size_um", "mean_confidence", *(f"{p.key}_area_fraction" for p in phases)]
    return (
        all(isinstance(row.get(name), str) for name in words)
        and all(isinstance(row.get(name), int) for name in wholes)
        and all(isinstance(row.get(name, ""), float | int | None) for name in figures)
        and "pixel_size_source" in row
    )


def _rows(folder: Path, run: Mapping[str, Any], entries: Mapping[str, Entry]) -> list[Row]:
    """In the order of fields.csv; while a run goes on, in the order in which inputs were done."""
    rows = {(row.get("file"), row.get("page")): row for e in entries.values() for row in e.rows}
    if "results" not in run:
        return list(rows.values())
    places = [(place.get("file"), place.get("page")) for place in tables(run, "results")]
    missing = [file for file, page in places if (file, page) not in rows]
    if missing:
        raise ResultsError(
            f"{folder}: {RUN_FILE} names {len(missing)} fields that {LEDGER_FILE} lacks, such as "
            f"{missing[0]}",
            hint="Run segment again, which puts both right",
        )
    return [rows[place] for place in places]


def _failures(path: Path) -> list[dict[str, str]]:
    try:
        return read_table(path)
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise ResultsError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
