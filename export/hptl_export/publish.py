"""From a finished run to `models/<name>/model.onnx`: export, measure, verify, publish."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hptl_deploy import __version__
from hptl_deploy.errors import RunError
from hptl_deploy.lineage import LineageStep
from hptl_deploy.model import MODEL_FILE, Model, ModelCard, load_model
from hptl_deploy.models_folder import set_default
from hptl_deploy.phases import phases_from_json
from hptl_export.drafting import is_published, put_in_place, with_memory
from hptl_export.effort import operations_per_pixel
from hptl_export.files import Draft, without_logits
from hptl_export.frames import verification_frames
from hptl_export.graph import export_graph
from hptl_export.memory import bytes_per_pixel
from hptl_export.precisions import Reference
from hptl_export.training_statistics import training_statistics
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

_EXPORTABLE = "FCN-32s, FCN-16s and FCN-8s"


@dataclass(frozen=True)
class Published:
    """A model in its place, and what other precisions of it start from."""

    model: Model
    segmenter: Segmenter
    """The network that the file says the same as."""
    reference: Reference | None
    """What its verification saw; None where an earlier export verified it."""


def publish(
    run: RunFolder, name: str, models: Path, note: Callable[[str], None], *, default: bool = True
) -> Published:
    """Export the final network of a finished run as `models/<name>/model.onnx`.

    The file is written under a temporary name, measured and verified there, and renamed
    only when every check has passed. A run that is published already is left as it is, so that
    its hash, which results name, stays. Raises RunError when the run cannot be exported and
    VerificationError when a check fails; `models` is untouched then.
    """
    segmenter, card = trained(run, name)
    note(f"exporting {card.network} of {run.path} (input scale {card.input_scale})")
    shown = export_graph(segmenter, card.stride)
    proto = without_logits(shown)
    final = models / name / MODEL_FILE
    if is_published(final, proto, card):
        note(f"{final} is this very model, verified when it was exported; it stays as it is")
        if default:
            set_default(models, name)
        return Published(load_model(final), segmenter, None)
    per_pixel = operations_per_pixel(proto, card.stride)
    # On Windows a session's file cannot be removed before the session is gone.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        draft = Draft(proto, Path(folder) / MODEL_FILE)
        note("measuring memory per pixel")
        needed = bytes_per_pixel(draft.put(card), per_pixel)
        card = with_memory(card, needed)
        frames = verification_frames(run, card.stride, per_pixel)
        note(f"verifying on {frames.what}")
        found = verify(segmenter, draft.put(card), shown, frames, per_pixel)
        card = replace(card, checks=found.to_json(), probe=found.probe)
        statistics = training_statistics(
            draft.put(card), Path(run.read()["data"]["path"]), per_pixel, note
        )
        card = replace(card, training_statistics=statistics)
        model = put_in_place(draft.put(card), final, note)
    if default:
        set_default(models, name)
    return Published(
        model, segmenter, Reference(model, shown, frames, found.shown, found.magnitudes)
    )


def trained(run: RunFolder, name: str) -> tuple[Segmenter, ModelCard]:
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
