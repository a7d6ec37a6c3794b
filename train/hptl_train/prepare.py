"""A chain made ready: everything that can be wrong is found before anything is trained."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hptl_deploy.datasets import DataSet, load_data_set, read_labels
from hptl_deploy.errors import DataSetError, RunError, UsageError
from hptl_deploy.phases import IGNORE, key_from_name
from hptl_deploy.sink import Sink
from hptl_train.chain import Chain, crop_side
from hptl_train.data.source import Source, find_source
from hptl_train.devices import open_fabric
from hptl_train.recipe import Recipe, load_recipe
from hptl_train.record import describe_sources
from hptl_train.run_folder import RUNNING, find_run, new_run

DEFAULT_RECIPE = "hptl"


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for; None where it leaves the recipe alone."""

    recipe: str | None = None
    width: float | None = None
    iterations: int | None = None
    seed: int | None = None
    input_scale: int | None = None
    source_data: str | None = None

    def command(self) -> str:
        """The command line that asks for it; folders, which are this machine's, are left out."""
        words = [f"{option} {_without_folders(value)}" for option, value in self._set().items()]
        return " ".join(["hptl-deploy train DATA", *words])

    def given(self) -> list[str]:
        """The options that are set, as they are written."""
        return list(self._set())

    def _set(self) -> dict[str, object]:
        return {f"--{key.replace('_', '-')}": v for key, v in vars(self).items() if v is not None}


def _without_folders(value: object) -> str:
    return Path(value).name if isinstance(value, str) else str(value)


def start_chain(
    data: Path, wishes: Wishes, name: str | None, runs: Path, device: str, sink: Sink
) -> Chain:
    """A new run of a recipe on `data`, its folder laid out.

    Raises RecipeError, DataSetError (every image and label is read), UsageError, RunError and
    EnvironmentLacks; nothing is left behind then.
    """
    recipe = load_recipe(wishes.recipe or DEFAULT_RECIPE).overridden(
        width=wishes.width,
        iterations=wishes.iterations,
        seed=wishes.seed,
        input_scale=wishes.input_scale,
        source=wishes.source_data,
    )
    crop_side(recipe)
    sources = _sources(recipe)
    data_set = load_data_set(data, verify=True)
    _check_labelled(data_set)
    default = f"{recipe.name}-{key_from_name(data_set.name).replace('_', '-') or 'data'}"
    if name is not None and re.fullmatch(r"[^\\/:.][^\\/:]*", name) is None:
        raise UsageError(f"--name {name}: expected a plain name, not a path")
    run = new_run(name, default, runs)
    if run.name != (name or default):
        sink.note(
            f"{runs / default} exists already; this is {run.path} (an unfinished run goes on "
            "with --resume)"
        )
    chain = Chain(
        recipe, data_set, sources, run, open_fabric(device), sink, command=wishes.command()
    )
    if not sources:
        first = recipe.steps[0].name
        sink.note(f"no source domain: step {first} starts from random weights")
    for step_name, source in sources.items():
        sink.note(f"source domain of step {step_name}: {source.name} (--source-data changes it)")
    chain.start()
    return chain


def resume_chain(
    data: Path | None, wishes: Wishes, name: str | None, runs: Path, device: str, sink: Sink
) -> Chain:
    """The unfinished run `name`, or the newest, as it was left.

    `data` is where the data set lies now, if it has moved. Raises UsageError when `wishes`
    would change the recipe, RunError when there is no such run or its data, target or
    source, have changed, DataSetError and EnvironmentLacks.
    """
    if given := wishes.given():
        raise UsageError(
            f"--resume goes on with the run's own recipe; {', '.join(given)} cannot change it",
            hint="Leave it out, or start a new run without --resume",
        )
    run = find_run(name, runs, state=RUNNING)
    record = run.read()
    place = data or Path(record["data"]["path"])
    if not place.is_dir():
        raise RunError(
            f"run {run.name}: its data set is not at {place} any more",
            hint="Name its new place: hptl-deploy train NEWPLACE --resume",
        )
    data_set = load_data_set(place)
    _check_same("data set", str(place), record["data"]["sha256"], data_set.sha256)
    recipe = run.recipe()
    sources = _sources(recipe)
    for step_name, found in describe_sources(sources).items():
        then = record["sources"].get(step_name, {})
        _check_same("source domain", found["name"], then.get("sha256", ""), found["sha256"])
    record["data"]["path"] = str(data_set.root.resolve())
    run.write(record)
    sink.note(f"resuming {run.path}")
    return Chain(recipe, data_set, sources, run, open_fabric(device), sink)


def _sources(recipe: Recipe) -> dict[str, Source]:
    return {step.name: find_source(step.source) for step in recipe.steps if step.source}


def _check_labelled(data_set: DataSet) -> None:
    train = data_set.split("train")
    if not train:
        raise DataSetError(f"data set {data_set.root}: its training split is empty")
    if not any((read_labels(sample.label, data_set.code) != IGNORE).any() for sample in train):
        raise DataSetError(f"data set {data_set.root}: its training split has no labelled pixel")


def _check_same(kind: str, where: str, then: str, now: str) -> None:
    if then != now:
        raise RunError(
            f"{kind} {where}: has changed since the run was started on it "
            f"(then {then[:12]}, now {now[:12]})",
            hint="Restore it, or start a new run without --resume",
        )
