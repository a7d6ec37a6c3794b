"""`hptl-deploy features`: what a model's convolutions answer to a micrograph."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hptl_deploy.cli.opening import say_synthetic
from hptl_deploy.cli.output import JsonOption, Output, output
from hptl_deploy.cli.use import ModelsOption

if TYPE_CHECKING:
    from hptl_deploy.features import Features


def features(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="A model's name, folder or file.")],
    image: Annotated[Path, typer.Argument(help="A micrograph; its first page is shown.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="A PNG file; default: IMAGE_features.png in this folder."),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option("--layers", help="Such as conv1_2,conv3_4; default: the last of every block."),
    ] = None,
    maps: Annotated[int, typer.Option("--maps", help="Maps per layer, at most; 1 to 32.")] = 8,
    at: Annotated[
        str | None, typer.Option("--at", help="X,Y in px, the middle of what is shown.")
    ] = None,
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Draw feature maps: what the convolutions conv1 ... conv5 answer to a micrograph.

    A row for every block, up to eight maps in it, and the part of the micrograph beside them.

    Example: hptl-deploy features aluminium-demo micrograph.tif
    """
    from hptl_deploy.features import FeatureOptions, show_features
    from hptl_deploy.model import load_model
    from hptl_deploy.models_folder import find_model

    sink = output(context, as_json=as_json)
    options = FeatureOptions(image=image, out=out, layers=_names(layers), maps=maps, at=_place(at))
    found = load_model(find_model(model, models))
    sink.note(f"model {found.card.name} ({found.sha256[:12]}, {found.path})")
    say_synthetic(found, sink)
    shown = show_features(options, found, sink)
    _show(sink, shown)
    sink.document(
        {
            **shown.to_json(),
            "micrograph": str(image),
            "model": {"name": found.card.name, "sha256": found.sha256},
        }
    )


def _show(sink: Output, shown: Features) -> None:
    part = shown.part
    sink.table(
        f"columns {part.x0} to {part.x1 - 1}, rows {part.y0} to {part.y1 - 1}",
        ["layer", "channels", "px per map pixel", "mean", "deviation"],
        [
            [
                row.layer.name,
                str(row.layer.channels),
                f"{float(row.pitch):.3g}",
                f"{row.mean:.3g}",
                f"{row.deviation:.3g}",
            ]
            for row in shown.layers
        ],
    )
    for row in shown.layers:
        if row.dead:
            verb = "answers" if len(row.dead) == 1 else "answer"
            sink.say(
                f"{row.layer.name}: {len(row.dead)} of {row.layer.channels} maps {verb} nowhere "
                "in this part"
            )
    sink.say(f"look at: {shown.file}")


def _names(text: str | None) -> tuple[str, ...] | None:
    """Layer names from `conv1_2,conv3_4`; None where none were asked for."""
    return None if text is None else tuple(name.strip() for name in text.split(","))


def _place(text: str | None) -> tuple[int, int] | None:
    """(x, y) from `640,480`; raises UsageError."""
    from hptl_deploy.errors import UsageError

    if text is None:
        return None
    found = re.fullmatch(r"\s*(-?\d{1,9})\s*,\s*(-?\d{1,9})\s*", text)
    if found is None:
        raise UsageError(f"--at {text}: expected X,Y in px, such as 640,480")
    return int(found[1]), int(found[2])
