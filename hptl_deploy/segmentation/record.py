"""run.json: what ran, on what, with which settings, and what came of it."""

from __future__ import annotations

import importlib.metadata
import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hptl_deploy import __version__
from hptl_deploy.engines.base import Engine
from hptl_deploy.files import write_json
from hptl_deploy.results import RUN_FILE, TOOL
from hptl_deploy.segmentation.clock import Clock
from hptl_deploy.segmentation.listing import Listing
from hptl_deploy.segmentation.memory import MemoryPlan
from hptl_deploy.segmentation.naming import renamed
from hptl_deploy.segmentation.options import SegmentOptions
from hptl_deploy.segmentation.tables import Tables

_SCHEMA = 1


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class RunRecord:
    """Writes run.json at the start and at the end of a run."""

    out: Path
    options: SegmentOptions
    engine: Engine
    listing: Listing
    bases: Mapping[str, str]
    """Beginning of the results' names, by input."""
    memory: MemoryPlan
    tables: Tables
    clock: Clock
    started: str = field(default_factory=now)

    def write(self, state: str, counts: Mapping[str, int]) -> None:
        """`state`: `running`, `finished` or `interrupted`. Raises OSError."""
        model = self.engine.model
        document = {
            "tool": TOOL,
            "schema": _SCHEMA,
            "state": state,
            "started": self.started,
            "ended": None if state == "running" else now(),
            "input": str(Path(self.options.input).absolute()),
            "split": self.options.split,
            "counts": dict(counts),
            "model": {
                "name": model.card.name,
                "path": str(model.path.absolute()),
                "sha256": model.sha256,
                "precision": model.card.precision,
            },
            "phases": [phase.to_json() for phase in model.card.phases],
            "settings": {**self.options.settings(), "tile": self.options.tile},
            "settings_sha256": self.options.settings_sha256(),
            "engine": self.engine.info.to_json(),
            "versions": _versions(),
            "memory": self.memory.to_json(),
            "busy_seconds": self.clock.seconds(),
            "throughput": self.clock.to_json(),
        }
        if state != "running":
            document |= self._results()
        write_json(self.out / RUN_FILE, document)

    def _results(self) -> dict[str, Any]:
        rows = self.tables.all_rows()
        done = {row["file"] for row in rows}
        return {
            "calibration_sources": dict(Counter(row["pixel_size_source"] for row in rows)),
            "mean_area_fractions": self.tables.mean_area_fractions(),
            "renamed": {name: base for name, base in renamed(self.bases).items() if name in done},
            "results": result_list(self.tables),
        }


def result_list(tables: Tables) -> list[dict[str, Any]]:
    """Which class map belongs to which page of which input."""
    return [
        {name: row[name] for name in ("file", "page", "classes_file")} for row in tables.all_rows()
    ]


def _versions() -> dict[str, str]:
    versions = {"hptl_deploy": __version__, "python": platform.python_version()}
    for package in ("numpy", "onnxruntime-gpu", "onnxruntime", "tifffile", "imagecodecs", "pillow"):
        try:
            versions[package.removesuffix("-gpu")] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
