"""Is the halo wide enough? The derivation against the network itself, then the real weights.

First the architecture alone: a twin of the network with one channel per layer, all weights
positive and average instead of maximum pooling, so that whatever can influence an output
pixel does, and shows in the gradient. Then the exported graph: everything outside a halo
is replaced by noise, and no logit inside the core may change.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from hptl_train.networks import FCN, Segmenter, Sizes
from hptl_train.networks.reach import reach
from hptl_train.networks.segmenter import stride_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CORE_STRIDES = 4
"""Side of the core that is looked at, in strides."""


@cache
def measured_reach(kind: str, input_scale: int) -> int:
    """The reach of network `kind` in micrograph pixels, by gradients, over all its phases.

    All pixels of one stride x stride block are followed back, a row or a column of them at
    a time: nothing is negative, so a sum's gradient vanishes only where every term's does,
    and the farthest input felt by a row of pixels is the farthest felt by any one of them.
    Kernels are full rectangles, so how far is felt along a column does not depend on how wide
    the picture is: it is a strip, as wide as the block.
    """
    stride = stride_of(input_scale)
    twin = _positive_twin(kind, input_scale)
    margin = -(-(reach(kind, input_scale) + stride) // stride) * stride
    side = 2 * margin + stride
    farthest = 0
    for axis, shape in ((0, (side, stride)), (1, (stride, side))):
        strip = torch.ones(1, 3, *shape, requires_grad=True)
        logits = _logits(twin, strip, input_scale)[0, 0]
        for place in range(margin, margin + stride):
            pixels = logits.select(axis, place)
            (gradient,) = torch.autograd.grad(pixels.sum(), strip, retain_graph=True)
            felt = (gradient[0, 0] != 0).any(1 - axis).nonzero()
            farthest = max(farthest, place - int(felt[0]), int(felt[-1]) - place)
    return farthest


def _positive_twin(kind: str, input_scale: int) -> Segmenter:
    network = FCN(kind, Sizes((1, 1, 1, 1, 1), 1), classes=1)
    network.pool = nn.AvgPool2d(2)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            # Sums stay near 1, so that 20 layers neither overflow nor vanish.
            nn.init.constant_(module.weight, 1.0 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return Segmenter(network, input_scale).eval().requires_grad_(requires_grad=False)


def _logits(segmenter: Segmenter, picture: torch.Tensor, input_scale: int) -> torch.Tensor:
    """The segmenter without its normalisation, which would make some inputs negative."""
    bypass = segmenter.normalise
    segmenter.normalise = nn.Identity()  # type: ignore[assignment]
    try:
        logits: torch.Tensor = segmenter(picture)
    finally:
        segmenter.normalise = bypass
    return logits


def change_beyond_halo(
    logits: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    pixels: NDArray[np.uint8],
    halo: int,
    stride: int,
    seed: int = 0,
) -> tuple[float, int, int]:
    """What changes in a core when all outside its halo becomes noise.

    `logits` gives float32 [K, H, W] of uint8 [H, W, 3]. `pixels` is a frame of such a size;
    its sides are multiples of `stride` and at least two halos and `CORE_STRIDES` strides.
    Returns (largest change of a logit / largest logit, classes that changed, pixels compared);
    the first is NaN where a logit is no number.
    """
    noise = np.random.default_rng(seed).integers(0, 256, pixels.shape, np.uint8)
    height, width, _ = pixels.shape
    core = CORE_STRIDES * stride
    top, left = (height - core) // 2 // stride * stride, (width - core) // 2 // stride * stride
    known = (slice(top - halo, top + core + halo), slice(left - halo, left + core + halo))
    noise[known] = pixels[known]
    inside = (slice(None), slice(top, top + core), slice(left, left + core))
    before, after = logits(pixels)[inside], logits(noise)[inside]
    change = float(np.abs(after - before).max() / np.abs(before).max())
    moved = before.argmax(0) != after.argmax(0)
    return change, int(moved.sum()), moved.size
