"""`runs/<name>/`: what a training run leaves behind, and how it explains itself.

run.json            state, data, versions, seeds; each finished step with its losses
recipe.toml         the recipe as run; usable as `--recipe runs/<name>/recipe.toml`
metrics.jsonl       losses, learning rates, validations
curves.png          the same as a picture
report.html         all of it for a reader
1-vgg19/            what a step leaves: transfer.json, weights.safetensors, last.safetensors
2-fcn32s/ ...

weights.safetensors is what a step hands on: the weights after its last iteration or, where its
recipe says `keep = "best"`, the best on the validation frames. Where these are not the last,
last.safetensors holds the last. While a step trains, its folder holds a checkpoint instead:
checkpoint.json, which names a file of weights, one of the optimiser's state and, for
`keep = "best"`, best-<iteration>.safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hptl_deploy.errors import RunError
from hptl_deploy.files import TEMPORARY_SUFFIX, write_json, write_text
from hptl_train.checkpoint import save_tensors
from hptl_train.recipe import AnyRecipe, Recipe, load_chain, load_recipe

if TYPE_CHECKING:
    from torch import Tensor

RUN_FILE = "run.json"
RUN_SCHEMA = 1
RUN_TOOL = "hptl-deploy train"
"""Marks a run.json as a training run's: a results folder has one, too."""
RUNNING, FINISHED = "running", "finished"


class RunFolder:
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def metrics(self) -> Path:
        """The file of losses."""
        return self.path / "metrics.jsonl"

    @property
    def curves(self) -> Path:
        """The picture of the losses."""
        return self.path / "curves.png"

    @property
    def recipe_file(self) -> Path:
        """The recipe as run."""
        return self.path / "recipe.toml"

    def step(self, index: int, name: str) -> Path:
        """The folder of a step; `index` counts from 0."""
        return self.path / f"{index + 1}-{name}"

    def weights(self, index: int, name: str) -> Path:
        """The final weights of a step."""
        return self.step(index, name) / "weights.safetensors"

    @property
    def rival(self) -> Path:
        """What a rival without layers learned."""
        return self.path / "fitted"

    def pretrained(self, step: str) -> str:
        """The file in the run's folder with the published weights that a step starts from."""
        return f"{step}-start.safetensors"

    def read(self) -> dict[str, Any]:
        """run.json. Raises RunError when it is missing or not this program's."""
        path = self.path / RUN_FILE
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except OSError as exc:
            raise RunError(f"{self.path}: is no training run ({RUN_FILE} cannot be read)") from exc
        except ValueError as exc:
            raise RunError(f"{path}: is not JSON ({exc})") from exc
        if not isinstance(document, dict) or document.get("tool") != RUN_TOOL:
            raise RunError(f"{self.path}: is no training run")
        wanted = {"state", "started", "data", "sources", "steps", "versions"}
        if document.get("schema") != RUN_SCHEMA or not wanted <= document.keys():
            raise RunError(
                f"{path}: expected a training run of schema {RUN_SCHEMA} with "
                f"{', '.join(sorted(wanted))}"
            )
        return document

    def create(
        self,
        recipe: str,
        record: dict[str, Any],
        tensors: Mapping[str, dict[str, Tensor]] | None = None,
    ) -> None:
        """Make the folder with recipe.toml, run.json and files of `tensors`, or not at all."""
        draft = RunFolder(self.path.with_name(f".{self.name}{TEMPORARY_SUFFIX}"))
        write_text(draft.recipe_file, recipe)
        draft.write(record)
        for file, content in (tensors or {}).items():
            save_tensors(draft.path / file, content)
        draft.path.replace(self.path)

    def write(self, document: dict[str, Any]) -> None:
        """Replace run.json."""
        write_json(self.path / RUN_FILE, document)

    def recipe(self) -> AnyRecipe:
        """The recipe as run. Raises RecipeError."""
        return load_recipe(str(self.recipe_file))

    def chain(self) -> Recipe:
        """The recipe as run, where only a chain will do. Raises RecipeError."""
        return load_chain(str(self.recipe_file))


def find_run(name: str | None, runs: Path, *, state: str) -> RunFolder:
    """The run `name` (a folder, or a name in `runs`), or the newest one in `state`.

    Raises RunError when there is none, or when the named one is in another state.
    """
    if name is not None:
        path = Path(name) if (Path(name) / RUN_FILE).is_file() else runs / name
        run = RunFolder(path)
        if not path.is_dir():
            known = ", ".join(sorted(other.parent.name for other in runs.glob(f"*/{RUN_FILE}")))
            raise RunError(f"run {name}: {runs} does not hold it (there: {known or 'none'})")
        found = run.read()["state"]
        if found != state:
            advice = {
                RUNNING: f"Continue it: hptl-deploy train --resume --name {run.name}",
                FINISHED: f"Export it: hptl-deploy export {run.name}",
            }
            words = {RUNNING: "not finished", FINISHED: "finished"}
            raise RunError(f"run {name}: is {words[found]}", hint=advice[found])
        return run
    candidates = []
    others = 0
    for path in runs.glob(f"*/{RUN_FILE}"):
        with suppress(RunError):  # what else lies there is not ours to judge
            record = RunFolder(path.parent).read()
            if record["state"] == state:
                candidates.append((record.get("finished", record["started"]), path.parent))
            else:
                others += 1
    if not candidates:
        wanted = "finished run to export" if state == FINISHED else "unfinished run to resume"
        hint = "Start one: hptl-deploy train DATA"
        if others and state == FINISHED:
            hint = "Go on with the unfinished one: hptl-deploy train --resume"
        raise RunError(f"found no {wanted} in {runs}", hint=hint)
    return RunFolder(max(candidates)[1])


def new_run(name: str | None, default: str, runs: Path) -> RunFolder:
    """A folder for a new run: `name`, or `default` with a number where it is taken.

    Raises RunError when `name` is taken.
    """
    if name is not None:
        if (runs / name).exists():
            raise RunError(
                f"run {name}: {runs / name} exists",
                hint="Continue it with --resume, or choose another --name",
            )
        return RunFolder(runs / name)
    number = 1
    while (path := runs / (default if number == 1 else f"{default}-{number}")).exists():
        number += 1
    return RunFolder(path)
