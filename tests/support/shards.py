"""Shards of a folder, run in this process, and what there is of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from hptl_deploy.engines import Engine
from hptl_deploy.errors import ResultsError
from hptl_deploy.segmentation import RunSummary, SegmentOptions, segment
from hptl_deploy.segmentation.shards.merging import merge
from hptl_deploy.segmentation.shards.sharding import Shard


def one(source: Path, engine: Engine, number: int, count: int, **settings: Any) -> RunSummary:
    return segment(SegmentOptions(source, shard=Shard(number, count), **settings), engine)


def run_shards(source: Path, engine: Engine, count: int, **settings: Any) -> Path:
    """All shards, last first; returns the results folder."""
    ended = [one(source, engine, n, count, **settings) for n in range(count, 0, -1)]
    return ended[0].out


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def content(out: Path) -> dict[str, bytes]:
    """Everything that is not of one run: maps, overlays, tables."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in ("run.json", "report.html", "ledger.jsonl")
    }


def run_json(out: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((out / "run.json").read_text(encoding="utf-8"))
    return document


def owned(number: int, count: int, suffix: str = ".png") -> list[str]:
    """Names that fall to a shard."""
    names = (f"n{index}{suffix}" for index in range(60))
    return [name for name in names if Shard(number, count).takes(name)]


def problems(out: Path) -> list[str]:
    with pytest.raises(ResultsError) as caught:
        merge(out)
    assert caught.value.message.startswith(f"{out}: its shards cannot be merged")
    return caught.value.problems
