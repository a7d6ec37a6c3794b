"""`hptl-deploy info`: the card of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hptl_deploy.cli.output import JsonOption, Output, output
from hptl_deploy.cli.use import ModelsOption
from hptl_deploy.sink import figure

if TYPE_CHECKING:
    from hptl_deploy.model import Model


def info(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Argument(help="A model's name, folder or file; without it what runs.")
    ] = None,
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Show what a model is, where it comes from and how it scored.

    Example: hptl-deploy info hptl-uhcs
    """
    from hptl_deploy.model import load_model
    from hptl_deploy.models_folder import find_model

    sink = output(context, as_json=as_json)
    found = load_model(find_model(model, models))
    _show(sink, found)
    sink.document(
        {"path": str(found.path), "sha256": found.sha256, **json.loads(found.card.to_json())}
    )


def _show(sink: Output, model: Model) -> None:
    card = model.card
    size = "unknown" if card.pixel_size_um is None else f"{card.pixel_size_um:g} um"
    sink.say(
        f"{card.name}: {card.network}, {card.precision}\n"
        f"  file         {model.path} (sha256 {model.sha256[:12]})\n"
        f"  channels     {', '.join(map(str, card.channels))}; fc {card.fc}\n"
        f"  input scale  {card.input_scale}; stride {card.stride} px, halo {card.halo} px\n"
        f"  memory       {card.bytes_per_pixel:.0f} bytes per pixel ({card.precision}, CPU)\n"
        f"  pixel size   {size}\n"
        f"  licences     weights: {card.weights_licence}; data: {card.data_licence}"
    )
    if card.synthetic:
        sink.say("  learned from synthetic micrographs alone")
    ious = {entry.get("key"): entry.get("iou") for entry in card.validation.get("phases", [])}
    rows = []
    for index, phase in enumerate(card.phases):
        colour = ", ".join(map(str, phase.colour))
        iou = figure(ious.get(phase.key), 3)
        rows.append([str(index), phase.key, phase.name, colour, iou])
    sink.table("phases", ["index", "key", "name", "colour", "validation IoU"], rows)
    if card.validation:
        sink.say(
            f"  validation: accuracy {figure(card.validation.get('accuracy'), 4)}, "
            f"mean IoU {figure(card.validation.get('mean_iou'), 3)}"
        )
    lineage = [
        [
            step.step,
            step.start,
            f"{step.transferred:,}",
            str(step.iterations),
            figure(step.seconds, 0),
            *(figure(step.losses.get(key), 4) for key in _LOSSES),
            step.data[:24],
        ]
        for step in card.lineage
    ]
    header = ["step", "starts from", "transferred", "iterations", "seconds", *_LOSSES, "data"]
    sink.table("lineage", header, lineage)
    for what, value in card.training.items():
        if value != "":
            sink.say(f"  trained: {what.replace('_', ' ')}: {value}")
    for check, value in card.checks.items():
        sink.say(f"  checked: {check} {value}")


_LOSSES = ("train", "validation")
