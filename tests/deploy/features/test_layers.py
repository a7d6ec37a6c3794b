from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from hptl_deploy.errors import UsageError
from hptl_deploy.features.layers import Layer, chosen_layers, ending_at, layers_of
from hptl_deploy.model import Model
from support.model_errors import sentence
from support.threshold_model import write_threshold_model

VGG19 = [
    "conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3", "conv3_4",
    "conv4_1", "conv4_2", "conv4_3", "conv4_4", "conv5_1", "conv5_2", "conv5_3", "conv5_4",
]  # fmt: skip


def test_the_trunk_of_vgg19_is_found_in_the_order_it_runs(
    model: Model, proto: onnx.ModelProto
) -> None:
    layers = layers_of(proto.graph, "x")
    assert list(layers) == VGG19
    for name, layer in layers.items():
        assert layer.name == name
        assert layer.block == int(name[4])
        assert layer.channels == model.card.channels[layer.block - 1]


def test_without_names_the_last_of_every_block(proto: onnx.ModelProto) -> None:
    known = layers_of(proto.graph, "x")
    chosen = [layer.name for layer in chosen_layers(known, None)]
    assert chosen == ["conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4"]


def test_named_they_come_in_that_order_and_once(proto: onnx.ModelProto) -> None:
    known = layers_of(proto.graph, "x")
    chosen = chosen_layers(known, ["conv4_1", "conv1_1", "conv4_1"])
    assert [layer.name for layer in chosen] == ["conv4_1", "conv1_1"]


@pytest.mark.parametrize("name", ["conv6_1", "fc6", ""])
def test_a_name_that_is_none_of_them(proto: onnx.ModelProto, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen_layers(layers_of(proto.graph, "x"), ["conv1_2", name])
    assert str(caught.value) == (
        f"--layers: the model has no layer {name!r}. It has {', '.join(VGG19)}"
    )


def test_a_graph_without_such_layers(tmp_path: Path) -> None:
    path = write_threshold_model(tmp_path, smoothing=2)  # it has convolutions, but no names
    graph = onnx.load(str(path)).graph
    assert sentence(lambda: layers_of(graph, "x.onnx")) == (
        "x.onnx: holds no convolution that is called conv1_1 ... conv5_4 and followed by a Relu; "
        "expected an FCN that `hptl-deploy export` wrote"
    )


@pytest.mark.parametrize("end", ["input", "output"])
@pytest.mark.parametrize("kind", ["Conv", "Relu"])
def test_a_graph_of_stumps_is_no_fault_of_the_program(
    proto: onnx.ModelProto, kind: str, end: str
) -> None:
    for node in proto.graph.node:
        if node.op_type == kind:
            del getattr(node, end)[:]
    assert "holds no convolution" in sentence(lambda: layers_of(proto.graph, "x"))


@pytest.mark.parametrize(
    ("block", "scale", "pitch"), [(1, 1, "1"), (5, 1, "16"), (1, 2, "1/2"), (3, 3, "4/3")]
)
def test_the_pitch_of_a_map(block: int, scale: int, pitch: str) -> None:
    assert Layer("x", block, 4, "y").pitch(scale) == Fraction(pitch)


def test_what_follows_the_last_layer_is_left_out(proto: onnx.ModelProto) -> None:
    layers = layers_of(proto.graph, "x")
    cut = ending_at(proto, [layers["conv2_1"].value, layers["conv1_1"].value])
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(cut))
    assert [value.name for value in cut.graph.input] == ["micrograph"]
    assert [value.name for value in cut.graph.output] == [
        layers["conv2_1"].value,
        layers["conv1_1"].value,
    ]
    weights = [t.name.split(".")[-2] for t in cut.graph.initializer if t.name.endswith(".weight")]
    assert weights == ["conv1_1", "conv1_2", "conv2_1"]
    whole = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    for tensor in cut.graph.initializer:
        assert (numpy_helper.to_array(tensor) == whole[tensor.name]).all()
