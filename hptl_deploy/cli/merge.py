"""`hptl-deploy merge`: the shards of one folder become one results folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hptl_deploy.cli.output import JsonOption, output
from hptl_deploy.cli.segment import show_summary, summary_document


def merge(
    context: typer.Context,
    results: Annotated[
        Path, typer.Argument(help="The results folder that the shards have written into.")
    ],
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.html.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Join the tables of all shards of a folder, once every one of them is done.

    Shards that are missing, unfinished, or of another model, precision or settings are named, with
    the commands that run them again, and nothing is written. Merging again does nothing.

    Example: hptl-deploy merge micrographs-segmented
    """
    from hptl_deploy.segmentation.options import absolute
    from hptl_deploy.segmentation.shards.merging import merge as run

    sink = output(context, as_json=as_json)
    merged = run(absolute(results), sink, report=not no_report)
    document, summary = merged.document, merged.summary
    for failure in summary.failures:
        sink.note(f"{failure.file}: {failure.reason}")
    count = document["shards"]["count"]
    sink.say(f"shards: {count} merged{' before' if merged.already else ''}")
    show_summary(summary, sink)
    sink.document(
        {
            **summary_document(summary),
            "merged_before": merged.already,
            "model": {name: document["model"][name] for name in ("name", "sha256")},
            "shards": document["shards"],
        }
    )
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)
