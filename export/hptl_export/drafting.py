"""From a verified graph and its card to a file in the models folder. No torch."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx

from hptl_deploy.channel_blocks import channel_block
from hptl_deploy.engines.onnxruntime import OnnxRuntimeEngine
from hptl_deploy.errors import ModelError, VerificationError
from hptl_deploy.files import atomic_path, sha256_file
from hptl_deploy.model import MODEL_FILES, Model, ModelCard, load_model
from hptl_export.effort import operations_per_pixel
from hptl_export.files import Draft
from hptl_export.memory import bytes_per_pixel


def publish_draft(
    proto: onnx.ModelProto, card: ModelCard, final: Path, note: Callable[[str], None]
) -> Model:
    """Open the graph as a workstation will, measure its memory, and publish it as `final`.

    A file that is there and is the very same stays, and so does its hash, which results name.
    Raises what opening raises; `final` is untouched then.
    """
    if is_published(final, proto, card):
        note(f"{final} is this very model, verified when it was exported; it stays as it is")
        return load_model(final)
    # On Windows a session's file cannot be removed before the session is gone.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        draft = Draft(proto, Path(folder) / final.name)
        model = draft.put(card)
        if card.precision == "int8":
            # First of all what may refuse it: its probe. Others are opened where memory is
            # measured, by the same engine.
            OnnxRuntimeEngine(model).close()
        note("measuring memory per pixel")
        needed = bytes_per_pixel(model, operations_per_pixel(proto, card.stride))
        return put_in_place(draft.put(with_memory(card, needed)), final, note)


def with_memory(card: ModelCard, bytes_per_pixel: float) -> ModelCard:
    """`card` with what was measured on this machine."""
    return replace(card, bytes_per_pixel=round(bytes_per_pixel, 1), channel_block=channel_block())


def put_in_place(draft: Model, final: Path, note: Callable[[str], None]) -> Model:
    """Read a finished file as a workstation will, and copy it to its place, whole or not at all.

    What stands there in other precisions goes where it is of another fp32 file. Raises ModelError
    where it is not what a workstation takes, VerificationError where what lies in place is not what
    was verified; `final` is untouched then.
    """
    read = load_model(draft.path)
    with atomic_path(final) as temporary:
        shutil.copyfile(draft.path, temporary)
        if not read.sha256 == draft.sha256 == sha256_file(temporary):
            raise VerificationError(
                f"{final}: what was written is not what was verified",
                hint="Look for a failing disk or a lack of room, and export it again",
            )
        if read.card.precision == "fp32":
            remove_other_precisions(final, note)
    return replace(read, path=final)


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
        card,
        bytes_per_pixel=there.bytes_per_pixel,
        channel_block=there.channel_block,
        checks=there.checks,
        probe=there.probe,
        training_statistics=there.training_statistics,
    )
    same_graph = onnx.load(final).graph.SerializeToString() == proto.graph.SerializeToString()
    return measured == there and bool(same_graph)
