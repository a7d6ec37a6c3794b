"""What the layers of a model answer to a part of a micrograph.

Letters: C channels of a layer, h rows and w columns of its maps, H rows and W columns of
micrograph pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.engines.onnxruntime import first_line, load_onnxruntime, session_options
from hptl_deploy.errors import EngineError, ModelError
from hptl_deploy.features.layers import Layer, ending_at
from hptl_deploy.model import INPUT, Model
from hptl_deploy.tiling import Tile

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

_ROWS = 64
"""Rows of maps whose products are summed at once: float64, some tens of MB at full size."""
_EXPLAINED = 1e-9
"""Share of a map's variance below which what is left of it is rounding."""


@dataclass(frozen=True)
class LayerMaps:
    """A layer's maps over the part that is shown."""

    layer: Layer
    pitch: Fraction
    """Micrograph pixels from one map pixel to the next."""
    maps: NDArray[np.float32]
    """[C, h, w], behind the Relu; the last row and column may reach beyond the part."""
    shown: tuple[int, ...]
    """Channels worth a look, most telling first; see `telling`."""
    dead: tuple[int, ...]
    """Channels that are 0 everywhere in the part."""
    mean: float
    """Over all channels and map pixels."""
    deviation: float
    """Standard deviation over all channels and map pixels."""


def feature_maps(
    model: Model,
    proto: onnx.ModelProto,
    layers: Sequence[Layer],
    pixels: NDArray[np.uint8],
    tile: Tile,
    count: int,
) -> list[LayerMaps]:
    """The maps of `layers` over `tile.write`, of each up to `count` chosen.

    `proto` is the graph of `model`; `pixels` is `tile.read` of the padded frame, uint8
    [H, W, 3]. Raises ModelError when ONNX Runtime refuses the graph or the maps are not of the size
    that the card says, EngineError when it fails, EnvironmentLacks where there is none.
    """
    card = model.card
    answers = _answers(model, ending_at(proto, [layer.value for layer in layers]), pixels)
    found = []
    for layer, answer in zip(layers, answers, strict=True):
        pitch = layer.pitch(card.input_scale)
        rows, columns = tile.read.shape
        expected = (1, layer.channels, rows / pitch, columns / pitch)
        if answer.shape != expected or card.stride % pitch:
            raise ModelError(
                f"{model.path}: the maps of {layer.name} are {list(answer.shape)} of {rows} x "
                f"{columns} px, which its card's stride {card.stride} and input scale "
                f"{card.input_scale} rule out",
                hint="Export the model again",
            )
        maps = _cut(answer[0], pitch, tile)
        if not np.isfinite(maps).all():
            raise ModelError(
                f"{model.path}: the maps of {layer.name} hold values that are no numbers",
                hint="Export the model again",
            )
        found.append(_described(layer, pitch, maps, count))
    return found


def _cut(maps: NDArray[np.float32], pitch: Fraction, tile: Tile) -> NDArray[np.float32]:
    """`tile.keep` of `maps` [C, h, w] of `tile.read`; a copy, so that the rest can go."""
    keep = tile.keep
    rows = slice(int(keep.y0 / pitch), math.ceil(keep.y1 / pitch))
    columns = slice(int(keep.x0 / pitch), math.ceil(keep.x1 / pitch))
    return maps[:, rows, columns].astype(np.float32)


def _answers(
    model: Model, graph: onnx.ModelProto, pixels: NDArray[np.uint8]
) -> list[NDArray[np.float32]]:
    """The graph's outputs, float32 [1, C, h, w] each, on the CPU."""
    ort = load_onnxruntime()
    options = session_options(ort)
    try:
        session = ort.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as exc:
        reason = first_line(exc, path=model.path)
        raise ModelError(f"{model.path}: ONNX Runtime refuses it ({reason})") from exc
    try:
        answers: list[NDArray[np.float32]] = session.run(None, {INPUT: pixels[None]})
    except Exception as exc:
        raise EngineError(
            f"model {model.card.name}: ONNX Runtime failed on {pixels.shape[0]} x "
            f"{pixels.shape[1]} px ({first_line(exc)})"
        ) from exc
    return answers


def _described(layer: Layer, pitch: Fraction, maps: NDArray[np.float32], count: int) -> LayerMaps:
    alive: NDArray[np.bool_] = np.any(maps, axis=(1, 2))
    means, covariance = moments(maps)
    return LayerMaps(
        layer=layer,
        pitch=pitch,
        maps=maps,
        shown=telling(covariance, alive, count),
        dead=tuple(np.flatnonzero(~alive).tolist()),
        mean=float(means.mean()),
        # Within the maps and between them.
        deviation=math.sqrt(float(covariance.diagonal().mean() + means.var())),
    )


def moments(maps: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(means [C], covariances [C, C]) over the pixels of `maps` [C, h, w]."""
    channels, height, width = maps.shape
    means = maps.mean(axis=(1, 2), dtype=np.float64)
    products = np.zeros((channels, channels))
    for top in range(0, height, _ROWS):
        piece = maps[:, top : top + _ROWS].reshape(channels, -1) - means[:, None]
        products += piece @ piece.T
    return means, products / (height * width)


def telling(
    covariance: NDArray[np.float64], alive: NDArray[np.bool_], count: int
) -> tuple[int, ...]:
    """Up to `count` channels of those `alive` [C], from their covariances [C, C] over pixels.

    First the map of the largest variance; then, one after the other, the map of which the
    largest variance is left when the maps before it have explained what they can of it (linear
    regression; the order of pivoted Cholesky factorisation). By variance alone a row would
    show one edge from eight channels. Ties go to the lower channel.
    """
    left, open_ = covariance.copy(), alive.copy()
    chosen: list[int] = []
    for _ in range(min(count, int(alive.sum()))):
        spread = left.diagonal()
        spread = np.where(spread > _EXPLAINED * covariance.diagonal(), spread, 0.0)
        best = int(np.where(open_, spread, -1.0).argmax())
        chosen.append(best)
        open_[best] = False
        if spread[best] > 0:
            left -= np.outer(left[:, best], left[best]) / left[best, best]
    return tuple(chosen)
