"""A trained network on whole micrographs in torch, tiled exactly where they are large."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hptl_deploy.phases import IGNORE
from hptl_deploy.tiling import Region, plan_frame, read_padded, regions_of
from hptl_train.networks.layers import NETWORKS
from hptl_train.networks.reach import halo
from hptl_train.networks.segmenter import stride_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CORE = 1024
"""Side of the largest piece in pixels of the network's input: about 2 GB at full width."""


@dataclass(frozen=True)
class Judged:
    """What a method finds on a labelled micrograph."""

    classes: NDArray[np.uint8]
    """Class indices [H, W]."""
    loss: float | None
    """Summed over the labelled pixels: cross-entropy in nats, an SVM's hinge; None without one."""


@dataclass(frozen=True)
class Predictor:
    """A Segmenter in evaluation mode around the network `kind`."""

    module: nn.Module
    kind: str
    input_scale: int
    device: torch.device

    def pieces(self, pixels: NDArray[np.uint8]) -> Iterator[tuple[Region, Tensor]]:
        """(where, logits [K, h, w] fp32) of a micrograph uint8 [H, W, 3], covering it once.

        A network whose reach is the whole frame (DeepLab V3+, which averages over it) sees the
        frame in one piece.
        """
        height, width = pixels.shape[:2]
        stride = stride_of(self.input_scale)
        core = max(stride, _CORE // self.input_scale // stride * stride)
        tiled = self.kind in NETWORKS and max(height, width) > core
        plan = plan_frame(
            height,
            width,
            stride=stride,
            halo=halo(self.kind, self.input_scale) if tiled else 0,
            tile=core if tiled else None,
        )
        for tile in plan.tiles():
            picture = read_padded(regions_of(pixels), tile.read, height, width)
            with torch.inference_mode():
                logits = self.module(torch.from_numpy(picture)[None].to(self.device))
            yield tile.write, logits[0][(slice(None), *tile.keep.slices)].float()

    def judged(self, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Judged:
        """What it finds on a micrograph, and how far that is from `labels` [H, W]."""
        found = np.empty(labels.shape, np.uint8)
        loss = 0.0
        for where, logits in self.pieces(pixels):
            found[where.slices] = classes_of(logits)
            truth = torch.from_numpy(labels[where.slices]).to(logits.device)
            loss += float(
                functional.cross_entropy(
                    logits[None], truth[None].long(), ignore_index=IGNORE, reduction="sum"
                )
            )
        return Judged(found, loss)

    def classes(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class indices uint8 [H, W] of a micrograph uint8 [H, W, 3]."""
        found = np.empty(pixels.shape[:2], np.uint8)
        for where, logits in self.pieces(pixels):
            found[where.slices] = classes_of(logits)
        return found


def classes_of(logits: Tensor) -> NDArray[np.uint8]:
    """The winning class of logits [K, H, W], uint8 [H, W]; the lower index where two tie."""
    found: NDArray[np.uint8] = logits.argmax(0).to(torch.uint8).cpu().numpy()
    return found
