"""`hptl-deploy export`: a finished run becomes a verified ONNX model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hptl_deploy.cli.extras import needs_extra
from hptl_deploy.cli.output import JsonOption, Output, output
from hptl_deploy.cli.synth import parse_size
from hptl_deploy.cli.train import RunsOption
from hptl_deploy.cli.use import ModelsOption

if TYPE_CHECKING:
    from hptl_deploy.model import Model


def export(
    context: typer.Context,
    run: Annotated[
        str | None, typer.Argument(help="A run's name or folder; without it the newest finished.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name; the run's by default.")
    ] = None,
    runs: RunsOption = Path("runs"),
    models: ModelsOption = Path("models"),
    fp16: Annotated[
        bool, typer.Option("--fp16", help="Write model.fp16.onnx, too: half precision.")
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Write model.int8.onnx, too: 8-bit arithmetic.")
    ] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            "--calibrate",
            help="Micrographs that tell int8 its ranges; default: those it is verified on.",
        ),
    ] = None,
    int8_for: Annotated[
        str, typer.Option("--int8-for", help="cpu or tensorrt: the form of int8 that it runs.")
    ] = "cpu",
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            help="auto (whichever is installed), tensorrt, tensorrt-rtx or none.",
        ),
    ] = "auto",
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            help="Cards that a tensorrt-rtx engine is for: portable (Ampere to Blackwell) or "
            "turing; default: this machine's, portable where it has none.",
        ),
    ] = None,
    frame: Annotated[
        str,
        typer.Option("--frame", help="Width x height of the micrographs an engine is tuned to."),
    ] = "2560x1920",
    as_json: JsonOption = False,
) -> None:
    """Write a run's final network as one self-describing, verified ONNX file.

    It becomes the default model of the models folder. A model, or a precision of it, that fails
    a check is not published. Where TensorRT is installed, an engine is built, too.

    Example: hptl-deploy export hptl-my-alloy --fp16 --int8 --calibrate micrographs
    """
    from hptl_deploy.engines.wanted import check_frame
    from hptl_deploy.errors import EXIT_SOME_FAILED, UsageError
    from hptl_deploy.model import INT8_TARGETS
    from hptl_export.engine import build_for_export, check_choice

    sink = output(context, as_json=as_json)
    check_choice(engine, target)
    shape = parse_size(frame, "--frame")
    check_frame(shape)
    if calibrate is not None and not int8:
        raise UsageError("--calibrate: only --int8 has ranges to calibrate", hint="Add --int8")
    if int8_for not in INT8_TARGETS:
        raise UsageError(f"--int8-for {int8_for}: expected {' or '.join(INT8_TARGETS)}")
    with needs_extra("train", "exporting from a run"):
        from hptl_export.precisions import publish_precisions
        from hptl_export.publish import publish
        from hptl_train.run_folder import FINISHED, find_run

        found = find_run(run, runs, state=FINISHED)
        model_name = name or found.name
        if Path(model_name).name != model_name or model_name in ("", ".", "..", "default"):
            raise UsageError(f"--name {model_name}: expected a plain name, not a path or `default`")
        published = publish(found, model_name, models, sink.note)
        model = published.model
        more, failed = publish_precisions(
            found,
            published,
            sink.note,
            fp16=fp16,
            int8_for=int8_for if int8 else None,
            calibrate=calibrate,
        )
    for written in (model, *more):
        _show(written, sink)
    built = [
        (written, path)
        for written in _for_engines(model, more)
        if (path := build_for_export(written, engine, target, sink, frame=shape))
    ]
    for _, path in built:
        sink.say(f"{path} ({path.stat().st_size / 2**20:.1f} MB)")
    for failure in failed:
        sink.note(str(failure))
    sink.say(f"{model.card.name} is now the default model")
    sink.say("segment with it: hptl-deploy segment FOLDER")
    sink.document(
        {
            **_document(model),
            "precisions": [_document(written) for written in more],
            "engines": [
                {"path": str(path), "precision": written.card.precision} for written, path in built
            ],
            "failed": [str(failure) for failure in failed],
        }
    )
    if failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def _for_engines(model: Model, more: list[Model]) -> list[Model]:
    """Which files get an engine: what a card runs of its own accord, and int8 where it can."""
    half = [written for written in more if written.card.precision == "fp16"]
    whole = [written for written in more if written.card.quantised_for == "tensorrt"]
    return [*(half or [model]), *whole]


def _show(model: Model, sink: Output) -> None:
    size = model.path.stat().st_size / 2**20
    sink.say(f"{model.path} ({model.card.precision}, {size:.1f} MB, sha256 {model.sha256[:12]})")
    for check, value in model.card.checks.items():
        sink.say(f"  {check}: {value}")
    sink.say(f"  memory: {model.card.bytes_per_pixel:.0f} bytes per pixel")


def _document(model: Model) -> dict[str, object]:
    return {
        "model": str(model.path),
        "precision": model.card.precision,
        "sha256": model.sha256,
        "bytes": model.path.stat().st_size,
        "bytes_per_pixel": model.card.bytes_per_pixel,
        "checks": model.card.checks,
    }
