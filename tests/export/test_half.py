"""Half precision: judged by what half precision really does, and fp32 where its range ends."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from hptl_deploy.errors import VerificationError
from hptl_deploy.phases import PAPER_PHASES
from hptl_export.change import Change, refuse
from hptl_export.files import onnx_logits
from hptl_export.frames import Frames
from hptl_export.graph import export_graph
from hptl_export.half import (
    beyond_half,
    half_segmenter,
    judging_segmenter,
    layers_beyond_half,
    magnitudes,
)
from hptl_export.thresholds import FP16, HALF_RANGE
from hptl_export.verify import torch_logits
from hptl_train.networks import Segmenter
from support.tiny import segmenter

FRAME: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
ORDINARY = segmenter(input_scale=4, seed=4)


def huge(factor: float = 1e6) -> Segmenter:
    """The same network to fp32, with activations between conv3_1 and conv3_2 that are `factor`
    times as large: beyond half precision's 65504."""
    copied = segmenter(input_scale=4, seed=4)
    with torch.no_grad():
        for name, scale in (("conv3_1", factor), ("conv3_2", 1 / factor)):
            layer = copied.network.get_submodule(name)
            assert isinstance(layer, nn.Conv2d)
            assert layer.bias is not None
            layer.weight *= scale
            if name == "conv3_1":
                layer.bias *= scale
    return copied


def relative(found: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    return float(np.abs(found - truth).max() / np.abs(truth).max())


def test_the_judge_is_torchs_half_precision() -> None:
    truth = torch_logits(ORDINARY, FRAME)
    judged = torch_logits(judging_segmenter(ORDINARY, ()), FRAME)
    native = torch_logits(half_segmenter(ORDINARY, ()), FRAME)
    # Both round to 11 bits; they add in another order.
    assert 1e-6 < relative(judged, truth) < 5e-3
    assert relative(judged, native) < 2e-3


def test_what_overflows_in_half_precision_is_seen_and_stays_in_fp32() -> None:
    network = huge()
    truth = torch_logits(network, FRAME)
    assert relative(truth, torch_logits(ORDINARY, FRAME)) < 1e-4
    for naive in (judging_segmenter(network, ()), half_segmenter(network, ())):
        assert not np.isfinite(torch_logits(naive, FRAME)).all()
    beyond = layers_beyond_half(network, [FRAME])
    assert list(beyond) == ["conv3_1", "conv3_2"]
    assert min(beyond.values()) > 65504
    for careful in (judging_segmenter(network, beyond), half_segmenter(network, beyond)):
        assert relative(torch_logits(careful, FRAME), truth) < 5e-3


def test_a_network_within_range_keeps_nothing_in_fp32() -> None:
    assert layers_beyond_half(ORDINARY, [FRAME]) == {}
    largest = layers_beyond_half(ORDINARY, [FRAME], limit=0)
    assert (
        len(largest) == 16 + 3 + 2 + 3
    )  # trunk, fc6 to score_fr, two scores, three deconvolutions
    assert max(largest.values()) < HALF_RANGE


def test_what_is_no_number_stays_in_fp32() -> None:
    broken = segmenter(input_scale=4, seed=4)
    layer = broken.network.get_submodule("fc7")
    assert isinstance(layer, nn.Conv2d)
    with torch.no_grad():
        layer.weight[0] = torch.nan
    assert next(iter(layers_beyond_half(broken, [FRAME]))) == "fc7"


def test_an_overflow_is_not_published() -> None:
    network = huge()
    frames = Frames([FRAME], None, "noise")
    judged = [torch_logits(judging_segmenter(network, ()), FRAME)]
    change = Change(frames, PAPER_PHASES, [torch_logits(network, FRAME)], judged)
    with pytest.raises(VerificationError) as raised:
        refuse("tiny in half precision", change, FP16)
    text = str(raised.value)
    assert text.startswith("tiny in half precision, compared with fp32 on noise: its logits differ")
    assert " (at most 0.01)" in text
    assert text.endswith("This precision was not published")


def test_the_file_holds_half_precision_where_it_may_and_says_what_the_judge_says() -> None:
    network = huge()
    kept = tuple(layers_beyond_half(network, [FRAME]))
    shown = export_graph(half_segmenter(network, kept), stride=8)
    kinds = {
        entry.name.removeprefix("segmenter.network.").split(".layer.")[0]: entry.data_type
        for entry in shown.graph.initializer
        if entry.name.endswith(".weight")
    }
    wide = {name for name, kind in kinds.items() if kind == onnx.TensorProto.FLOAT}
    assert wide == {"conv3_1", "conv3_2"}
    assert set(kinds.values()) == {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}
    # 24 layers; two deconvolutions start as the same bilinear kernel, which the file holds once.
    assert len(kinds) == 23
    types = {value.name: value.type.tensor_type.elem_type for value in shown.graph.output}
    uint8 = onnx.TensorProto.UINT8
    assert types == {"classes": uint8, "confidence": uint8, "logits": onnx.TensorProto.FLOAT}
    judged = torch_logits(judging_segmenter(network, kept), FRAME)
    with onnx_logits(shown) as logits:
        assert relative(logits(FRAME), judged) < 5e-3


def test_magnitudes_are_noted_whatever_the_network_runs_for() -> None:
    network = huge()
    with magnitudes(network) as seen:
        before = dict(seen)
        truth = torch_logits(network, FRAME)
    assert list(beyond_half(before)) == ["conv3_1"]  # by its weights alone
    assert beyond_half(seen) == layers_beyond_half(network, [FRAME])
    assert list(beyond_half(seen)) == ["conv3_1", "conv3_2"]
    # Nothing is noted behind the block, and nothing was changed by it.
    after = dict(seen)
    assert (torch_logits(network, np.full_like(FRAME, 255)) != truth).any()
    assert seen == after


def test_other_precisions_leave_the_network_as_it_was() -> None:
    network = segmenter(input_scale=4, seed=4)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for wrapped in (half_segmenter(network, ("fc7",)), judging_segmenter(network, ("fc7",))):
        own = {parameter.data_ptr() for parameter in network.parameters()}
        assert not own & {parameter.data_ptr() for parameter in wrapped.parameters()}
    assert network.state_dict().keys() == before.keys()
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, before[name])
