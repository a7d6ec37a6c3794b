"""One row with one seed: its finished run, trained, resumed, or found in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hptl_deploy.datasets import DataSet
from hptl_deploy.errors import RunError
from hptl_deploy.sink import Sink
from hptl_train.compare.plan import Entry
from hptl_train.prepare import resume_run, start_run
from hptl_train.recipe import AnyRecipe, Wishes
from hptl_train.run_folder import FINISHED, RunFolder


def finished_run(entry: Entry, data_set: DataSet, runs: Path, device: str, sink: Sink) -> RunFolder:
    """The run `runs/<row>-seed<s>`, finished.

    A run that was trained elsewhere counts when it lies there. Raises RunError when what lies
    there is of another recipe or other data, and all that training raises.
    """
    run = RunFolder(runs / entry.name)
    if not run.path.exists():
        start_run(data_set, entry.wishes, entry.name, runs, device, sink).train()
        return run
    record = run.read()
    if record["data"]["sha256"] != data_set.sha256:
        raise RunError(
            f"run {run.path}: was trained on other data ({record['data']['name']})",
            hint="Remove it, or name another folder with --out",
        )
    if _numbers(run.recipe()) != _numbers(entry.recipe):
        raise RunError(
            f"run {run.path}: its recipe is not {entry.row} with this comparison's options",
            hint="Remove it, or name another folder with --out",
        )
    if record["state"] != FINISHED:
        resume_run(data_set.root, Wishes(), entry.name, runs, device, sink).train()
    return run


def _numbers(recipe: AnyRecipe) -> dict[str, Any]:
    """All of a recipe but where files lie on this machine."""
    table = recipe.model_dump(mode="json", exclude_none=True)
    for step in table.get("steps", []):
        for key in ("source", "weights"):
            if key in step:
                step[key] = Path(step[key]).name
    return table
