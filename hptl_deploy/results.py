"""A results folder as others find it: the names in it, and its run.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TOOL = "hptl-deploy segment"
"""Marks a run.json as ours, and its folder as results."""

RUN_FILE = "run.json"


def read_run(folder: Path) -> dict[str, Any] | None:
    """The run.json of a results folder; None where there is none of ours."""
    try:
        document = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) and document.get("tool") == TOOL else None


def is_results(folder: Path) -> bool:
    """True where `folder` holds a run.json of ours."""
    return read_run(folder) is not None
