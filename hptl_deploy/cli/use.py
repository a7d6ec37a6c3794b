"""`hptl-deploy use`: which model runs without `--model`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hptl_deploy.cli.output import JsonOption, output

ModelsOption = Annotated[
    Path, typer.Option("--models", help="Folder that holds the models.", file_okay=False)
]


def use(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A model in the models folder.")],
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Make a model the one that runs without --model; until then the bundled one does.

    Example: hptl-deploy use hptl-uhcs
    """
    from hptl_deploy.models_folder import set_default

    sink = output(context, as_json=as_json)
    set_default(models, name)
    sink.say(f"{name} is the default of {models}")
    sink.document({"default": name, "models": str(models)})
