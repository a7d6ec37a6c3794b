"""A chain made ready: everything that can be wrong is found before anything is trained."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from hptl_deploy.datasets import DataSet, load_data_set, read_labels
from hptl_deploy.errors import DataSetError, EnvironmentLacks, RunError, UsageError
from hptl_deploy.phases import IGNORE, key_from_name
from hptl_deploy.segmentation.memory import gib
from hptl_deploy.sink import Sink
from hptl_train.building import crop_side
from hptl_train.chain import Chain
from hptl_train.data.source import Source, find_source
from hptl_train.devices import Team, open_team
from hptl_train.fitting import Fitting
from hptl_train.memory import free_memory
from hptl_train.pretrained import Pretrained, read_vgg19_weights
from hptl_train.recipe import AnyRecipe, Recipe, RivalRecipe, Wishes, load_recipe
from hptl_train.record import describe_sources, say_report
from hptl_train.run_folder import RUNNING, RunFolder, find_run, new_run

DEFAULT_RECIPE = "hptl"


Training = Chain | Fitting
"""A run made ready: `run`, `data_set`, `recipe`, `where`, and `train()`."""


def start_run(
    data: Path | DataSet, wishes: Wishes, name: str | None, runs: Path, device: str, sink: Sink
) -> Training:
    """A new run of a recipe on `data`, its folder laid out.

    A DataSet is taken as `checked_data` gives it, for many runs on the same data.

    Raises RecipeError, DataSetError (every image and label is read), UsageError, RunError and
    EnvironmentLacks; nothing is left behind then.
    """
    if name is not None and re.fullmatch(r"[^\\/:.][^\\/:]*", name) is None:
        raise UsageError(f"--name {name}: expected a plain name, not a path")
    recipe = load_recipe(wishes.recipe or DEFAULT_RECIPE)
    if isinstance(recipe, RivalRecipe):
        recipe = wishes.rival(recipe)
        data_set = data if isinstance(data, DataSet) else checked_data(data)
        run = _new_folder(recipe, data_set, name, runs, sink)
        fitting = Fitting(recipe, data_set, run, sink, wishes.command())
        fitting.start()
        return fitting
    recipe = wishes.chain(recipe)
    crop_side(recipe)
    team = open_team(device, recipe.compute)
    _check_shares(recipe, team)
    sources, pretrained = _sources(recipe), _pretrained(recipe)
    data_set = data if isinstance(data, DataSet) else checked_data(data)
    _check_whole_frames(recipe, data_set, team.device)
    # One process looks for a free name; the others would find it taken.
    path = str(_new_folder(recipe, data_set, name, runs, sink).path) if team.leads else ""
    run = RunFolder(Path(team.told(path)))
    chain = Chain(recipe, data_set, sources, pretrained, run, team, sink, wishes.command())
    _say_start(chain)
    chain.start()
    return chain


def check_ready(recipe: Recipe, data_set: DataSet, device: str) -> None:
    """Raise what `start_run` would raise for a chain on `data_set`, without starting it."""
    crop_side(recipe)
    team = open_team(device, recipe.compute)
    _check_shares(recipe, team)
    _sources(recipe)
    _pretrained(recipe)
    _check_whole_frames(recipe, data_set, team.device)


def resume_run(
    data: Path | None, wishes: Wishes, name: str | None, runs: Path, device: str, sink: Sink
) -> Training:
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
    record["data"]["path"] = str(data_set.root.resolve())
    recipe = run.recipe()
    sink.note(f"resuming {run.path}")
    if isinstance(recipe, RivalRecipe):
        run.write(record)
        return Fitting(recipe, data_set, run, sink)
    team = open_team(device, recipe.compute)
    sources = _sources(recipe)
    for step_name, found in describe_sources(sources).items():
        then = record["sources"].get(step_name, {})
        _check_same("source domain", found["name"], then.get("sha256", ""), found["sha256"])
    if team.leads:
        run.write(record)
    return Chain(recipe, data_set, sources, {}, run, team, sink)


def checked_data(data: Path) -> DataSet:
    """The data set at `data`, every image and label read, with something to learn from.

    Raises DataSetError.
    """
    data_set = load_data_set(data, verify=True)
    _check_labelled(data_set)
    return data_set


def _new_folder(
    recipe: AnyRecipe, data_set: DataSet, name: str | None, runs: Path, sink: Sink
) -> RunFolder:
    default = f"{recipe.name}-{key_from_name(data_set.name).replace('_', '-') or 'data'}"
    run = new_run(name, default, runs)
    if run.name != (name or default):
        sink.note(
            f"{runs / default} exists already; this is {run.path} (an unfinished run goes on "
            "with --resume)"
        )
    return run


def _say_start(chain: Chain) -> None:
    note = chain.sink.note
    if not chain.sources and not chain.pretrained:
        note(f"no source domain: step {chain.recipe.steps[0].name} starts from random weights")
    for step_name, weights in chain.pretrained.items():
        say_report(chain.sink, step_name, weights.report)
    for step_name, source in chain.sources.items():
        note(f"source domain of step {step_name}: {source.name} (--source-data changes it)")
    for step in chain.recipe.steps:
        pictures = len(chain.sources[step.name].pictures) if step.name in chain.sources else 0
        if (seen := step.iterations * step.batch) < pictures:
            note(
                f"step {step.name} sees {seen:,} of the source domain's {pictures:,} pictures; "
                "--source-iterations gives it more"
            )


def _sources(recipe: Recipe) -> dict[str, Source]:
    return {step.name: find_source(step.source) for step in recipe.steps if step.source}


def _pretrained(recipe: Recipe) -> dict[str, Pretrained]:
    return {
        step.name: read_vgg19_weights(
            Path(step.weights), recipe.vgg.sizes, recipe.input.mean, recipe.input.std
        )
        for step in recipe.steps
        if step.weights is not None
    }


def _check_shares(recipe: Recipe, team: Team) -> None:
    for step in recipe.steps:
        # DeepLab V3+ normalises over its share, which must hold two.
        least = 2 if step.network == "deeplabv3plus" else 1
        if step.batch % team.size or step.batch // team.size < least:
            raise UsageError(
                f"step {step.name}: a batch of {step.batch} cannot be shared out among "
                f"{team.size} processes, {least} or more pictures each and all alike",
                hint="Give a multiple with --batch",
            )


def _check_whole_frames(recipe: Recipe, data_set: DataSet, device: torch.device) -> None:
    """Networks that see a frame in one piece must have room for the largest."""
    if recipe.deeplab is None:
        return
    each = recipe.deeplab.sizes.evaluation_bytes * recipe.input.scale**2
    sizes = [data_set.read(sample)[1].shape for sample in data_set.samples]
    height, width = max(sizes, key=lambda size: size[0] * size[1])
    need, free = each * height * width, free_memory(device)
    if need > free:
        raise EnvironmentLacks(
            f"recipe {recipe.name} sees a micrograph of {width} x {height} px in one piece, which "
            f"takes about {gib(need)} at input scale {recipe.input.scale}; {gib(free)} are free "
            f"on {device}",
            hint="Leave it out, or give a smaller --input-scale or --width",
        )


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
