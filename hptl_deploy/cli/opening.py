"""The engine that a command asks for, opened and announced."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hptl_deploy.engines import Engine
    from hptl_deploy.model import Model
    from hptl_deploy.sink import Sink


def opened_engine(
    name: str | None, models: Path, device: str, precision: str | None, sink: Sink
) -> Engine:
    """An engine for model `name` (else the default of `models`), said aloud through `sink`.

    Raises UsageError, ModelError and EnvironmentLacks.
    """
    from hptl_deploy.bundled import BUNDLED
    from hptl_deploy.engines import open_engine
    from hptl_deploy.errors import UsageError
    from hptl_deploy.model import MODEL_FILE, MODEL_FILES, PRECISIONS, load_model
    from hptl_deploy.models_folder import find_model, has_default

    if precision is not None and precision not in PRECISIONS:
        raise UsageError(f"--precision {precision}: expected fp32, fp16 or int8")
    path = find_model(name, models)
    if precision is not None and path.name == MODEL_FILE:
        # A model folder holds one file per precision.
        sibling = path.with_name(MODEL_FILES[precision])
        path = sibling if sibling.is_file() else path
    model = load_model(path)
    engine = open_engine(model, device, precision, announce=sink.note)
    info = engine.info
    sink.note(
        f"model {model.card.name} ({model.sha256[:12]}, {path}) on {info.backend}, "
        f"device {info.device}, {info.precision}"
    )
    if name is None and not has_default(models):
        sink.note(
            f"no model was named and {models} has no default, so the bundled {BUNDLED} runs, which "
            "learned from synthetic micrographs of as-cast aluminium alone: check its overlays "
            "before trusting its numbers"
        )
    else:
        say_synthetic(model, sink)
    return engine


def say_synthetic(model: Model, sink: Sink) -> None:
    """Say so where a model has never seen a real micrograph."""
    if model.card.synthetic:
        sink.note(f"model {model.card.name} learned from synthetic micrographs alone")
