"""From a verified graph and its card to a file in the models folder. No torch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx

from hptl_deploy.engines.onnxruntime import OnnxRuntimeEngine
from hptl_deploy.errors import ModelError
from hptl_deploy.files import atomic_path
from hptl_deploy.model import MODEL_FILES, Model, ModelCard, load_model
from hptl_export.files import write_model
from hptl_export.memory import bytes_per_pixel


def publish_draft(
    proto: onnx.ModelProto, card: ModelCard, final: Path, note: Callable[[str], None]
) -> Model:
    """Measure the graph's memory, open it once as a workstation will, and rename it to `final`.

    A file that is there and is the very same stays, and so does its hash, which results name.
    Raises what opening raises; `final` is untouched then.
    """
    if is_published(final, proto, card):
        note(f"{final} is this very model, verified when it was exported; it stays as it is")
        return load_model(final)
    # On Windows a session's file cannot be removed before the session is gone.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        draft = Path(folder) / final.name
        write_model(proto, card, draft)
        # First of all what may refuse it: an int8 model's probe.
        OnnxRuntimeEngine(load_model(draft)).close()
        note("measuring memory per pixel")
        needed = round(bytes_per_pixel(draft, card.stride, card.input_scale), 1)
        write_model(proto, replace(card, bytes_per_pixel=needed), draft)
        load_model(draft)
        with atomic_path(final) as temporary:
            temporary.write_bytes(draft.read_bytes())
    return load_model(final)


def remove_other_precisions(final: Path, note: Callable[[str], None]) -> None:
    """Delete what stands beside the fp32 file `final` in other precisions.

    For a new fp32 model that takes another's place: theirs are of the other's weights.
    """
    for precision, name in MODEL_FILES.items():
        path = final.with_name(name)
        if precision != "fp32" and path.is_file():
            note(f"{path} belongs to the model that was here before; it is deleted")
            path.unlink()


def is_published(final: Path, proto: onnx.ModelProto, card: ModelCard) -> bool:
    """Whether `final` holds the same graph and card, apart from what export measures."""
    if not final.is_file():
        return False
    try:
        there = load_model(final).card
    except ModelError:
        return False
    measured = replace(
        card, bytes_per_pixel=there.bytes_per_pixel, checks=there.checks, probe=there.probe
    )
    same_graph = onnx.load(final).graph.SerializeToString() == proto.graph.SerializeToString()
    return measured == there and bool(same_graph)
