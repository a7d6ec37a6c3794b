"""`hptl-deploy segment`: micrographs in, class maps and phase fractions out."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hptl_deploy.cli.findings import show_findings
from hptl_deploy.cli.opening import opened_engine
from hptl_deploy.cli.output import JsonOption, Output, output
from hptl_deploy.cli.use import ModelsOption

if TYPE_CHECKING:
    from hptl_deploy.engines import Engine
    from hptl_deploy.segmentation import RunSummary


def segment(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A folder of micrographs, or one file.")
    ],
    model: Annotated[
        str | None,
        typer.Option("--model", help="A model's name, folder or file; default: see `use`."),
    ] = None,
    models: ModelsOption = Path("models"),
    out: Annotated[
        Path | None, typer.Option("--out", help="Results folder; default: INPUT-segmented.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    backend: Annotated[
        str,
        typer.Option(
            "--backend",
            help="auto, tensorrt, tensorrt-rtx, onnxruntime-cuda or onnxruntime-cpu.",
        ),
    ] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            help="fp32, fp16 or int8; default: fp32, and on a card fp16 if the model has it.",
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option("--tile", help="Cut frames into cores of this side, in px; default: whole."),
    ] = None,
    pixel_size: Annotated[
        float | None,
        typer.Option("--pixel-size", help="Micrometres per pixel, whatever the files say."),
    ] = None,
    rescale: Annotated[
        str,
        typer.Option(
            "--rescale",
            help="auto: at another pixel size than the model's, resampled to it and back; or off.",
        ),
    ] = "auto",
    overlay: Annotated[str, typer.Option("--overlay", help="jpg, png or none.")] = "jpg",
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Write confidence maps, too.")
    ] = False,
    no_particles: Annotated[
        bool, typer.Option("--no-particles", help="Measure no particles: no tables of them.")
    ] = False,
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--also",
            help="Further results: labels (particles as TIFF), qupath (GeoJSON), rois (ImageJ), "
            "ome-zarr, ome-zarr-0.4. Repeatable, or a list with commas.",
        ),
    ] = None,
    scale_bar: Annotated[
        str,
        typer.Option("--scale-bar", help="auto: found and left out; keep: segmented as the rest."),
    ] = "auto",
    crop_bottom: Annotated[
        int,
        typer.Option("--crop-bottom", help="Leave out so many rows at the bottom of each."),
    ] = 0,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="X,Y,W,H", help="Leave out a rectangle; repeatable."),
    ] = None,
    ignore_mask: Annotated[
        Path | None,
        typer.Option("--ignore-mask", help="Leave out where this picture is not 0."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Do again what is done already.")
    ] = False,
    split: Annotated[
        str | None,
        typer.Option("--split", help="train, val or test, where INPUT is a data set."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on with what arrives in the folder, until Ctrl-C.")
    ] = False,
    stable: Annotated[
        float,
        typer.Option("--stable", help="With --watch: seconds that a file must lie untouched."),
    ] = 5.0,
    decimal_comma: Annotated[
        bool,
        typer.Option("--decimal-comma", help="CSV tables with semicolons and decimal commas."),
    ] = False,
    needle_aspect: Annotated[
        float,
        typer.Option(
            "--needle-aspect", help="Aspect ratio from which a particle is called needle-shaped."
        ),
    ] = 3.0,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard", metavar="I/N", help="Only the I-th of N shares of the folder, such as 3/8."
        ),
    ] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.html.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Segment micrographs: class maps, overlays and area fractions.

    Started again, it goes on where it was stopped. Ctrl-C finishes what is in hand.

    Example: hptl-deploy segment micrographs --pixel-size 0.25

    With --watch a folder is segmented while the microscope fills it; files that are still being
    written are left until they are complete.

    Several machines share a folder with --shard 1/8, --shard 2/8 and so on; all write into one
    results folder, and when all are done `hptl-deploy merge micrographs-segmented` joins their
    tables. As a SLURM array of 8 jobs:

    sbatch --array=1-8 --wrap 'hptl-deploy segment micrographs --shard $SLURM_ARRAY_TASK_ID/8'
    """
    from hptl_deploy.interrupts import stop_on_signals
    from hptl_deploy.left_out.given import LeaveOut, parse_ignore
    from hptl_deploy.left_out.mask import load_mask
    from hptl_deploy.outputs.kinds import parse_also
    from hptl_deploy.segmentation import SegmentOptions
    from hptl_deploy.segmentation import segment as run
    from hptl_deploy.segmentation.shards.sharding import parse_shard
    from hptl_deploy.statistics.table_options import TableOptions

    sink = output(context, as_json=as_json)
    leave_out = LeaveOut(
        scale_bar,
        crop_bottom,
        tuple(map(parse_ignore, ignore or ())),
        None if ignore_mask is None else load_mask(ignore_mask),
    )
    options = SegmentOptions(
        input=source,
        out=out,
        tile=tile,
        pixel_size_um=pixel_size,
        rescale=rescale,
        overlay=overlay,
        confidence=confidence,
        particles=not no_particles,
        also=parse_also(also or []),
        leave_out=leave_out,
        overwrite=overwrite,
        split=split,
        watch=watch,
        stable_seconds=stable,
        shard=None if shard is None else parse_shard(shard),
        tables=TableOptions(decimal_comma=decimal_comma, needle_aspect=needle_aspect),
        report=not no_report,
    )
    options.check()
    with (
        opened_engine(
            model, models, sink, device=device, precision=precision, backend=backend
        ) as engine,
        stop_on_signals("the micrographs in hand") as stop,
    ):
        summary = run(options, engine, sink, stop)
        show_summary(summary, sink)
        sink.document(_document(summary, engine))
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)


def show_summary(summary: RunSummary, sink: Output) -> None:
    """The human form of the summary."""
    counts = summary.counts
    words = [f"{counts['done']} done"]
    words += [
        f"{counts[name]} {name}"
        for name in ("skipped", "failed", "remaining", "ignored")
        if counts[name]
    ]
    sink.say(f"micrographs: {', '.join(words)}")
    if counts["failed"]:
        sink.say("failed: failures.csv in the results says which and why")
    if summary.throughput.get("bottleneck"):  # merge has none
        sink.say(_speed(summary.throughput))
    if summary.left_out:
        sink.say(
            f"left out: something in {summary.left_out} of {summary.fields} fields, hatched in the "
            "overlays; what and where says left_out in fields.csv"
        )
    show_findings(summary.findings, sink)
    if summary.flags:
        found = ", ".join(f"{flag} {count}" for flag, count in summary.flags.items())
        sink.say(f"fields with a flag: {found} (fields.csv names them)")
    if summary.state == "interrupted":
        sink.say("interrupted; the same command goes on from here")
    sink.say(f"results: {summary.out}")
    if summary.report is not None:
        sink.say(f"report: {summary.report}")
    if summary.shard is not None and summary.state == "finished":
        sink.say(
            f"shard {summary.shard} has ended; once all {summary.shard.count} have: "
            f"hptl-deploy merge {shlex.quote(str(summary.out))}"
        )


def _speed(throughput: dict[str, Any]) -> str:
    """`0.21 pages/s, 1.03 Mpx/s; the engine was the slowest stage`."""
    from hptl_deploy.segmentation.clock import STAGES

    pages, pixels = throughput["pages_per_second"], throughput["megapixels_per_second"]
    slowest = STAGES[throughput["bottleneck"]]
    return f"speed: {pages:.2f} pages/s, {pixels:.2f} Mpx/s; {slowest} was the slowest stage"


def _document(summary: RunSummary, engine: Engine) -> dict[str, object]:
    """The JSON form of the summary."""
    return {
        **summary_document(summary),
        "throughput": summary.throughput,
        "shard": None if summary.shard is None else str(summary.shard),
        "model": {"name": engine.model.card.name, "sha256": engine.model.sha256},
        "engine": engine.info.to_json(),
    }


def summary_document(summary: RunSummary) -> dict[str, object]:
    """What `segment` and `merge` both say under --json."""
    return {
        "out": str(summary.out),
        "state": summary.state,
        "exit_code": summary.exit_code,
        "counts": summary.counts,
        "fields": summary.fields,
        "mean_area_fractions": summary.area_fractions,
        "statistics": summary.findings.to_json(),
        "flags": summary.flags,
        "failures": [vars(failure) for failure in summary.failures],
        "results": list(summary.results),
        "report": None if summary.report is None else str(summary.report),
    }
