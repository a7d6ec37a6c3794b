"""The other precisions of a published model: `model.fp16.onnx` and `model.int8.onnx` beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from hptl_deploy.errors import VerificationError
from hptl_deploy.model import MODEL_FILES, Model
from hptl_export.change import Change, refuse
from hptl_export.drafting import publish_draft
from hptl_export.effort import operations_per_pixel
from hptl_export.files import onnx_logits, with_logits, without_logits
from hptl_export.probing import make_probe
from hptl_export.quantise import quantisable, quantise
from hptl_export.thresholds import FP16, INT8

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_export.frames import Frames
    from hptl_export.publish import Published
    from hptl_train.networks import Segmenter
    from hptl_train.run_folder import RunFolder

KEPT = (1, 2, 4, 8)
"""How many of the first convolutions stay in fp32, tried in this order until the limits are kept.
The first sees grey levels themselves, has three channels to read, and costs next to nothing."""


@dataclass(frozen=True)
class Reference:
    """A published fp32 file, and what it says of the frames that other precisions are judged on."""

    model: Model
    shown: onnx.ModelProto
    """Its graph, with the logits as an output."""
    frames: Frames
    logits: list[NDArray[np.float32]]
    """[K, H, W] of each frame."""
    magnitudes: Mapping[str, float] | None = None
    """The largest number of every layer of its network on the frames, where that is known."""

    @classmethod
    def of(cls, model: Model, frames: Frames) -> Reference:
        """Run `model` on `frames`: for a file that this process has not verified."""
        shown = with_logits(onnx.load(model.path))
        return cls(model, shown, frames, _logits(shown, frames.pictures))


def publish_precisions(
    run: RunFolder,
    published: Published,
    note: Callable[[str], None],
    *,
    fp16: bool,
    int8_for: str | None,
    calibrate: Path | None,
) -> tuple[list[Model], list[VerificationError]]:
    """Write what is asked for beside `published`, the fp32 file of `run`.

    `int8_for` is one of INT8_TARGETS, or None where no int8 is wanted; `calibrate` a folder of
    micrographs, or None for those that are verified on. Returns what was written, and why the rest
    was not. Raises what `calibration_frames` raises.
    """
    from hptl_export.frames import calibration_frames, verification_frames

    if not (fp16 or int8_for):
        return [], []
    # Before any long work: the folder may be a slip of the pen.
    model, stride = published.model, published.model.card.stride
    calibration = None if calibrate is None else calibration_frames(calibrate, model.card)
    reference = published.reference
    if reference is None:
        per_pixel = operations_per_pixel(onnx.load(model.path), stride)
        reference = Reference.of(model, verification_frames(run, stride, per_pixel))
    tasks: list[Callable[[], Model]] = []
    if fp16:
        tasks.append(partial(publish_fp16, published.segmenter, reference, note))
    if int8_for:
        calibration = calibration or reference.frames
        tasks.append(partial(publish_int8, reference, calibration, int8_for, note))
    written, failed = [], []
    for task in tasks:
        try:
            written.append(task())
        except VerificationError as exc:
            failed.append(exc)
    return written, failed


def publish_fp16(segmenter: Segmenter, reference: Reference, note: Callable[[str], None]) -> Model:
    """Write `model.fp16.onnx` beside the reference, which is the fp32 file of `segmenter`.

    Layers beyond half precision's range stay in fp32; the card says which. Judged by
    the network as a graphics card computes it, because ONNX Runtime computes such a file in fp32 on
    a CPU and hides what overflows. Raises VerificationError where a limit is passed.
    """
    from hptl_export.graph import export_graph
    from hptl_export.half import (
        beyond_half,
        half_segmenter,
        judging_segmenter,
        layers_beyond_half,
    )
    from hptl_export.verify import torch_logits

    model, frames = reference.model, reference.frames
    seen = reference.magnitudes
    beyond = layers_beyond_half(segmenter, frames.pictures) if seen is None else beyond_half(seen)
    kept = ", ".join(f"{name} (up to {largest:.2g})" for name, largest in beyond.items()) or "none"
    note(f"half precision: layers that stay in fp32: {kept}")
    judge = judging_segmenter(segmenter, tuple(beyond))
    judged = [torch_logits(judge, frame) for frame in frames.pictures]
    change = Change(frames, model.card.phases, reference.logits, judged)
    refuse(f"{model.card.name} in half precision", change, FP16)
    shown = export_graph(half_segmenter(segmenter, tuple(beyond)), model.card.stride)
    exported = _logits(shown, frames.pictures)
    # The file computed with wider sums may differ by what half precision itself may.
    apart = Change(frames, model.card.phases, judged, exported)
    refuse(f"the fp16 file of {model.card.name} against its network", apart, FP16)
    checks = {
        **change.to_json(),
        "judged by": "the network with every tensor of half precision rounded to it",
        "file against that network": f"{apart.logits:.1e} of the largest logit",
        "layers in fp32": kept,
    }
    card = replace(model.card, precision="fp16", derived_from=model.sha256, checks=checks)
    final = model.path.with_name(MODEL_FILES["fp16"])
    return publish_draft(without_logits(shown), card, final, note)


def publish_int8(
    reference: Reference, calibration: Frames, target: str, note: Callable[[str], None]
) -> Model:
    """Write `model.int8.onnx` beside the reference. Needs no torch.

    Ranges come from `calibration`, figures from the reference's frames. As many of the first
    convolutions stay in fp32 as the limits ask for, at most KEPT's last. `target` is one of
    INT8_TARGETS. Raises
    VerificationError where a limit is passed all the same, EnvironmentLacks where this processor
    does not compute the file as it is meant.
    """
    card, frames, shown = reference.model.card, reference.frames, reference.shown
    for kept in KEPT:
        note(f"quantising on {calibration.what}, the first {kept} convolutions in fp32")
        quantised = quantise(shown, calibration.pictures, target, kept)
        change = Change(frames, card.phases, reference.logits, _logits(quantised, frames.pictures))
        if not change.problems(INT8):
            break
        note(f"not within the limits: {'; '.join(change.problems(INT8))}")
    refuse(f"{card.name} in int8 for {target}", change, INT8)
    proto = without_logits(quantised)
    maps = [logits.argmax(0).astype(np.uint8) for logits in reference.logits]
    card = replace(
        card,
        precision="int8",
        quantised_for=target,
        derived_from=reference.model.sha256,
        probe=make_probe(proto, frames.pictures, maps, card.stride),
        checks={
            **change.to_json(),
            "calibrated on": calibration.what,
            "convolutions in fp32": f"the first {kept} of {len(quantisable(shown.graph))}",
        },
    )
    return publish_draft(proto, card, reference.model.path.with_name(MODEL_FILES["int8"]), note)


def _logits(
    shown: onnx.ModelProto, pictures: Sequence[NDArray[np.uint8]]
) -> list[NDArray[np.float32]]:
    with onnx_logits(shown) as logits:
        return [logits(picture) for picture in pictures]
