"""`hptl-deploy evaluate`: class maps against a truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hptl_deploy.cli.output import JsonOption, Output, output

if TYPE_CHECKING:
    from hptl_deploy.measurement.evaluation import Evaluation


def evaluate(
    context: typer.Context,
    results: Annotated[Path, typer.Argument(help="A results folder, or a folder of class maps.")],
    truth: Annotated[Path, typer.Argument(help="A data set, or a folder of label files.")],
    split: Annotated[
        str | None,
        typer.Option(help="train, val, test or all of the data set; test by default."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score class maps against their truth: accuracy, IoU, confusion, area fractions.

    Example: hptl-deploy evaluate my-alloy-segmented my-alloy --split val
    """
    from hptl_deploy.errors import EXIT_SOME_FAILED
    from hptl_deploy.measurement.evaluation import evaluate as run_evaluation

    sink = output(context, as_json=as_json)
    found = run_evaluation(results, truth, split)
    _show(sink, found)
    sink.document(found.to_json())
    if found.missing or found.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def _show(sink: Output, found: Evaluation) -> None:
    pooled = found.pooled
    sink.say(
        f"{found.what}: {len(found.frames)} micrographs, {pooled.pixels} labelled pixels\n"
        f"accuracy {pooled.accuracy:.4f}, mean IoU {pooled.mean_iou:.3f}"
    )
    if found.left_out:
        sink.say(f"not scored: {found.left_out} labelled pixels that the class maps leave out")
    rows = []
    for index, phase in enumerate(pooled.phases):
        true, seen = pooled.area_fraction_true[index], pooled.area_fraction_predicted[index]
        rows.append(
            [
                phase.name,
                f"{pooled.iou[index]:.3f}",
                f"{true:.4f}",
                f"{seen:.4f}",
                f"{seen - true:+.4f}",
                f"{found.mean_absolute_area_error[index]:.4f}",
            ]
        )
    header = ["phase", "IoU", "area true", "area found", "error", "mean |error| per micrograph"]
    sink.table("", header, rows)
    keys = [phase.key for phase in pooled.phases]
    counts = [[key, *map(str, row)] for key, row in zip(keys, pooled.matrix.tolist(), strict=True)]
    sink.table("confusion (pixels; rows true, columns found)", ["", *keys], counts)
    for stem in found.missing:
        sink.note(f"{stem}: has no class map in the results")
    for stem, reason in found.failed.items():
        sink.note(f"{stem}: {reason}")
