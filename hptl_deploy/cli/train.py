"""`hptl-deploy train`: the chain of a recipe on a labelled data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hptl_deploy.cli.extras import needs_extra
from hptl_deploy.cli.output import JsonOption, Output, output

if TYPE_CHECKING:
    from hptl_train.chain import Chain

DeviceOption = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.", metavar="DEVICE")
]
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder of training runs.")]


def train(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Argument(help="Data set folder: dataset.toml, or images/ and labels/."),
    ] = None,
    recipe: Annotated[str, typer.Option(help="A recipe's name, or a TOML file.")] = "hptl",
    source_data: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|photographs|none",
            help="Step 1's source domain: a class-per-folder tree, scikit-image's photographs, "
            "or none (step 2 then starts from random).",
        ),
    ] = None,
    width: Annotated[
        float | None, typer.Option(help="Scale all channels of the networks, e.g. 0.25.")
    ] = None,
    iterations: Annotated[int | None, typer.Option(min=1, help="Iterations of every step.")] = None,
    input_scale: Annotated[
        int | None,
        typer.Option(min=1, max=4, help="Enlarge the input, for particles of a few pixels."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of every draw.")] = None,
    name: Annotated[str | None, typer.Option(help="The run's name.")] = None,
    runs: RunsOption = Path("runs"),
    resume: Annotated[
        bool, typer.Option(help="Go on with an unfinished run (--name, else the newest).")
    ] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train a recipe's chain on labelled micrographs.

    Example: hptl-deploy train my-alloy --width 0.25 --iterations 500

    After an interruption: hptl-deploy train --resume
    """
    sink = output(context, as_json=as_json)
    options = {
        "width": width,
        "iterations": iterations,
        "seed": seed,
        "input_scale": input_scale,
        "source": source_data,
    }
    with needs_extra("train", "training"):
        if resume:
            chain = _resumed(data, name, runs, device, sink, options)
        else:
            chain = _started(data, recipe, name, runs, device, sink, options)
        for note in chain.data_set.notes:
            sink.note(note)
        counts = ", ".join(f"{k} {len(chain.data_set.split(k))}" for k in ("train", "val", "test"))
        sink.note(
            f"run {chain.run.path}: recipe {chain.recipe.name} on {chain.data_set.name} "
            f"({counts}), {chain.fabric.device}"
        )
        record = chain.train()
    _summary(sink, chain, record)


def _started(
    data: Path | None,
    recipe_name: str,
    name: str | None,
    runs: Path,
    device: str,
    sink: Output,
    options: dict[str, Any],
) -> Chain:
    from hptl_deploy.datasets import load_data_set
    from hptl_deploy.errors import DataSetError
    from hptl_train.recipe import RANDOM, load_recipe

    recipe = load_recipe(recipe_name).overridden(**options)
    data_set = load_data_set(data or Path(), verify=True)
    if not data_set.split("train"):
        raise DataSetError(f"data set {data_set.root}: its training split is empty")

    from hptl_train.chain import Chain, crop_side
    from hptl_train.devices import open_fabric
    from hptl_train.run_folder import new_run

    crop_side(recipe)
    run = new_run(name, f"{recipe.name}-{_plain(data_set.name)}", runs)
    chain = Chain(recipe, data_set, run, open_fabric(device), sink)
    if all(step.network != "vgg19" for step in recipe.steps):
        start = recipe.steps[0]
        assert start.start == RANDOM
        sink.note(f"no source domain: step {start.name} starts from random weights")
    else:
        sources = [step.source for step in recipe.steps if step.source is not None]
        sink.note(f"source domain of step 1: {', '.join(sources)} (--source-data changes it)")
    chain.start()
    return chain


def _resumed(
    data: Path | None,
    name: str | None,
    runs: Path,
    device: str,
    sink: Output,
    options: dict[str, Any],
) -> Chain:
    from hptl_deploy.datasets import load_data_set
    from hptl_deploy.errors import UsageError
    from hptl_train.chain import Chain
    from hptl_train.devices import open_fabric
    from hptl_train.record import check_same_data
    from hptl_train.run_folder import RUNNING, find_run

    given = [key.replace("_", "-") for key, value in options.items() if value is not None]
    if given:
        raise UsageError(
            f"--resume goes on with the run's own recipe; --{', --'.join(given)} cannot change it",
            hint="Leave it out, or start a new run without --resume",
        )
    run = find_run(name, runs, state=RUNNING)
    record = run.read()
    data_set = load_data_set(data or Path(record["data"]["path"]))
    check_same_data(record, data_set)
    sink.note(f"resuming {run.path}")
    return Chain(run.recipe(), data_set, run, open_fabric(device), sink)


def _plain(name: str) -> str:
    from hptl_deploy.phases import key_from_name

    return key_from_name(name).replace("_", "-") or "data"


def _summary(sink: Output, chain: Chain, record: dict[str, Any]) -> None:
    rows = []
    for step in record["steps"]:
        scores = step["validation"] or {}
        losses = step["losses"]
        rows.append(
            [
                step["name"],
                str(step["iterations"]),
                f"{step['seconds']:.0f}",
                f"{step['transferred']:,}",
                f"{losses['train']:.4f}",
                f"{losses['validation']:.4f}" if "validation" in losses else "-",
                f"{scores['accuracy']:.4f}" if scores else "-",
                f"{scores['mean_iou']:.3f}" if scores else "-",
            ]
        )
    header = [
        "step",
        "iterations",
        "seconds",
        "transferred",
        "training loss",
        "validation loss",
        "accuracy",
        "mean IoU",
    ]
    sink.table("losses: mean cross-entropy per labelled pixel, nats", header, rows)
    sink.say(f"run finished: {chain.run.path}; export it: hptl-deploy export {chain.run.name}")
    sink.document({"run": str(chain.run.path), **record})
