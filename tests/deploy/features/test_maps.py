"""The maps against convolutions by scipy, and a part's against the whole frame's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy import linalg, signal

from hptl_deploy.features.layers import chosen_layers, layers_of
from hptl_deploy.features.maps import LayerMaps, feature_maps, moments, telling
from hptl_deploy.features.part import bytes_per_pixel, plan_part
from hptl_deploy.model import Model
from hptl_deploy.synthesis.frame import make_frame
from hptl_deploy.tiling import Region, Tile
from support.drawings import blobs
from support.model_errors import sentence

Array = NDArray[np.float64]


def picture(height: int, width: int) -> NDArray[np.uint8]:
    """Smooth blobs under noise, [H, W, 3]."""
    noise = np.random.default_rng(3).integers(-20, 20, (height, width, 3))
    drawn: NDArray[np.uint8] = np.clip(
        blobs(height, width, seed=1)[..., None] + noise, 0, 255
    ).astype(np.uint8)
    return drawn


def whole(pixels: NDArray[np.uint8], part: Region | None = None) -> Tile:
    """All of a frame is read; it is a multiple of the stride."""
    frame = Region(0, pixels.shape[0], 0, pixels.shape[1])
    return Tile(read=frame, write=part or frame)


def maps_of(
    model: Model,
    proto: onnx.ModelProto,
    names: Sequence[str] | None,
    pixels: NDArray[np.uint8],
    tile: Tile,
    count: int = 8,
) -> list[LayerMaps]:
    layers = chosen_layers(layers_of(proto.graph, "x"), names)
    return feature_maps(model, proto, layers, pixels, tile, count)


def enlarged(channel: Array) -> Array:
    """Twice as large, bilinear between pixel centres, edges repeated."""
    for axis in (0, 1):
        length = channel.shape[axis]
        places = (np.arange(2 * length) + 0.5) / 2 - 0.5
        channel = np.apply_along_axis(
            lambda line, at=places, last=length: np.interp(at, np.arange(last), line), axis, channel
        )
    return channel


def convolved(maps: Array, weight: Array, bias: Array) -> Array:
    """Relu of the 3 x 3 convolution of `maps` [C, h, w], zeros outside."""
    framed = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
    answers = [signal.correlate(framed, kernel, "valid", method="direct")[0] for kernel in weight]
    return np.maximum(np.stack(answers) + bias[:, None, None], 0)


def pooled(maps: Array) -> Array:
    """Largest of 2 x 2."""
    channels, height, width = maps.shape
    found: Array = maps.reshape(channels, height // 2, 2, width // 2, 2).max(axis=(2, 4))
    return found


def test_the_maps_are_what_scipy_computes(model: Model, proto: onnx.ModelProto) -> None:
    pixels = picture(16, 32)
    tensors = {
        tensor.name.removeprefix("segmenter.network."): numpy_helper.to_array(tensor)
        for tensor in proto.graph.initializer
    }
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    flow = np.moveaxis((pixels / 255 - mean) / deviation, 2, 0)
    flow = np.stack([enlarged(channel) for channel in flow])
    expected = {}
    for name in ("conv1_1", "conv1_2", "conv2_1", "conv2_2"):
        flow = pooled(flow) if name == "conv2_1" else flow
        weight, bias = (tensors[f"{name}.{kind}"].astype(float) for kind in ("weight", "bias"))
        flow = expected[name] = convolved(flow, weight, bias)
    for row in maps_of(model, proto, list(expected), pixels, whole(pixels)):
        reference = expected[row.layer.name]
        assert row.maps.dtype == np.float32
        assert row.maps.shape == reference.shape
        np.testing.assert_allclose(row.maps, reference, atol=2e-6 * reference.max())
        assert row.mean == pytest.approx(reference.mean(), rel=1e-5)
        assert row.deviation == pytest.approx(reference.std(), rel=1e-5)
        dead = [c for c in range(len(reference)) if reference[c].max() == 0]
        assert list(row.dead) == dead
        assert not set(row.shown) & set(dead)
        assert len(row.shown) == min(8, len(reference) - len(dead))


def test_the_maps_of_a_part_are_those_of_the_whole_frame(
    model: Model, proto: onnx.ModelProto
) -> None:
    # Particles: noise leaves the deepest maps at 0.
    pixels = make_frame(7, 0, 352, 368).pixels()
    card, layers = model.card, chosen_layers(layers_of(proto.graph, "x"), None)
    budget = (2 * card.halo + 33) ** 2 * bytes_per_pixel(card, layers)
    tile = plan_part(352, 368, card, layers, None, budget)
    assert tile.write.shape == (32, 32)
    assert tile.read.shape == (320, 320)  # a halo all round, and still not the frame
    part = maps_of(model, proto, None, pixels[tile.read.slices], tile)
    frame = maps_of(model, proto, None, pixels, whole(pixels, tile.write))
    for mine, reference in zip(part, frame, strict=True):
        assert mine.maps.shape == reference.maps.shape
        assert mine.maps.shape[1] == 32 / mine.pitch
        largest = reference.maps.max()
        assert largest > 0
        np.testing.assert_allclose(mine.maps, reference.maps, atol=1e-5 * largest)


def test_a_map_pixel_that_is_partly_in_the_part_is_shown(
    model: Model, proto: onnx.ModelProto
) -> None:
    pixels = picture(48, 48)
    rows = maps_of(model, proto, None, pixels, whole(pixels, Region(16, 41, 16, 39)))
    shapes = {row.layer.name: row.maps.shape[1:] for row in rows}
    assert shapes["conv1_2"] == (50, 46)  # 25 x 23 px of half a pixel each
    assert shapes["conv5_4"] == (4, 3)  # of 8 pixels each


def test_moments() -> None:
    maps = np.random.default_rng(0).gamma(1, 3, (5, 200, 11)).astype(np.float32)
    means, covariance = moments(maps)
    flat = maps.reshape(5, -1).astype(float)
    np.testing.assert_allclose(means, flat.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(flat, bias=True), rtol=1e-10)


def test_maps_are_chosen_in_the_order_of_a_pivoted_qr_decomposition() -> None:
    rng = np.random.default_rng(5)
    mixed = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 12)) + rng.normal(size=(400, 12)) / 9
    centred = mixed - mixed.mean(axis=0)
    _, _, order = linalg.qr(centred, mode="economic", pivoting=True)
    alive = np.ones(12, bool)
    assert list(telling(centred.T @ centred, alive, 8)) == order[:8].tolist()
    assert sorted(telling(centred.T @ centred, alive, 99)) == list(range(12))


def test_a_copy_and_a_dead_map_tell_nothing() -> None:
    rng = np.random.default_rng(6)
    strong, weak = rng.normal(size=500) * 9, rng.normal(size=500)
    maps = np.stack([np.zeros(500), strong, strong, weak, 2 * strong + 3 * weak])
    covariance, alive = np.cov(maps), np.array([False, True, True, True, True])
    # The mixture varies most; then what a strong map adds; the others are explained.
    assert telling(covariance, alive, 2)[0] == 4
    assert telling(covariance, alive, 4)[2:] in [(2, 3), (1, 2)]
    assert telling(covariance, alive, 4) == telling(covariance, alive, 9)
    assert telling(covariance, np.zeros(5, bool), 8) == ()


def spoilt(proto: onnx.ModelProto, name: str, value: float) -> None:
    for tensor in proto.graph.initializer:
        if tensor.name.endswith(name):
            array = np.full_like(numpy_helper.to_array(tensor), value)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def test_a_layer_that_answers_nowhere(model: Model, proto: onnx.ModelProto) -> None:
    spoilt(proto, "conv1_2.bias", -1e6)
    pixels = picture(16, 16)
    (row,) = maps_of(model, proto, ["conv1_2"], pixels, whole(pixels))
    assert (row.shown, row.dead) == ((), tuple(range(8)))
    assert (row.mean, row.deviation) == (0, 0)


def test_answers_that_are_no_numbers(model: Model, proto: onnx.ModelProto) -> None:
    spoilt(proto, "conv1_2.bias", float("inf"))
    pixels = picture(16, 16)
    assert sentence(lambda: maps_of(model, proto, None, pixels, whole(pixels))) == (
        f"{model.path}: the maps of conv1_2 hold values that are no numbers. Export the model again"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"input_scale": 1}, "conv1_2 are [1, 8, 32, 32] of 16 x 16 px, which its card's stride 16 "
                             "and input scale 1 rule out"),
        ({"stride": 4}, "conv5_4 are [1, 64, 2, 2] of 16 x 16 px, which its card's stride 4 and "
                        "input scale 2 rule out"),
    ],
)  # fmt: skip
def test_a_card_that_does_not_fit_the_graph(
    model: Model, proto: onnx.ModelProto, change: dict[str, Any], said: str
) -> None:
    wrong, pixels = replace(model, card=replace(model.card, **change)), picture(16, 16)
    assert (
        sentence(lambda: maps_of(wrong, proto, ["conv1_2", "conv5_4"], pixels, whole(pixels)))
        == f"{model.path}: the maps of {said}. Export the model again"
    )


def test_a_graph_that_onnx_runtime_refuses(model: Model, proto: onnx.ModelProto) -> None:
    proto.graph.node[0].op_type = "Gather"
    pixels = picture(16, 16)
    said = sentence(lambda: maps_of(model, proto, ["conv1_1"], pixels, whole(pixels)))
    assert said.startswith(f"{model.path}: ONNX Runtime refuses it (")
