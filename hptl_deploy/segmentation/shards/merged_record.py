"""The run.json of a merged results folder: what all shards agree on, and what each said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hptl_deploy.files import sha256_file
from hptl_deploy.results import RUN_FILE, TOOL
from hptl_deploy.segmentation.record import SCHEMA, now
from hptl_deploy.segmentation.shards.parts import Document, Part
from hptl_deploy.segmentation.shards.sharding import Shard

_COMMON = ("split", "model", "phases", "settings", "settings_sha256", "tables")
"""Checked to be the same, but for the model's path and the tiles."""
_OF_RESULTS = (
    "calibration_sources", "rescaling", "mean_area_fractions", "flags", "renamed", "results",
)  # fmt: skip


def merged_document(parts: Sequence[Part], homes: Mapping[Shard, Path], failed: int) -> Document:
    """Everything but the results; `failed` inputs in all, those that came too late included.

    A later run plans its memory anew, because what one machine had is nothing to another's.
    """
    documents = [part.document for part in parts]
    first = documents[0]
    return {
        "tool": TOOL,
        "schema": SCHEMA,
        "state": "finished",
        "started": min(document["started"] for document in documents),
        "ended": max(document["ended"] for document in documents),
        "input": next((d["input"] for d in documents if Path(d["input"]).exists()), first["input"]),
        **{name: first[name] for name in _COMMON},
        "settings": _agreed([document["settings"] for document in documents]),
        "counts": _counts(documents, failed),
        "engine": _agreed([document["engine"] for document in documents]),
        "versions": _agreed([document["versions"] for document in documents]),
        "busy_seconds": _summed([document["busy_seconds"] for document in documents]),
        "shards": {
            "count": parts[0].shard.count,
            "merged": now(),
            "runs": [_run(part, homes[part.shard]) for part in parts],
        },
    }


def are_recorded(homes: Mapping[Shard, Path], run: Document | None) -> bool:
    """True where `run` is of a merge that had these very shards."""
    shards = (run or {}).get("shards")
    if not isinstance(shards, dict) or "results" not in (run or {}):
        return False
    recorded = {Shard(one["number"], shards["count"]): one["run_sha256"] for one in shards["runs"]}
    return all(recorded.get(shard) == sha256_file(home / RUN_FILE) for shard, home in homes.items())


def _run(part: Part, home: Path) -> Document:
    """What a shard's run.json says of itself alone."""
    left_out = {"tool", "schema", "state", "shard", *_COMMON, *_OF_RESULTS}
    own = {name: value for name, value in part.document.items() if name not in left_out}
    return {
        "number": part.shard.number,
        "run_sha256": sha256_file(home / RUN_FILE),
        "model_path": part.document["model"]["path"],
        "tile": part.document["settings"]["tile"],
        **own,
    }


def _agreed(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The entries that are the same in all."""
    first, *others = tables
    return {
        name: value
        for name, value in first.items()
        if all(name in other and other[name] == value for other in others)
    }


def _summed(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    total: Counter[str] = Counter()
    for table in tables:
        total.update(table)
    return {name: round(value, 3) for name, value in total.items()}


def _counts(documents: Sequence[Document], failed: int) -> dict[str, int]:
    counts = [document["counts"] for document in documents]
    return {
        "done": sum(one["done"] for one in counts),
        "skipped": sum(one["skipped"] for one in counts),
        "failed": failed,
        "remaining": 0,
        # Every shard has met all the files that are no micrographs.
        "ignored": max(one["ignored"] for one in counts),
    }
