"""`hptl-deploy demo`: the main job on micrographs whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hptl_deploy.cli.output import JsonOption, Output, output
from hptl_deploy.cli.synth import SizeOption, parse_size
from hptl_deploy.cli.use import ModelsOption
from hptl_deploy.wording import counted

if TYPE_CHECKING:
    from hptl_deploy.demonstration import Demonstration


def demo(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where everything goes.")] = Path(
        "demo"
    ),
    images: Annotated[int, typer.Option(min=1, max=9999, help="How many frames.")] = 3,
    size: SizeOption = "2560x1920",
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other frames.")] = 2026,
    model: Annotated[
        str | None, typer.Option("--model", help="Another model; default: the bundled one.")
    ] = None,
    models: ModelsOption = Path("models"),
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Make micrographs, segment them with the bundled model, score them: no data needed.

    The micrographs are synthetic as-cast aluminium, so their truth is known. Nothing here says
    how well your own micrographs would do.

    Example: hptl-deploy demo
    """
    from hptl_deploy.bundled import BUNDLED, bundled_models_folder
    from hptl_deploy.cli.opening import opened_engine
    from hptl_deploy.demonstration import demonstrate
    from hptl_deploy.errors import ModelError
    from hptl_deploy.interrupts import stop_on_signals

    sink = output(context, as_json=as_json)
    shape = parse_size(size)
    if model is None:
        # Whatever else `models` holds: the demonstration shows what comes with the program.
        model, bundled = BUNDLED, bundled_models_folder()
        if bundled is None:
            raise ModelError(
                f"this copy of hptl-deploy lacks its bundled model {BUNDLED}",
                hint="Install it again, or name a model of yours with --model",
            )
        models = bundled
    with (
        opened_engine(model, models, sink, device=device) as engine,
        stop_on_signals("the frames in hand") as stop,
    ):
        found = demonstrate(folder, images, shape, seed, engine, sink, stop)
    _show(sink, found)
    sink.document(
        {
            "folder": str(folder),
            "panel": str(found.panel),
            "results": str(found.summary.out),
            "report": None if found.summary.report is None else str(found.summary.report),
            "false_fe_rims": found.rims.to_json(),
            **found.evaluation.to_json(),
        }
    )
    if found.summary.exit_code:
        raise typer.Exit(found.summary.exit_code)


def _show(sink: Output, found: Demonstration) -> None:
    pooled = found.evaluation.pooled
    sink.table(
        f"{counted(len(found.evaluation.frames), 'synthetic micrograph')} against their truth: "
        f"accuracy {100 * pooled.accuracy:.2f} %, mean IoU {pooled.mean_iou:.3f}",
        ["phase", "IoU", "area true %", "area found %"],
        [
            [phase.name, f"{iou:.3f}", f"{100 * true:.2f}", f"{100 * seen:.2f}"]
            for phase, iou, true, seen in zip(
                pooled.phases,
                pooled.iou,
                pooled.area_fraction_true,
                pooled.area_fraction_predicted,
                strict=True,
            )
        ],
    )
    sink.say(
        f"round Mg2Si, {100 * found.rims.share:.2f} % of the pixels near its edge are called "
        "Fe-containing phase by mistake"
    )
    sink.say(f"look at: {found.panel}")
    if found.summary.report is not None:
        sink.say(f"report: {found.summary.report}")
    sink.say(f"overlays, class maps and tables: {found.summary.out}")
    sink.say("your own micrographs: hptl-deploy segment FOLDER")
