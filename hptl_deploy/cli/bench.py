"""`hptl-deploy bench`: engines and pipeline side by side, per stage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hptl_deploy.cli.extras import needs_extra
from hptl_deploy.cli.output import JsonOption, Output, output
from hptl_deploy.cli.synth import parse_size
from hptl_deploy.cli.use import ModelsOption
from hptl_deploy.sink import figure

if TYPE_CHECKING:
    from hptl_deploy.bench import Frames, Result, Row
    from hptl_deploy.bench.contenders import Absent, Contender
    from hptl_deploy.model import Model

_SIZE = "2560x1920"


def bench(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Argument(help="A model's name, folder or file; without it what runs.")
    ] = None,
    models: ModelsOption = Path("models"),
    size: Annotated[
        str | None,
        typer.Option("--size", help=f"WIDTHxHEIGHT of synthetic micrographs; default: {_SIZE}."),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--input", help="Micrographs of this folder instead of synthetic ones."),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Rounds that are timed.")] = 5,
    device: Annotated[
        str, typer.Option("--device", help="auto (cards and CPU), cpu, cuda or cuda:N.")
    ] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Time every engine of this machine on the same micrographs, in turn.

    Each backend runs each precision that the model's folder holds, warmed up, one after the other
    in every round; torch runs the same network where it is installed.

    Example: hptl-deploy bench --size 1280x960
    """
    from hptl_deploy.bench import bench as run
    from hptl_deploy.model import load_model
    from hptl_deploy.models_folder import find_model

    sink = output(context, as_json=as_json)
    found = load_model(find_model(model, models))
    sink.note(f"model {found.card.name} ({found.sha256[:12]}, {found.path})")
    frames = _frames(size, source)
    result = run(found, frames, device, repeats, sink, [torch_rivals])
    show(result, sink)
    sink.document(result.to_json())


def _frames(size: str | None, source: Path | None) -> Frames:
    """What is segmented. Raises UsageError, and InputError for the folder."""
    from hptl_deploy.bench import folder_frames, synthetic_frames
    from hptl_deploy.errors import UsageError

    if source is None:
        return synthetic_frames(*parse_size(size or _SIZE))
    if size is not None:
        raise UsageError(
            f"--size {size}: the micrographs of --input have their own size",
            hint="Leave one of the two out",
        )
    return folder_frames(source)


def torch_rivals(model: Model, device: str, size: tuple[int, int]) -> Iterator[Contender | Absent]:
    """The network in torch, in every form; why not, where torch is not installed."""
    from hptl_deploy.bench.contenders import Absent
    from hptl_deploy.errors import EnvironmentLacks

    try:
        with needs_extra("train", "comparing with torch"):
            from hptl_train.torch_contender import torch_contenders
    except EnvironmentLacks as exc:
        yield Absent("torch", "fp32", str(exc))
        return
    yield from torch_contenders(model, device, size)


def show(result: Result, sink: Output) -> None:
    """The human form: one table of engines, one of the way from file to file, and remarks."""
    reference = result.rows[result.reference]
    pixels = result.frames["width_px"] * result.frames["height_px"]
    machine = result.machine
    sink.say(
        f"{result.frames['what']}; {len(reference.seconds)} rounds\n"
        f"  network    {result.model['name']}: {1e-9 * result.operations:.4g} GFLOP per frame, "
        f"{1e-6 * result.operations / pixels:.3g} MFLOP per pixel\n"
        f"  processor  {machine['processor']}, {machine['cores']} cores"
    )
    if machine["card"]:
        sink.say(f"  card       {machine['card']}, driver {machine['driver']}")
    sink.table(
        f"engines, from a decoded micrograph to its class map; x and ppm against "
        f"{reference.traits.name}",
        ["engine", "device", "ms/frame", "fastest", "Mpx/s", "x", "of peak", "ppm", "memory"],
        [_cells(result, row) for row in result.rows],
    )
    staged = [row for row in result.rows if row.stages]
    if staged:
        header = list(staged[0].stages)
        sink.table(
            "on the card, ms per frame",
            ["engine", *(name.replace("_", " ") for name in header)],
            [[row.traits.name, *(f"{row.stages[name]:.2f}" for name in header)] for row in staged],
        )
    for row in result.rows:
        if row.streamed is not None:
            sink.say(
                f"{row.traits.name}: {row.streamed:.4g} frames/s with several in flight, from host "
                "memory to host memory"
            )
    _show_files(result, sink)
    _show_remarks(result, sink)


def _cells(result: Result, row: Row) -> list[str]:
    share = result.share_of_peak(row)
    return [
        row.traits.name,
        row.traits.device,
        f"{1e3 * row.median:.4g}",
        f"{1e3 * min(row.seconds):.4g}",
        f"{result.mpx_per_second(row):.3g}",
        f"{result.ratio(row):.2f}",
        "-" if share is None else f"{100 * share:.0f} %",
        f"{row.classes_ppm:.0f}",
        _memory(row),
    ]


def _memory(row: Row) -> str:
    """What the card lost to it, or what is planned on a CPU; a remark says so."""
    from hptl_deploy.segmentation.memory import gib

    amount = row.traits.planned_bytes if row.card_bytes is None else row.card_bytes
    return "-" if amount is None else gib(amount)


def _show_files(result: Result, sink: Output) -> None:
    runs = [(row.traits.name, row.files) for row in result.rows if row.files is not None]
    if not runs:
        return
    stages = list(dict.fromkeys(stage for _, run in runs for stage in run.busy))
    sink.table(
        f"from file to file, {runs[0][1].files} TIFF files; ms per file that a stage was at work",
        ["engine", "files/s", *stages],
        [
            [
                name,
                f"{run.files_per_second:.3g}",
                *(figure(1e3 * run.busy[stage] / run.files, 1) for stage in stages),
            ]
            for name, run in runs
        ],
    )


def _show_remarks(result: Result, sink: Output) -> None:
    """What the tables do not say: tiles, remarks of engines, peaks, who is absent and why."""
    from hptl_deploy.bench.contenders import listed

    for row in result.rows:
        traits = row.traits
        if not traits.plan.whole:
            rows, columns = traits.plan.largest_read
            sink.say(
                f"{traits.name}: the frame does not fit, so it goes in tiles of at most "
                f"{columns} x {rows} px with their halos"
            )
        for remark in traits.remarks:
            sink.say(f"{traits.name}: {remark}")
    for peak in result.peaks:
        sink.say(
            f"peak of {peak.device} in {peak.precision}: {1e-9 * peak.rate:.4g} GFLOP/s (a matrix "
            "product by ONNX Runtime, in the same rounds)"
        )
    sink.say("memory: planned for the frame on a CPU, taken with weights and buffers on a card")
    for sentence in listed(result.absent):
        sink.say(f"not here: {sentence}")
