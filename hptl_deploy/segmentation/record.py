"""run.json: what ran, on what, with which settings, and what came of it."""

from __future__ import annotations

import importlib.metadata
import json
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
from hptl_deploy.model import ModelCard
from hptl_deploy.rescaling.words import rescaling_counts
from hptl_deploy.results import RUN_FILE, TOOL
from hptl_deploy.segmentation.clock import Clock
from hptl_deploy.segmentation.inputs.naming import renamed
from hptl_deploy.segmentation.inputs.sources import Inputs
from hptl_deploy.segmentation.memory import MemoryPlan
from hptl_deploy.segmentation.options import SegmentOptions
from hptl_deploy.segmentation.shards.sharding import shard_document
from hptl_deploy.segmentation.tables import Tables
from hptl_deploy.statistics.validation import validation_of

SCHEMA = 1


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class RunRecord:
    """Writes run.json at the start and at the end of a run."""

    out: Path
    options: SegmentOptions
    engine: Engine
    inputs: Inputs
    memory: MemoryPlan
    tables: Tables
    clock: Clock
    started: str = field(default_factory=now)

    def write(self, state: str, counts: Mapping[str, int]) -> None:
        """`state`: `running`, `finished` or `interrupted`. Raises OSError."""
        model, mask = self.engine.model, self.options.leave_out.mask
        document = {
            "tool": TOOL,
            "schema": SCHEMA,
            "state": state,
            "started": self.started,
            "ended": None if state == "running" else now(),
            "input": str(Path(self.options.input).absolute()),
            "split": self.options.split,
            "ignore_mask": None if mask is None else str(mask.path.absolute()),
            "counts": dict(counts),
            "model": {
                "name": model.card.name,
                "path": str(model.path.absolute()),
                "sha256": model.sha256,
                "precision": model.card.precision,
                "pixel_size_um": model.card.pixel_size_um,
                "validation": {
                    key: one.to_json()
                    for key, one in validation_of(model.card.validation, model.card.phases).items()
                },
                "card": card_document(model.card),
            },
            "phases": [phase.to_json() for phase in model.card.phases],
            "settings": {**self.options.settings(), "tile": self.options.tile},
            "settings_sha256": self.options.settings_sha256(),
            "tables": self.options.tables.to_json(),
            "engine": self.engine.info.to_json(),
            "versions": _versions(),
            "memory": self.memory.to_json(),
            "busy_seconds": self.clock.seconds(),
            "throughput": self.clock.to_json(),
        }
        if self.options.shard is not None:
            document["shard"] = shard_document(self.options.shard, self.inputs.listing, self.tables)
        if state != "running":
            document |= results_document(self.tables, self.inputs.bases)
        write_json(self.out / RUN_FILE, document)


def results_document(tables: Tables, bases: Mapping[str, str]) -> dict[str, Any]:
    """What run.json says of what came out; `bases` begin the results' names, by input."""
    rows = tables.all_rows()
    done = {row["file"] for row in rows}
    return {
        "calibration_sources": dict(Counter(row["pixel_size_source"] for row in rows)),
        "rescaling": rescaling_counts(rows),
        "mean_area_fractions": tables.mean_area_fractions(),
        "flags": tables.flags(),
        "renamed": {name: base for name, base in renamed(bases).items() if name in done},
        "results": result_list(tables),
    }


def result_list(tables: Tables) -> list[dict[str, Any]]:
    """Which class map belongs to which page of which input."""
    return [
        {name: row[name] for name in ("file", "page", "classes_file")} for row in tables.all_rows()
    ]


def card_document(card: ModelCard) -> dict[str, Any]:
    """What the results say of the model's own history: its card without what only runs it."""
    document = json.loads(card.to_json())
    kept = (
        "network", "width", "input_scale", "pixel_size_um", "synthetic", "lineage", "validation",
        "training", "licence", "made_with",
    )  # fmt: skip
    document["validation"].pop("confusion", None)  # of many phases, it is most of a card
    statistics = card.training_statistics
    sizes = None if statistics is None else statistics.pixel_sizes_um
    return {name: document[name] for name in kept} | {"trained_pixel_sizes_um": sizes}


def _versions() -> dict[str, str]:
    versions = {"hptl_deploy": __version__, "python": platform.python_version()}
    for package in ("numpy", "onnxruntime-gpu", "onnxruntime", "tifffile", "imagecodecs", "pillow"):
        try:
            versions[package.removesuffix("-gpu")] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
