"""From a finished run to `models/<name>/model.onnx`: export, measure, verify, publish."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from hptl_deploy import __version__
from hptl_deploy.datasets import load_data_set
from hptl_deploy.errors import DataSetError, ModelError, RunError
from hptl_deploy.files import atomic_path
from hptl_deploy.model import MODEL_FILE, LineageStep, Model, ModelCard, load_model
from hptl_deploy.models_folder import set_default
from hptl_deploy.phases import phases_from_json
from hptl_export.graph import export_graph, without_logits, write_model
from hptl_export.memory import bytes_per_pixel
from hptl_export.verify import verify
from hptl_train.building import segmenting_network
from hptl_train.checkpoint import load_weights, restore_weights
from hptl_train.networks import FCN, Segmenter
from hptl_train.networks.reach import halo
from hptl_train.networks.segmenter import stride_of
from hptl_train.recipe import RivalRecipe
from hptl_train.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_EXPORTABLE = "FCN-32s, FCN-16s and FCN-8s"
_FRAMES = 4
_FRAME_SIDE = 768
"""Verification looks at the upper left corner of up to four micrographs, of this side in pixels
of the network's input: content, not quantity, and no more memory than a training batch."""


def publish(
    run: RunFolder, name: str, models: Path, note: Callable[[str], None], *, default: bool = True
) -> Model:
    """Export the final network of a finished run as `models/<name>/model.onnx`.

    The file is written under a temporary name, measured and verified there, and renamed
    only when every check has passed. A run that is published already is left as it is, so that
    its hash, which results name, stays. Raises RunError when the run cannot be exported and
    VerificationError when a check fails; `models` is untouched then.
    """
    segmenter, card = _trained(run, name)
    note(f"exporting {card.network} of {run.path} (input scale {card.input_scale})")
    frames, compared_on = verification_frames(run, card.stride)
    shown = export_graph(segmenter, card.stride)
    proto = without_logits(shown)
    final = models / name / MODEL_FILE
    if _is_published(final, proto, card):
        note(f"{final} is this very model, verified when it was exported; it stays as it is")
        if default:
            set_default(models, name)
        return load_model(final)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / MODEL_FILE
        write_model(proto, card, draft)
        note("measuring memory per pixel")
        card = replace(
            card, bytes_per_pixel=round(bytes_per_pixel(draft, card.stride, card.input_scale), 1)
        )
        write_model(proto, card, draft)
        note(f"verifying on {compared_on}")
        verification = verify(segmenter, load_model(draft), shown, frames, compared_on)
        write_model(proto, replace(card, checks=verification.to_json()), draft)
        # What is published is what a workstation will read: one more look at that file.
        load_model(draft)
        with atomic_path(final) as temporary:
            temporary.write_bytes(draft.read_bytes())
    if default:
        set_default(models, name)
    return load_model(final)


def _is_published(final: Path, proto: onnx.ModelProto, card: ModelCard) -> bool:
    """Whether `final` holds the same graph and card, apart from what export measures."""
    if not final.is_file():
        return False
    try:
        there = load_model(final).card
    except ModelError:
        return False
    measured = replace(card, bytes_per_pixel=there.bytes_per_pixel, checks=there.checks)
    same_graph = onnx.load(final).graph.SerializeToString() == proto.graph.SerializeToString()
    return measured == there and bool(same_graph)


def _trained(run: RunFolder, name: str) -> tuple[Segmenter, ModelCard]:
    """The final network with its weights, and its card, still without measured figures."""
    record = run.read()
    recipe = run.recipe()
    if isinstance(recipe, RivalRecipe):
        raise RunError(
            f"run {run.name}: holds thresholds or a support vector machine ({recipe.method}), no "
            f"network; {_EXPORTABLE} can be exported"
        )
    phases = phases_from_json(record["data"]["phases"], str(run.path))
    step = recipe.steps[-1]
    network = segmenting_network(recipe, step, len(phases))
    if not isinstance(network, FCN):
        raise RunError(
            f"run {run.name}: its network is {step.network}, whose every pixel depends on the "
            f"whole frame, so tiles would not equal the whole; {_EXPORTABLE} can be exported"
        )
    path = run.weights(len(recipe.steps) - 1, step.name)
    restore_weights(network, load_weights(path), path)
    scale = recipe.input.scale
    segmenter = Segmenter(network, scale, recipe.input.mean, recipe.input.std).eval()
    card = ModelCard(
        name=name,
        network=step.network,
        channels=recipe.vgg.channels,
        fc=recipe.vgg.fc,
        phases=phases,
        input_scale=scale,
        stride=stride_of(scale),
        halo=halo(step.network, scale),
        bytes_per_pixel=1.0,
        pixel_size_um=record["data"]["pixel_size_um"],
        # Runs of earlier versions do not say.
        synthetic=record["data"].get("synthetic", False),
        lineage=tuple(_lineage(entry) for entry in record["steps"]),
        validation=record["steps"][-1]["validation"] or {},
        training={
            "command": record.get("command", ""),
            "recipe": record["recipe"],
            "seed": record["seed"],
            "device": record["device"],
            "data_origin": record["data"].get("origin", ""),
        },
        weights_licence=_weights_licence(record["data"]["licence"]),
        data_licence=record["data"]["licence"],
        made_with={**record["versions"], "exported with hptl-deploy": __version__},
    )
    return segmenter, card


def _weights_licence(data_licence: str) -> str:
    """Weights are their owner's; what we can say is what they came from."""
    return f"its owner's; learned from data under: {data_licence}"


def _lineage(entry: dict[str, Any]) -> LineageStep:
    return LineageStep(
        step=entry["name"],
        network=entry["network"],
        start=entry["start"],
        transferred=entry["transferred"],
        iterations=entry["iterations"],
        data=entry["data"],
        losses=entry["losses"],
        seconds=entry["seconds"],
    )


def verification_frames(run: RunFolder, stride: int) -> tuple[list[NDArray[np.uint8]], str]:
    """(crops uint8 [H, W, 3] with sides that are multiples of `stride`, what they are).

    Validation micrographs of the run's data set; its training micrographs where it has no
    validation split; scikit-image's photographs where the data set has moved away.
    """
    record = run.read()
    try:
        data_set = load_data_set(Path(record["data"]["path"]))
        samples = data_set.split("val") or data_set.split("train")
        pictures = [data_set.read(sample)[0] for sample in samples[:_FRAMES]]
        kind = "validation" if data_set.split("val") else "training"
        what = f"crops of {len(pictures)} {kind} micrographs of {data_set.name}"
    except DataSetError:
        from hptl_train.data.source import photographs

        pictures = photographs(_FRAMES)
        place = record["data"]["path"]
        what = f"crops of {len(pictures)} photographs (the run's data set is not at {place})"
    side = max(stride, _FRAME_SIDE // run.chain().input.scale // stride * stride)
    frames = []
    for picture in pictures:
        height, width = (min(side, length // stride * stride) for length in picture.shape[:2])
        if height and width:
            frames.append(np.ascontiguousarray(picture[:height, :width]))
    if not frames:
        raise RunError(
            f"run {run.name}: the micrographs of its data set are smaller than {stride} px, so "
            "nothing can be verified"
        )
    return frames, what
