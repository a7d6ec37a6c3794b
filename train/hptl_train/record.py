"""What run.json says of data, versions and finished steps."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from hptl_deploy import __version__
from hptl_deploy.datasets import DataSet
from hptl_deploy.sink import Sink, figure
from hptl_train.data.source import Source
from hptl_train.job import StepOutcome
from hptl_train.recipe import AnyRecipe, StepTable
from hptl_train.run_folder import FINISHED, RUN_SCHEMA, RUN_TOOL, RUNNING

_PACKAGES = ("torch", "numpy", "kornia", "scikit-learn", "scikit-image", "pillow")


def started_record(
    recipe: AnyRecipe, data_set: DataSet, command: str, device: str, sources: dict[str, Any]
) -> dict[str, Any]:
    """run.json of a run that begins now."""
    return {
        "tool": RUN_TOOL,
        "schema": RUN_SCHEMA,
        "state": RUNNING,
        "started": _now(),
        "recipe": recipe.name,
        "command": command,
        "seed": recipe.seed,
        "data": describe_data(data_set),
        "sources": sources,
        "versions": versions(),
        "device": device,
        "steps": [],
    }


def mark_finished(record: dict[str, Any]) -> None:
    """Say in run.json's `record` that the run has come to its end now."""
    record |= {"state": FINISHED, "finished": _now()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def say_report(sink: Sink, step: str, lines: Iterable[str]) -> None:
    """Note a report on what a step starts from; indented lines belong to the one before."""
    for line in lines:
        sink.note(line if line.startswith(" ") else f"{step}: {line}")


def describe_data(data_set: DataSet) -> dict[str, Any]:
    """What run.json says of the data."""
    return {
        "name": data_set.name,
        "path": str(data_set.root.resolve()),
        "sha256": data_set.sha256,
        "phases": [phase.to_json() for phase in data_set.phases],
        "pixel_size_um": data_set.pixel_size_um,
        "synthetic": data_set.synthetic,
        "origin": data_set.origin,
        "licence": data_set.licence,
        "samples": {name: len(data_set.split(name)) for name in ("train", "val", "test")},
    }


def versions() -> dict[str, str]:
    """Of everything that decides the numbers."""
    found = {"hptl-deploy": __version__, "python": platform.python_version()}
    found |= {package: importlib.metadata.version(package) for package in _PACKAGES}
    if torch.version.cuda is not None:
        found |= {"cuda": torch.version.cuda, "cudnn": str(torch.backends.cudnn.version())}
    return found


def describe_device(device: torch.device) -> str:
    """The card's name, or how many threads of the CPU compute."""
    if device.type == "cuda":
        return f"{device}, {torch.cuda.get_device_name(device)}"
    return f"{device}, {torch.get_num_threads()} threads"


def describe_sources(sources: Mapping[str, Source]) -> dict[str, dict[str, str]]:
    """What run.json says of the source domains, by step."""
    return {step: {"name": s.name, "sha256": s.sha256} for step, s in sources.items()}


def step_entry(
    step: StepTable,
    transferred: int,
    outcome: StepOutcome,
    source: Source | None,
    data_set: DataSet,
) -> dict[str, Any]:
    """What run.json says of a finished step."""
    losses = {"train": outcome.train_loss}
    if outcome.validation is not None and outcome.validation["loss"] is not None:
        losses["validation"] = outcome.validation["loss"]
    trained_on = f"{data_set.name} {data_set.sha256}"
    return {
        "name": step.name,
        "network": step.network,
        "start": step.start if step.weights is None else Path(step.weights).name,
        "transfer": step.transfer,
        "transferred": transferred,
        "iterations": outcome.iterations,
        "kept_iteration": outcome.kept_iteration,
        "seconds": round(outcome.seconds, 1),
        "data": trained_on if source is None else f"{source.name} {source.sha256}",
        "losses": losses,
        "validation": outcome.validation,
        "metrics_bytes": outcome.metrics_bytes,
    }


def result_line(index: int, entry: dict[str, Any]) -> str:
    """A finished step in one line."""
    text = (
        f"step {index + 1} {entry['name']}: {entry['iterations']} iterations in "
        f"{entry['seconds']:.0f} s, training loss {entry['losses']['train']:.4f}"
    )
    if entry["kept_iteration"] != entry["iterations"]:
        text += f", kept those of iteration {entry['kept_iteration']}"
    scores = entry["validation"]
    if scores is None:
        return text
    if "top1" in scores:
        top5 = "" if scores["top5"] is None else f", top-5 {figure(scores['top5'], 3)}"
        return f"{text}, top-1 {figure(scores['top1'], 3)}{top5} of {scores['of']}"
    return (
        f"{text}, validation loss {figure(scores['loss'], 4)}, "
        f"accuracy {figure(scores['accuracy'], 4)}, mean IoU {figure(scores['mean_iou'], 3)}"
    )


def unfound_warnings(record: dict[str, Any]) -> list[str]:
    """A sentence for each phase that the validation truth shows and the network never finds."""
    steps = record["steps"]
    phases = (steps[-1]["validation"] or {}).get("phases", []) if steps else []
    return [
        f"the final network finds no {phase['key']} in the validation micrographs, which show it; "
        "train longer before trusting its numbers"
        for phase in phases
        if phase["area_fraction_true"] and not phase["area_fraction_predicted"]
    ]
