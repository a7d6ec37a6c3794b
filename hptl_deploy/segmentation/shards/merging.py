"""Shards of one folder become one results folder, like any other.

Merge takes the results folder's own lock and looks at every shard's, so nobody writes meanwhile.
It begins nothing before everything is known to be in order; then, each step whole or not at all:
the shards' lines go into the ledger, tables are written, what no input owns any more and
half-written files go (no shard may judge of either: they may be another's), run.json says that
all is finished, and last the shards' folders go. Killed in between, it is started again. After
it there is one ledger and one run.json, which has taken over what the shards' said, so any later
run simply goes on from there.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hptl_deploy.csv_text import read_table
from hptl_deploy.errors import InputError, ResultsError
from hptl_deploy.files import remove_leftovers, write_json
from hptl_deploy.report.writing import report_after_run
from hptl_deploy.results import (
    REPORT_FILE,
    RUN_FILE,
    SHARDS_FOLDER,
    WHICH_FOLDER,
    read_run,
    shard_homes,
)
from hptl_deploy.segmentation.inputs.listing import Failure, Listing, list_inputs
from hptl_deploy.segmentation.ledger import (
    LEDGER_FILE,
    Entry,
    Ledger,
    is_being_written,
    read_entries,
)
from hptl_deploy.segmentation.mosaics.mosaic import BANDS_FOLDER
from hptl_deploy.segmentation.record import result_list, results_document
from hptl_deploy.segmentation.shards.checks import problems
from hptl_deploy.segmentation.shards.merged_record import are_recorded, merged_document
from hptl_deploy.segmentation.shards.parts import Part, current_entries, read_part
from hptl_deploy.segmentation.shards.sharding import Shard, form
from hptl_deploy.segmentation.summary import RunSummary
from hptl_deploy.segmentation.tables import (
    FAILURES_FILE,
    FIELDS_FILE,
    Tables,
    fields_with_less,
    unwritable,
)
from hptl_deploy.sink import Silent, Sink
from hptl_deploy.statistics.joined import JoinedTables


@dataclass(frozen=True)
class Merged:
    """A merged results folder."""

    summary: RunSummary
    document: dict[str, Any]
    """Its run.json."""
    already: bool
    """True where an earlier merge had done it."""


def merge(out: Path, sink: Sink | None = None, *, report: bool = True) -> Merged:
    """Join the shards in the results folder `out`, and write their `report`.

    Inputs that came after their shard had listed the folder become failures: the shards are
    whole without them, and any later run does them.

    Raises ResultsError when `out` holds no shards, with everything that is wrong with them, when
    it is being written, and when it cannot be.
    """
    sink = sink or Silent()
    merged, path = _merged(out, sink), out / REPORT_FILE
    found = path if merged.already and path.is_file() else None
    if found is None and report:
        found = report_after_run(out, sink, merged.summary.findings)
    return replace(merged, summary=replace(merged.summary, report=found))


def _merged(out: Path, sink: Sink) -> Merged:
    if not out.is_dir():
        raise ResultsError(f"{out}: is not a folder", hint=WHICH_FOLDER)
    if not _homes(out):
        return _merged_before(out)
    with Ledger(out) as ledger:
        homes = _homes(out)
        earlier = read_run(out)
        if are_recorded(homes, earlier):  # killed while it took the shards' folders away
            _retire(out)
            return _merged_before(out)
        parts = [read_part(shard, home) for shard, home in homes.items()]
        entries = current_entries(parts, ledger.entries())
        found = problems(out, parts, entries, ledger)
        if found:
            raise ResultsError(f"{out}: its shards cannot be merged", problems=found)
        merged = _Merge(out, parts, entries, ledger, sink).go(homes)
        _retire(out)
        return merged


def _homes(out: Path) -> dict[Shard, Path]:
    """Folders of shards that have begun."""
    homes = {Shard(*place): home for place, home in shard_homes(out).items()}
    return {shard: home for shard, home in homes.items() if (home / RUN_FILE).is_file()}


def _retire(out: Path) -> None:
    """Take the shards' folders away, run.json last: until then they count as shards.

    Results lie in such a folder where the input has one of that name; they stay.
    """
    for home in shard_homes(out).values():
        if is_being_written(home):
            continue
        for name in (FIELDS_FILE, FAILURES_FILE, LEDGER_FILE, RUN_FILE):
            (home / name).unlink(missing_ok=True)
        shutil.rmtree(home / BANDS_FOLDER, ignore_errors=True)  # of mosaics that failed
        with suppress(OSError):
            home.rmdir()
    with suppress(OSError):
        (out / SHARDS_FOLDER).rmdir()


def _merged_before(out: Path) -> Merged:
    run = read_run(out)
    if run is None:
        raise ResultsError(
            f"{out}: holds no shards (looked for {SHARDS_FOLDER}/1-of-8 and the like)",
            hint=WHICH_FOLDER,
        )
    if "shards" not in run or "results" not in run:
        raise ResultsError(
            f"{out}: holds no shards, but the results of a run without --shard",
            hint="There is nothing to merge",
        )
    failures = tuple(Failure(**row) for row in read_table(out / FAILURES_FILE))
    rows = {entry.file: entry.rows for entry in read_entries(out)}
    files = dict.fromkeys(result["file"] for result in run["results"])
    all_rows = [row for file in files for row in rows.get(file, [])]
    summary = RunSummary(
        out=out,
        state=run["state"],
        counts=run["counts"],
        area_fractions=run["mean_area_fractions"],
        fields=len(run["results"]),
        left_out=fields_with_less(all_rows),
        flags=run.get("flags", {}),
        failures=failures,
        results=tuple(run["results"]),
        findings=JoinedTables.recorded(out, run).find(all_rows),
    )
    return Merged(summary, run, already=True)


class _Merge:
    """What the steps of one merge share; all checks are behind it."""

    def __init__(
        self,
        out: Path,
        parts: Sequence[Part],
        entries: Mapping[str, Entry],
        ledger: Ledger,
        sink: Sink,
    ) -> None:
        self.out, self.parts, self.ledger, self.sink = out, parts, ledger, sink
        self.entries = {file: entries[file] for part in parts for file in part.done()}
        failures = self._failures()
        names = [name for part in parts for name in part.about["names"]]
        order = Listing(names=names, failures=list(failures.values())).order()
        self.tables = Tables(out, lambda: order, JoinedTables.recorded(out, parts[0].document))
        self.tables.rows = {file: entry.rows for file, entry in self.entries.items()}
        self.tables.failures = failures

    def go(self, homes: Mapping[Shard, Path]) -> Merged:
        """Write everything, and sweep."""
        document = merged_document(self.parts, homes, failed=len(self.tables.failures))
        files = {*self.entries, *self.tables.failures}
        try:
            # "running" marks the folder as ours and its tables as not ready yet.
            write_json(self.out / RUN_FILE, {**document, "state": "running", "ended": None})
            self.ledger.extend(self._lines())
            self.tables.write()
            self.ledger.sweep(sorted(files))
            remove_leftovers(self.out)
            findings = self.tables.join()
            bases = {file: entry.base for file, entry in self.entries.items()}
            document |= results_document(self.tables, bases)
            write_json(self.out / RUN_FILE, document)
        except OSError as exc:
            raise unwritable(self.out, exc, "merge again") from exc
        summary = RunSummary(
            out=self.out,
            state="finished",
            counts=document["counts"],
            area_fractions=self.tables.mean_area_fractions(),
            fields=len(self.tables.all_rows()),
            left_out=fields_with_less(self.tables.all_rows()),
            flags=self.tables.flags(),
            failures=tuple(self.tables.all_failures()),
            results=tuple(result_list(self.tables)),
            findings=findings,
        )
        return Merged(summary, document, already=False)

    def _lines(self) -> list[Entry]:
        """What the ledger lacks: results that went out of use first, then those that count."""
        stale: list[Entry] = []
        current: list[Entry] = []
        for part in self.parts:
            mine: dict[str, list[Entry]] = {}
            for entry in part.history:
                mine.setdefault(entry.file, []).append(entry)
            for file, lines in mine.items():
                if lines != [self.ledger.newest(file)]:
                    (current if file in self.entries else stale).extend(lines)
        return [*stale, *current]

    def _failures(self) -> dict[str, Failure]:
        """The shards' own, then what only other shards met, then what came too late."""
        found: dict[str, Failure] = {}
        for part in self.parts:
            for one in part.about["failures"]:
                found[one["file"]] = Failure(**one)
        for part in self.parts:
            for one in part.about["elsewhere"]:
                if one["file"] not in self.entries:
                    found.setdefault(one["file"], Failure(**one))
        return found | self._late({*found, *self.entries})

    def _late(self, known: set[str]) -> dict[str, Failure]:
        """Inputs that are there now and that no shard has: their own had looked already."""
        places = [place for part in self.parts if (place := Path(part.document["input"])).exists()]
        try:
            if not places:
                raise InputError(f"{self.parts[0].document['input']}: is not there")
            listing = list_inputs(places[0], self.out, self.parts[0].document["split"])
            found = {listed.relative for listed in listing.files}
            if known and not {form(name) for name in known} & {form(name) for name in found}:
                raise InputError(f"{places[0]}: holds none of the shards' inputs")
        except (InputError, OSError) as exc:
            self.sink.note(f"inputs that came after the shards had looked cannot be seen: {exc}")
            return {}
        seen = {form(name) for name in known}
        owners = {
            name: next(part.shard for part in self.parts if part.shard.takes(name))
            for name in found
            if form(name) not in seen
        }
        return {
            name: Failure(
                name,
                "list",
                f"came after shard {owner} had listed the folder. Run segment on it once more, "
                "without --shard",
            )
            for name, owner in owners.items()
        }
