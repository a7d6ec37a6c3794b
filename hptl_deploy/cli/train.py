"""`hptl-deploy train`: the chain of a recipe on a labelled data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hptl_deploy.cli.extras import needs_extra
from hptl_deploy.cli.output import JsonOption, Output, output
from hptl_deploy.sink import figure

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
    recipe: Annotated[
        str | None, typer.Option(help="A recipe's name, or a TOML file; hptl by default.")
    ] = None,
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
    with needs_extra("train", "training"):
        from hptl_train.prepare import Wishes, resume_chain, start_chain

        wishes = Wishes(recipe, width, iterations, seed, input_scale, source_data)
        if resume:
            chain = resume_chain(data, wishes, name, runs, device, sink)
        else:
            chain = start_chain(data or Path(), wishes, name, runs, device, sink)
        for note in chain.data_set.notes:
            sink.note(note)
        counts = ", ".join(f"{k} {len(chain.data_set.split(k))}" for k in ("train", "val", "test"))
        sink.note(
            f"run {chain.run.path}: recipe {chain.recipe.name} on {chain.data_set.name} "
            f"({counts}), {chain.fabric.device}"
        )
        record = chain.train()
    _summary(sink, chain, record)


def _quoted(path: Path) -> str:
    """As a shell and cmd.exe both take it."""
    return f'"{path}"' if " " in str(path) else str(path)


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
    sink.table("losses: mean cross-entropy per labelled pixel, nats", header, rows)
    sink.say(f"run finished: {chain.run.path}")
    sink.say(f"export it: hptl-deploy export {_quoted(chain.run.path)}")
    sink.document({"run": str(chain.run.path), **record})
