"""`hptl-deploy report`: the report of a results folder, made again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hptl_deploy.cli.output import JsonOption, output


def report(
    context: typer.Context,
    results: Annotated[Path, typer.Argument(help="A results folder.")],
    as_json: JsonOption = False,
) -> None:
    """Write report.html from what a results folder holds; nothing is segmented again.

    `segment` writes it at its end. Again is for results of an earlier version, and for a run
    that is going on.

    Example: hptl-deploy report micrographs-segmented
    """
    from hptl_deploy.report import write_report
    from hptl_deploy.segmentation.options import absolute

    sink = output(context, as_json=as_json)
    path = write_report(absolute(results))
    sink.say(f"report: {path}")
    sink.document({"report": str(path)})
