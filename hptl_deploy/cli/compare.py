"""`hptl-deploy compare`: every row of the paper's tables on one data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hptl_deploy.cli.extras import needs_extra
from hptl_deploy.cli.output import JsonOption, output
from hptl_deploy.cli.recipe_options import (
    BatchOption,
    BudgetOption,
    ChannelsOption,
    FcOption,
    InputScaleOption,
    OneCycleOption,
    PrecisionOption,
    SourceIterationsOption,
    SourceOption,
    WeightsOption,
    WidthOption,
)
from hptl_deploy.cli.train import DeviceOption


def compare(
    context: typer.Context,
    data: Annotated[
        Path, typer.Argument(help="Data set folder: dataset.toml, or images/ and labels/.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the comparison; DATA-compared by default.")
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(
            metavar="ROW,ROW,...",
            help="Recipes' names or TOML files; all rows of the paper's tables by default. "
            "ROW:N is trained N times, whatever --seeds says.",
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="How often each row is trained; gives mean and spread.")
    ] = 1,
    budget: BudgetOption = None,
    source_iterations: SourceIterationsOption = None,
    one_cycle: OneCycleOption = None,
    batch: BatchOption = None,
    width: WidthOption = None,
    channels: ChannelsOption = None,
    fc: FcOption = None,
    input_scale: InputScaleOption = None,
    source_data: SourceOption = None,
    vgg19_weights: WeightsOption = None,
    precision: PrecisionOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train or load every row of the paper's tables on one data set, score, time, draw.

    The same command goes on where it was stopped. Rows and seeds may be added; a run that was
    trained elsewhere counts when its folder lies in OUT/runs under the row's name, such as
    hptl-seed0.

    Example: hptl-deploy compare my-alloy --width 0.25 --budget 0.02 --one-cycle 1e-3
    """
    sink = output(context, as_json=as_json)
    with needs_extra("train", "training"):
        from hptl_train.compare import MEANING, ROWS, Plan
        from hptl_train.compare import compare as compared
        from hptl_train.recipe import Wishes

        wishes = Wishes.from_options(context.params)
        names = tuple(ROWS) if rows is None else _names(rows)
        folder = out or data.resolve().with_name(f"{data.resolve().name}-compared")
        found = compared(data, Plan(names, seeds, wishes), folder, device, sink)
    sink.table(
        MEANING,
        found.table.header(),
        found.table.lines(),
    )
    sink.say(f"table: {found.out / 'table.md'}, {found.out / 'table.csv'}")
    sink.say(f"look at: {found.out / 'panel.png'}")
    sink.document({"out": str(found.out), **found.document})


def _names(text: str) -> tuple[str, ...]:
    """Rows from `hptl, fcn8s`; raises UsageError where there is none."""
    from hptl_deploy.errors import UsageError

    names = tuple(word.strip() for word in text.split(",") if word.strip())
    if not names:
        raise UsageError(f"--rows {text!r}: expected recipes' names with commas")
    return names
