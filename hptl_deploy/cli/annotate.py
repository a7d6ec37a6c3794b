"""`hptl-deploy annotate import`: annotations made elsewhere become a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hptl_deploy.cli.output import JsonOption, output

annotate = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Bring in annotations that were made with other programs.\n\n"
    "Example: hptl-deploy annotate import exported my-alloy --json",
)


_UNANNOTATED = ("background", "ignore")


@annotate.callback()
def group() -> None:
    """Keeps `import` a word of its own."""


@annotate.command("import")
def import_(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="The annotations, with their images.")
    ],
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="Where the data set goes; a new folder.")
    ],
    phases: Annotated[
        Path | None,
        typer.Option(help="TOML file with [[phases]]; the paper's three phases by default."),
    ] = None,
    format_: Annotated[
        str,
        typer.Option("--format", help="auto, cvat, labelme, label-studio, qupath or imagej."),
    ] = "auto",
    unannotated: Annotated[
        str,
        typer.Option(
            help="Pixels in no shape: background (the first phase) or ignore (in training)."
        ),
    ] = "background",
    as_json: JsonOption = False,
) -> None:
    """Make a data set of annotations from CVAT, labelme, Label Studio, ImageJ or QuPath.

    A label's name must be a phase's name or key, whatever its case. All problems are listed at
    once, and nothing is written then.

    Example: hptl-deploy annotate import exported my-alloy --phases phases.toml
    """
    from hptl_deploy.annotations import import_annotations, read_phases
    from hptl_deploy.errors import UsageError

    if unannotated not in _UNANNOTATED:
        raise UsageError(f"--unannotated {unannotated}: expected {' or '.join(_UNANNOTATED)}")
    sink = output(context, as_json=as_json)
    done = import_annotations(
        source,
        dataset,
        format_name=format_,
        phases=read_phases(phases) if phases else None,
        ignore_unannotated=unannotated == "ignore",
    )
    first = done.phases[0].name
    meaning = "ignored (255)" if unannotated == "ignore" else f"{first} (0)"
    sink.note(f"pixels in no shape are {meaning}")
    if done.contested:
        sink.note(f"{done.contested} px are claimed by different phases and ignored (255)")
    if done.left_out:
        shown = ", ".join(done.left_out[:5]) + (" ..." if len(done.left_out) > 5 else "")
        sink.note(f"images without annotations, left out: {len(done.left_out)} ({shown})")
    sink.say(
        f"micrographs: {done.pictures}, shapes: {done.shapes} ({done.format}), in {done.folder}"
    )
    sink.table(
        "labelled pixels",
        ["phase", "px"],
        [
            *([phase.name, str(done.pixels[phase.key])] for phase in done.phases),
            ["ignored", str(done.pixels["ignore"])],
        ],
    )
    sink.say(f"train on it: hptl-deploy train {done.folder}")
    sink.document(
        {
            "folder": str(done.folder),
            "format": done.format,
            "micrographs": done.pictures,
            "shapes": done.shapes,
            "unannotated": unannotated,
            "contested_px": done.contested,
            "left_out": done.left_out,
            "pixels": done.pixels,
        }
    )
