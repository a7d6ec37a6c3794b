"""Scores of a segmenter in torch: whole micrographs, tiled exactly where they are large."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hptl_deploy.measurement.scores import Confusion
from hptl_deploy.phases import IGNORE, Phase
from hptl_deploy.tiling import plan_frame, read_padded, regions_of
from hptl_train.data.crops import Frame
from hptl_train.networks.reach import halo
from hptl_train.networks.segmenter import stride_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_CORE = 1024
"""Side of the largest piece in pixels of the network's input: about 2 GB at full width."""


def score(
    module: nn.Module,
    kind: str,
    input_scale: int,
    frames: Iterable[Frame],
    phases: Sequence[Phase],
    device: torch.device,
) -> dict[str, Any]:
    """Mean cross-entropy per labelled pixel (`loss`) and the scores of `Confusion`.

    `module` is a Segmenter in evaluation mode around the FCN `kind`.
    """
    confusion = Confusion(phases)
    loss, labelled = 0.0, 0
    stride = stride_of(input_scale)
    core = max(stride, _CORE // input_scale // stride * stride)
    for pixels, labels in frames:
        height, width = labels.shape
        small = max(height, width) <= core
        plan = plan_frame(
            height,
            width,
            stride=stride,
            halo=halo(kind, input_scale),
            tile=None if small else core,
        )
        for tile in plan.tiles():
            picture = read_padded(regions_of(pixels), tile.read, height, width)
            truth = labels[tile.write.slices]
            with torch.inference_mode():
                logits = module(torch.from_numpy(picture)[None].to(device))
                kept = logits[0][(slice(None), *tile.keep.slices)].float()
                loss += float(_summed(kept, torch.from_numpy(truth).to(device)))
                confusion.add(truth, kept.argmax(0).to(torch.uint8).cpu().numpy())
            labelled += int((truth != IGNORE).sum())
    return {"loss": loss / max(1, labelled), **confusion.to_json()}


def _summed(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy of logits [K, H, W] against [H, W], summed over labelled pixels, nats."""
    return torch.nn.functional.cross_entropy(
        logits[None], truth[None].long(), ignore_index=IGNORE, reduction="sum"
    )
