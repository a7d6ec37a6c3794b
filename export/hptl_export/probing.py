"""Choosing a model's probe, and what it must answer. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx

from hptl_deploy.engines.onnxruntime import load_onnxruntime, session_options
from hptl_deploy.model import INPUT, OUTPUTS
from hptl_deploy.probe import Probe

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIDE = 64
"""Of the probe, in micrograph pixels: every layer runs, and it packs into a few kB."""


def make_probe(
    quantised: onnx.ModelProto,
    pictures: Sequence[NDArray[np.uint8]],
    maps: Sequence[NDArray[np.uint8]],
    stride: int,
) -> Probe:
    """A probe of an int8 graph: `probe_frame` and what the graph answers.

    That is computed without any 8-bit kernel: unoptimised, ONNX Runtime turns every 8-bit number
    into fp32, multiplies and adds there and rounds to 8 bits, so that nothing saturates on whatever
    machine this is.
    """
    frame = probe_frame(pictures, maps, stride)
    ort = load_onnxruntime()
    options = session_options(ort)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        quantised.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (classes,) = session.run([OUTPUTS[0]], {INPUT: frame[None]})
    return Probe.of(frame, classes[0])


def probe_frame(
    pictures: Sequence[NDArray[np.uint8]], maps: Sequence[NDArray[np.uint8]], stride: int
) -> NDArray[np.uint8]:
    """The part of `pictures` (uint8 [H, W, 3]) with the most even mixture of phases.

    `maps` are their class maps, uint8 [H, W].
    """
    side = max(stride, _SIDE // stride * stride)
    return max(_parts(pictures, maps, side), key=lambda part: _mixture(part[1]))[0]


def _parts(
    pictures: Sequence[NDArray[np.uint8]], maps: Sequence[NDArray[np.uint8]], side: int
) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Every square of `side` pixels, whatever is left over at the border left out.

    A picture smaller than that is one part.
    """
    parts = []
    for picture, classes in zip(pictures, maps, strict=True):
        height, width = classes.shape
        rows, columns = min(side, height), min(side, width)
        parts += [
            (
                np.ascontiguousarray(picture[top : top + rows, left : left + columns]),
                classes[top : top + rows, left : left + columns],
            )
            for top in range(0, height - rows + 1, side)
            for left in range(0, width - columns + 1, side)
        ]
    return parts


def _mixture(classes: NDArray[np.uint8]) -> float:
    """Entropy of the phases' shares: 0 where there is one phase only."""
    shares = np.bincount(classes.ravel()) / classes.size
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())
