"""`hptl-deploy synth`: labelled synthetic micrographs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from hptl_deploy.cli.output import JsonOption, output

SizeOption = Annotated[str, typer.Option("--size", help="WIDTHxHEIGHT in px.")]


def synth(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the data set goes.")],
    images: Annotated[int, typer.Option(min=1, max=9999, help="How many frames.")] = 20,
    size: SizeOption = "2560x1920",
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other frames.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Make labelled micrographs of synthetic as-cast aluminium.

    Matrix, Mg2Si and Fe-containing phase, with what makes real frames hard: blur, noise,
    uneven light, dispersoids, scratches, a scale bar. The same seed gives the same frames.

    Example: hptl-deploy synth synthetic --images 100
    """
    from hptl_deploy.interrupts import stop_on_signals
    from hptl_deploy.phases import PAPER_PHASES
    from hptl_deploy.synthesis import SynthesisRequest, write_data_set

    sink = output(context, as_json=as_json)
    height, width = parse_size(size)
    request = SynthesisRequest(folder, images, height, width, seed)
    with stop_on_signals("the frames in hand") as stop:
        rows = write_data_set(request, sink, stop)
    means = {
        phase.key: sum(float(row[f"{phase.key}_area_fraction"]) for row in rows) / len(rows)
        for phase in PAPER_PHASES
    }
    sink.say(f"{len(rows)} frames of {width} x {height} px in {folder}")
    sink.table(
        "area fraction, mean over the frames",
        ["phase", "%"],
        [[phase.name, f"{100 * means[phase.key]:.2f}"] for phase in PAPER_PHASES],
    )
    sink.say(f"train on it: hptl-deploy train {folder} --recipe aluminium-demo")
    sink.document(
        {"folder": str(folder), **request.series(), "mean_area_fractions": means, "frames": rows}
    )


def parse_size(text: str, option: str = "--size") -> tuple[int, int]:
    """(height, width) in px from `2560x1920`, width first as people say it; raises UsageError."""
    from hptl_deploy.errors import UsageError

    found = re.fullmatch(r"(\d{1,6})[xX×](\d{1,6})", text.strip())
    if found is None:
        raise UsageError(f"{option} {text}: expected WIDTHxHEIGHT in px, such as 2560x1920")
    return int(found[2]), int(found[1])
