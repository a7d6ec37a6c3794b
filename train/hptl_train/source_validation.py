"""Scores of step 1's classifier on pictures of its source domain: loss, top-1 and top-5."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from hptl_train.data.batches import Batch, prefetched
from hptl_train.data.source import Source, centre_crop, read_picture

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hptl_train.devices import Team

_TOP = 5


def source_scores(
    module: nn.Module,
    source: Source,
    device: torch.device,
    batch: int = 16,
    team: Team | None = None,
) -> dict[str, Any]:
    """Mean cross-entropy (`loss`, nats), `top1` and `top5` as shares, and what they are of.

    `module` takes uint8 [N, 224, 224, 3] and gives logits [N, K]. Scored are the source's
    held-out pictures; where there are none, its training pictures, and `of` says so. Each is
    seen once, by its centre crop. top5 is None below 6 classes, where it says nothing. With a
    `team`, each process scores its share of the pictures and all know the result. The module
    is left in the mode it was in. Raises DataSetError when a picture cannot be read.
    """
    scored = source.held_out or source.pictures
    own = [scored[number] for number in team.share(len(scored))] if team else scored
    crops = _Crops(own, batch)
    sums = torch.zeros(3, dtype=torch.float64)
    was_training = module.training
    module.eval()
    try:
        for drawn in prefetched(crops, 0, math.ceil(len(own) / batch)):
            sums += _sums(module, drawn, device)
    finally:
        module.train(was_training)
    totals = [*sums.tolist(), len(own)]
    loss, top1, top5, count = team.sums(totals) if team else totals
    return {
        "loss": loss / count,
        "top1": top1 / count,
        "top5": top5 / count if len(source.classes) > _TOP else None,
        "pictures": round(count),
        "of": "held-out pictures" if source.held_out else "training pictures",
    }


class _Crops:
    """Batches of centre crops; the last may be smaller."""

    def __init__(self, pictures: Sequence[tuple[Path, int]], batch: int) -> None:
        self._pictures = pictures
        self._batch = batch

    def __call__(self, iteration: int) -> Batch:
        """Pictures [N, 224, 224, 3] and class indices [N]."""
        part = self._pictures[iteration * self._batch : (iteration + 1) * self._batch]
        return Batch(
            np.stack([centre_crop(read_picture(path)) for path, _ in part]),
            np.array([index for _, index in part], np.int64),
        )


def _sums(module: nn.Module, drawn: Batch, device: torch.device) -> torch.Tensor:
    """Summed loss, and how many are among the first 1 and the first 5, float64 [3]."""
    labels = torch.from_numpy(drawn.labels).to(device)
    with torch.inference_mode():
        logits = module(torch.from_numpy(drawn.pictures).to(device)).float()  # [N, K]
        loss = functional.cross_entropy(logits, labels, reduction="sum")
        first = logits.topk(min(_TOP, logits.shape[1]), dim=1).indices  # [N, 5], best first
        hits = first == labels[:, None]
        return torch.stack([loss.double(), hits[:, 0].sum().double(), hits.sum().double()]).cpu()
