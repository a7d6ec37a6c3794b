"""The engine that a command asks for, opened and announced."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hptl_deploy.engines import Engine
    from hptl_deploy.model import Model
    from hptl_deploy.sink import Sink


def opened_engine(
    name: str | None,
    models: Path,
    sink: Sink,
    *,
    device: str = "auto",
    precision: str | None = None,
    backend: str = "auto",
) -> Engine:
    """An engine for model `name` (else the default of `models`), said aloud through `sink`.

    Raises UsageError, ModelError and EnvironmentLacks.
    """
    from hptl_deploy.bundled import BUNDLED
    from hptl_deploy.engines import open_engine
    from hptl_deploy.model import load_model
    from hptl_deploy.models_folder import find_model, has_default

    engine = open_engine(
        load_model(find_model(name, models)), device, precision, backend, sink=sink
    )
    model = engine.model
    info = engine.info
    sink.note(
        f"model {model.card.name} ({model.sha256[:12]}, {model.path}) on {info.backend}, "
        f"device {info.device}, {info.precision}"
    )
    for remark in info.remarks:
        sink.note(remark)
    if name is None and not has_default(models):
        sink.note(
            f"no model was named and the folder {models} has no default, so the bundled {BUNDLED} "
            "runs, which learned from synthetic micrographs of as-cast aluminium alone: check its "
            "overlays before trusting its numbers"
        )
    else:
        say_synthetic(model, sink)
    return engine


def say_synthetic(model: Model, sink: Sink) -> None:
    """Say so where a model has never seen a real micrograph."""
    if model.card.synthetic:
        sink.note(f"model {model.card.name} learned from synthetic micrographs alone")
