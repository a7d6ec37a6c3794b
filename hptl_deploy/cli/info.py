"""`hptl-deploy info`: the card of a model, its precisions and its engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hptl_deploy.cli.output import JsonOption, Output, output
from hptl_deploy.cli.use import ModelsOption
from hptl_deploy.sink import figure

if TYPE_CHECKING:
    from hptl_deploy.engines.record import EngineRecord
    from hptl_deploy.model import Model


def info(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Argument(help="A model's name, folder or file; without it what runs.")
    ] = None,
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Show what a model is, where it comes from, how it scored, and what stands beside it.

    Example: hptl-deploy info hptl-uhcs
    """
    from hptl_deploy.model import load_model
    from hptl_deploy.models_folder import find_model

    sink = output(context, as_json=as_json)
    found = load_model(find_model(model, models))
    others, engines = _precisions_beside(found), _engines_of(found)
    _show(sink, found)
    for other in others:
        _show_precision(sink, other)
    for engine in engines:
        _show_engine(sink, *engine)
    sink.document(
        {
            **_document(found),
            "precisions": [_document(other) for other in others],
            "engines": [_engine_document(*engine) for engine in engines],
        }
    )


def _document(model: Model) -> dict[str, object]:
    return {"path": str(model.path), "sha256": model.sha256, **json.loads(model.card.to_json())}


def _precisions_beside(model: Model) -> list[Model]:
    """The other files of a model's folder, where `model` is its fp32 file."""
    from hptl_deploy.model import MODEL_FILE, MODEL_FILES, load_model

    if model.path.name != MODEL_FILE:
        return []
    paths = [model.path.with_name(name) for name in MODEL_FILES.values() if name != MODEL_FILE]
    return [load_model(path) for path in paths if path.is_file()]


def _engines_of(model: Model) -> list[tuple[Path, EngineRecord | str]]:
    """Every engine in the model's folders with its record, or with what is wrong with that."""
    from hptl_deploy.engines.record import read_record
    from hptl_deploy.engines.storage import engine_folders
    from hptl_deploy.errors import ModelError

    found: list[tuple[Path, EngineRecord | str]] = []
    for folder in engine_folders(model):
        for path in sorted(folder.glob("*.engine")):
            try:
                found.append((path, read_record(path)))
            except ModelError as exc:
                found.append((path, str(exc)))
    return found


def _engine_document(path: Path, record: EngineRecord | str) -> dict[str, object]:
    told = {"error": record} if isinstance(record, str) else json.loads(record.to_json())
    return {"path": str(path), **told}


def _show_precision(sink: Output, model: Model) -> None:
    card = model.card
    form = f" for {card.quantised_for}" if card.quantised_for else ""
    size = model.path.stat().st_size / 2**20
    sink.say(
        f"{card.precision}{form}\n"
        f"  file         {model.path} ({size:.1f} MB, sha256 {model.sha256[:12]})\n"
        f"  memory       {card.bytes_per_pixel:.0f} bytes per pixel ({card.precision}, CPU)"
    )
    for check, value in card.checks.items():
        sink.say(f"  checked: {check} {value}")


def _show_engine(sink: Output, path: Path, record: EngineRecord | str) -> None:
    if isinstance(record, str):
        sink.say(f"engine {path}\n  {record}")
        return
    card = record.gpu
    cards = f"cards of {', '.join(card)}" if isinstance(card, tuple) else str(card)
    sink.say(
        f"engine {path}\n"
        f"  {record.precision} for {record.flavour} {record.version}, {cards}\n"
        f"  shapes       {record.profiles}"
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
    known = card.training_statistics
    if known is not None:
        sink.say(
            f"  statistics   of {known.frames} training and {known.held_out} validation micrographs"
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
