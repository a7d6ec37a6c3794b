"""A trained segmenter in half precision, where its numbers allow it.

    micrograph -> normalise, enlarge -> convolutions -> scores' sums -> mean, decision, softmax
                  fp32                  half            fp32            fp32

A layer that reads or writes numbers near the end of half precision's range stays in fp32, and so
do the tensors round it: every layer casts what it reads to its own precision, and a maximum or a
ReLU keeps what it is given.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hptl_export.thresholds import HALF_RANGE
from hptl_train.networks import Segmenter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Wrap = Callable[[nn.Module, bool], nn.Module]

_SUMMED = ("score_", "upscore")
"""Layers whose results are added or averaged: K channels each, so fp32 costs next to nothing."""


class Half(nn.Module):
    """A layer whose weights and whose arithmetic are in half precision: what is exported."""

    def __init__(self, layer: nn.Module, widen: bool) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer).half()
        self.widen = widen

    def forward(self, flow: Tensor) -> Tensor:
        """The layer's result, in fp32 where it is to be added or averaged."""
        result: Tensor = self.layer(flow.half())
        return result.float() if self.widen else result


class Rounded(nn.Module):
    """The same layer as a graphics card computes it: the judge of what is exported.

    Its factors are rounded to half precision, their products are added in fp32, the sum is rounded
    to half precision and is infinite beyond its range. torch's own half precision gives the same
    on a CPU and takes hundreds of times as long.
    """

    def __init__(self, layer: nn.Module, widen: bool) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer).half().float()

    def forward(self, flow: Tensor) -> Tensor:
        """The layer's result: fp32 that holds numbers of half precision."""
        result: Tensor = self.layer(_rounded(flow))
        return _rounded(result)


class Wide(nn.Module):
    """A layer that stays in fp32."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer)

    def forward(self, flow: Tensor) -> Tensor:
        """The layer's result in fp32."""
        result: Tensor = self.layer(flow.float())
        return result


def layers_beyond_half(
    segmenter: Segmenter, frames: Sequence[NDArray[np.uint8]], limit: float = HALF_RANGE
) -> dict[str, float]:
    """Layers that must stay in fp32, in the network's order, and the largest magnitude of each.

    What every layer reads, holds as weights and writes on `frames` (uint8 [H, W, 3]) is looked at,
    in fp32; what is no number counts as too large.
    """
    with magnitudes(segmenter) as largest, torch.inference_mode():
        for frame in frames:
            segmenter(torch.tensor(frame[None]))  # [1, H, W, 3]
    return beyond_half(largest, limit)


def beyond_half(largest: Mapping[str, float], limit: float = HALF_RANGE) -> dict[str, float]:
    """Those of the `magnitudes` of a segmenter that pass the limit."""
    return {name: found for name, found in largest.items() if found > limit}


@contextmanager
def magnitudes(segmenter: Segmenter) -> Iterator[dict[str, float]]:
    """The largest magnitude of every layer, of its weights at first.

    What the layers read and write is added while the segmenter runs inside the block, whatever it
    runs for. Infinite where one is no number. In the network's order.
    """
    layers = _layers(segmenter)
    largest = {
        name: max(_magnitude(parameter) for parameter in layer.parameters())
        for name, layer in layers.items()
    }

    def look(name: str, _: nn.Module, read: tuple[Tensor, ...], written: Tensor) -> None:
        found = max(_magnitude(read[0]), _magnitude(written))
        largest[name] = max(largest[name], found)

    handles = [layer.register_forward_hook(partial(look, name)) for name, layer in layers.items()]
    try:
        yield largest
    finally:
        for handle in handles:
            handle.remove()


def half_segmenter(segmenter: Segmenter, kept: Collection[str]) -> Segmenter:
    """What is exported: half precision but for the layers `kept`."""
    return _wrapped(segmenter, kept, Half)


def judging_segmenter(segmenter: Segmenter, kept: Collection[str]) -> Segmenter:
    """What the exported file is judged by: `half_segmenter` as a graphics card computes it."""
    return _wrapped(segmenter, kept, Rounded)


def _wrapped(segmenter: Segmenter, kept: Collection[str], wrap: Wrap) -> Segmenter:
    # Every layer makes a copy of its own; the rest has no parameters.
    copied = copy.deepcopy(segmenter, {id(own): own for own in segmenter.parameters()})
    for name, layer in _layers(copied).items():
        widen = name.startswith(_SUMMED)
        copied.network.add_module(name, Wide(layer) if name in kept else wrap(layer, widen))
    return copied.eval()


def _layers(segmenter: Segmenter) -> dict[str, nn.Module]:
    """The network's convolutions and deconvolutions by name."""
    return {
        name: layer
        for name, layer in segmenter.network.named_children()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    }


def _rounded(flow: Tensor) -> Tensor:
    return flow.half().float()


def _magnitude(tensor: Tensor) -> float:
    """The largest absolute value; infinite where one is no number."""
    low, high = (float(end) for end in tensor.detach().aminmax())
    return math.inf if math.isnan(low) or math.isnan(high) else max(-low, high)
