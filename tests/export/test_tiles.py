"""Tiles equal the whole: the class map of a real FCN-8s, cut in many ways."""

from __future__ import annotations

import numpy as np
import pytest

from hptl_deploy.engines.onnxruntime import OnnxRuntimeEngine
from hptl_deploy.model import load_model
from hptl_export.files import onnx_logits, without_logits, write_model
from hptl_export.graph import export_graph
from hptl_export.halo import CORE_STRIDES, change_beyond_halo
from hptl_export.thresholds import HALO_FP32
from hptl_train.networks import Sizes
from hptl_train.networks.segmenter import stride_of
from support.exported import Exported, card
from support.labelled import draw
from support.tiny import segmenter
from support.whole import disagreement

PPM = 1e-6


def test_tiles_equal_the_whole(exported: Exported) -> None:
    stride = exported.model.card.stride
    pixels, _ = draw((437, 523), np.random.default_rng(0))
    with OnnxRuntimeEngine(exported.model) as engine:
        for core in (2 * stride, 8 * stride):
            different, classes = disagreement(engine, pixels, core)
            assert different <= PPM
            assert len(np.unique(classes)) > 1  # an empty map would always agree


def test_a_halo_too_narrow_is_found_out(exported: Exported) -> None:
    """The check that guards publishing can fail: half of the halo is not enough."""
    stride, wide = exported.model.card.stride, exported.model.card.halo
    side = 2 * wide + (CORE_STRIDES + 2) * stride
    pixels, _ = draw((side, side), np.random.default_rng(1))
    narrow = wide // 2 // stride * stride
    with onnx_logits(exported.shown) as logits:
        assert change_beyond_halo(logits, pixels, wide, stride)[0] <= HALO_FP32
        assert change_beyond_halo(logits, pixels, narrow, stride)[0] > HALO_FP32


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("size", [(1920, 2560), (1403, 1999)], ids=["frame", "odd"])
def test_tiles_equal_the_whole_on_full_frames(
    scale: int, size: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    network = segmenter(input_scale=scale, sizes=Sizes().scaled(0.125))
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    write_model(without_logits(export_graph(network, stride_of(scale))), card(scale), path)
    pixels, _ = draw(size, np.random.default_rng(2))
    with OnnxRuntimeEngine(load_model(path)) as engine:
        for core in (256, 512, 1024):
            assert disagreement(engine, pixels, core)[0] <= PPM
