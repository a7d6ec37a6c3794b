"""`hptl-deploy train`: the chain of a recipe on a labelled data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hptl_deploy.cli.extras import needs_extra
from hptl_deploy.cli.output import JsonOption, Output, output
from hptl_deploy.cli.recipe_options import (
    BatchOption,
    BudgetOption,
    ChannelsOption,
    FcOption,
    InputScaleOption,
    IterationsOption,
    OneCycleOption,
    PrecisionOption,
    SourceIterationsOption,
    SourceOption,
    WeightsOption,
    WidthOption,
)
from hptl_deploy.sink import figure

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
    recipe: Annotated[
        str | None, typer.Option(help="A recipe's name, or a TOML file; hptl by default.")
    ] = None,
    source_data: SourceOption = None,
    vgg19_weights: WeightsOption = None,
    width: WidthOption = None,
    iterations: IterationsOption = None,
    source_iterations: SourceIterationsOption = None,
    one_cycle: OneCycleOption = None,
    batch: BatchOption = None,
    channels: ChannelsOption = None,
    fc: FcOption = None,
    precision: PrecisionOption = None,
    input_scale: InputScaleOption = None,
    budget: BudgetOption = None,
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
    with needs_extra("train", "training"):
        from hptl_train.prepare import resume_run, start_run
        from hptl_train.recipe import Wishes

        wishes = Wishes.from_options(context.params)
        if resume:
            training = resume_run(data, wishes, name, runs, device, sink)
        else:
            training = start_run(data or Path(), wishes, name, runs, device, sink)
        data_set = training.data_set
        for note in data_set.notes:
            sink.note(note)
        counts = ", ".join(f"{k} {len(data_set.split(k))}" for k in ("train", "val", "test"))
        sink.note(
            f"run {training.run.path}: recipe {training.recipe.name} on {data_set.name} "
            f"({counts}), {training.where}"
        )
        record = training.train()
    _summary(sink, training.run.path, record)


def _quoted(path: Path) -> str:
    """As a shell and cmd.exe both take it."""
    return f'"{path}"' if " " in str(path) else str(path)


def _summary(sink: Output, run: Path, record: dict[str, Any]) -> None:
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
                figure(losses.get("train"), 4),
                figure(losses.get("validation"), 4),
                figure(scores.get("accuracy"), 4),
                figure(scores.get("mean_iou"), 3),
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
    from hptl_train.networks.layers import NETWORKS

    if rows:
        sink.table("losses: mean cross-entropy per labelled pixel, nats", header, rows)
    sink.say(f"run finished: {run}")
    if rows and record["steps"][-1]["network"] in NETWORKS:
        sink.say(f"export it: hptl-deploy export {_quoted(run)}")
    sink.document({"run": str(run), **record})
