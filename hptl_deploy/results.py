"""A results folder as others find it: the names in it, and its run.json."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

TOOL = "hptl-deploy segment"
"""Marks a run.json as ours, and its folder as results."""

RUN_FILE = "run.json"

STATISTICS_FILE = "statistics.csv"
PARTICLE_STATISTICS_FILE = "particle_statistics.csv"
SIZES_FILE = "sizes.csv"
PARTICLES_FILES = ("particles.parquet", "particles.csv")
SUMMARY_FILE = "summary.xlsx"
JOINED_FILES = (
    STATISTICS_FILE, PARTICLE_STATISTICS_FILE, SIZES_FILE, *PARTICLES_FILES, SUMMARY_FILE,
)  # fmt: skip
"""Tables over all fields of a results folder, made anew whenever fields.csv is."""
REPORT_FILE = "report.html"
OVERVIEW_FILES = (*JOINED_FILES, REPORT_FILE)
"""What speaks of all fields; removed before fields.csv changes, or it would be outdated."""

WHICH_FOLDER = "Name the results folder, which is INPUT-segmented where --out did not say otherwise"
"""What to do where a folder is none."""

SHARDS_FOLDER = "shards"
"""Below a results folder: one folder for each shard, `<number>-of-<count>`, until it is merged."""
_SHARD_HOME = re.compile(r"([1-9][0-9]*)-of-([1-9][0-9]*)")


def read_run(folder: Path) -> dict[str, Any] | None:
    """The run.json of a results folder; None where there is none of ours."""
    try:
        document = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) and document.get("tool") == TOOL else None


def is_number(value: object) -> TypeGuard[float]:
    """True for what can be written as digits; not for NaN, infinity and truth values."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def table(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object within `document`; empty where there is none of that name."""
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def is_results(folder: Path) -> bool:
    """True where `folder` holds a run.json of ours, or shards with one that are not merged yet."""
    return read_run(folder) is not None or any(
        read_run(home) is not None for home in shard_homes(folder).values()
    )


def shard_homes(folder: Path) -> dict[tuple[int, int], Path]:
    """The folders of shards in a results folder by (number, count), in order; few or none.

    One without a run.json may be a shard that is about to begin, or results of micrographs in a
    folder of that name.
    """
    try:
        names = sorted(path.name for path in (folder / SHARDS_FOLDER).iterdir())
    except OSError:
        return {}
    found = {}
    for match in filter(None, map(_SHARD_HOME.fullmatch, names)):
        found[int(match[2]), int(match[1])] = folder / SHARDS_FOLDER / match.string
    return {(number, count): found[count, number] for count, number in sorted(found)}
