"""`hptl-deploy export`: a finished run becomes a verified ONNX model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hptl_deploy.cli.extras import needs_extra
from hptl_deploy.cli.output import JsonOption, output
from hptl_deploy.cli.train import RunsOption
from hptl_deploy.cli.use import ModelsOption


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
    as_json: JsonOption = False,
) -> None:
    """Write a run's final network as one self-describing, verified ONNX file.

    It becomes the default model of the models folder. A model that fails a check is not
    published.

    Example: hptl-deploy export hptl-my-alloy
    """
    from hptl_deploy.errors import UsageError

    sink = output(context, as_json=as_json)
    with needs_extra("train", "exporting from a run"):
        from hptl_export.publish import publish
        from hptl_train.run_folder import FINISHED, find_run

        found = find_run(run, runs, state=FINISHED)
        model_name = name or found.name
        if Path(model_name).name != model_name or model_name in ("", ".", "..", "default"):
            raise UsageError(f"--name {model_name}: expected a plain name, not a path or `default`")
        model = publish(found, model_name, models, sink.note)
    size = model.path.stat().st_size / 2**20
    sink.say(f"{model.path} ({size:.1f} MB, sha256 {model.sha256[:12]}), now the default model")
    for check, value in model.card.checks.items():
        sink.say(f"  {check}: {value}")
    sink.say(f"  memory: {model.card.bytes_per_pixel:.0f} bytes per pixel")
    sink.say("segment with it: hptl-deploy segment FOLDER")
    sink.document(
        {
            "model": str(model.path),
            "sha256": model.sha256,
            "bytes": model.path.stat().st_size,
            "bytes_per_pixel": model.card.bytes_per_pixel,
            "checks": model.card.checks,
        }
    )
