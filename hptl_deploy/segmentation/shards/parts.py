"""A shard as merge finds it: its run.json, checked for form, and its ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hptl_deploy.errors import ResultsError
from hptl_deploy.results import RUN_FILE, read_run
from hptl_deploy.segmentation.ledger import Entry, read_entries
from hptl_deploy.segmentation.record import SCHEMA
from hptl_deploy.segmentation.shards.sharding import Shard

Document = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One shard as it lies in its folder."""

    shard: Shard
    document: Document
    """Its run.json."""
    history: list[Entry]
    """Its ledger, oldest line first."""

    @property
    def about(self) -> Document:
        """What its run.json says of the shard."""
        about: Document = self.document["shard"]
        return about

    @property
    def finished(self) -> bool:
        """True where nothing of it is left to do."""
        return bool(self.document["state"] == "finished")

    def done(self) -> list[str]:
        """Its inputs that have results, in order."""
        return list(dict.fromkeys(row["file"] for row in self.document.get("results", [])))


def read_part(shard: Shard, home: Path) -> Part:
    """A shard with its ledger. Raises ResultsError when it cannot be read."""
    document = read_run(home)
    if document is None or not _is_whole(document, shard):
        raise ResultsError(
            f"{home / RUN_FILE}: is not as this version writes it for shard {shard}",
            hint="Run the shard again",
        )
    return Part(shard, document, read_entries(home))


_FIELDS: dict[str, type] = {
    "state": str, "started": str, "input": str, "counts": dict, "model": dict, "phases": list,
    "settings": dict, "settings_sha256": str, "engine": dict, "versions": dict, "shard": dict,
    "busy_seconds": dict, "tables": dict,
}  # fmt: skip
"""What merge reads of a shard's run.json, and of its `shard`."""
_SHARD_FIELDS: dict[str, type] = {
    "listing_sha256": str, "names": list, "failures": list, "elsewhere": list,
}  # fmt: skip


def _is_whole(document: Document, shard: Shard) -> bool:
    """True where run.json has the form of this schema and is the shard's."""
    return (
        document.get("schema") == SCHEMA
        and all(isinstance(document.get(name), kind) for name, kind in _FIELDS.items())
        and all(isinstance(document["shard"].get(n), kind) for n, kind in _SHARD_FIELDS.items())
        and (document["shard"].get("number"), document["shard"].get("count"))
        == (shard.number, shard.count)
    )


def current_entries(parts: Iterable[Part], out: Sequence[Entry]) -> dict[str, Entry]:
    """What is known of each input: by its shard's ledger, else by the results folder's own."""
    entries = {entry.file: entry for entry in out}
    for part in parts:
        entries |= {e.file: e for e in part.history if part.shard.takes(e.file)}
    return entries
