"""How far a network looks: which input pixels an output pixel can depend on.

Along one axis, an interval of outputs is followed back through the layers. With kernel k,
stride s, padding p:

    convolution, pool   outputs lo..hi  need inputs  lo s - p  ..  hi s - p + k - 1
    deconvolution       outputs lo..hi  need inputs  ceil((lo + p - k + 1) / s)  ..
                                                     floor((hi + p) / s)

The reach is the largest distance over all 32 phases of an output pixel within the
stride. Rows and columns are alike.
"""

from __future__ import annotations

import math

from hptl_train.networks.layers import BLOCKS, NETWORKS
from hptl_train.networks.segmenter import stride_of

Interval = tuple[int, int]


def reach(kind: str, input_scale: int = 1) -> int:
    """Micrograph pixels beyond which nothing influences an output pixel of network `kind`."""
    farthest = 0
    for pixel in range(stride_of(input_scale)):
        low, high = _input_of(kind, input_scale, pixel)
        farthest = max(farthest, pixel - low, high - pixel)
    return farthest


def halo(kind: str, input_scale: int = 1) -> int:
    """The reach rounded up to the stride, micrograph pixels."""
    stride = stride_of(input_scale)
    return math.ceil(reach(kind, input_scale) / stride) * stride


def _input_of(kind: str, input_scale: int, pixel: int) -> Interval:
    """Micrograph pixels that output pixel `pixel` of the whole segmenter depends on."""
    # Behind the network, logits are averaged over blocks of input_scale.
    block = (pixel * input_scale, pixel * input_scale + input_scale - 1)
    low, high = _network_input(kind, block)
    if input_scale == 1:
        return low, high
    # Enlarged pixel j interpolates between floor(c) and floor(c) + 1, c = (j + 1/2) / s - 1/2.
    return (
        math.floor((low + 0.5) / input_scale - 0.5),
        math.floor((high + 0.5) / input_scale - 0.5) + 1,
    )


def _network_input(kind: str, output: Interval) -> Interval:
    last = NETWORKS[kind][-1]
    score = _through_deconvolution(output, int(last.removeprefix("upscore")))
    found = []
    if "score_pool3" in NETWORKS[kind]:
        found.append(_through_trunk(score, blocks=3))
        score = _through_deconvolution(score, 2)  # upscore_pool4
    if "score_pool4" in NETWORKS[kind]:
        found.append(_through_trunk(score, blocks=4))
        score = _through_deconvolution(score, 2)  # upscore2
    fc6 = _through_convolution(score, kernel=7, stride=1, padding=3)
    found.append(_through_trunk(fc6, blocks=5))
    return min(low for low, _ in found), max(high for _, high in found)


def _through_trunk(pooled: Interval, blocks: int) -> Interval:
    for count in reversed(BLOCKS[:blocks]):
        pooled = _through_convolution(pooled, kernel=2, stride=2, padding=0)
        for _ in range(count):
            pooled = _through_convolution(pooled, kernel=3, stride=1, padding=1)
    return pooled


def _through_convolution(outputs: Interval, kernel: int, stride: int, padding: int) -> Interval:
    low, high = outputs
    return low * stride - padding, high * stride - padding + kernel - 1


def _through_deconvolution(outputs: Interval, factor: int) -> Interval:
    kernel, padding = 2 * factor, factor // 2
    low, high = outputs
    return -((-(low + padding - kernel + 1)) // factor), (high + padding) // factor
