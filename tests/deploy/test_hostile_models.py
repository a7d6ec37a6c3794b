"""A model file is input: whatever is in its place is refused in one sentence, and nothing runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hptl_deploy.model import load_model
from support.hostile_models import (
    Edit,
    add_node,
    add_tensor,
    both,
    card_of,
    inner_graph,
    length,
    outside,
    refusal,
    set_card,
)
from support.onnx_models import edited
from support.threshold_model import write_threshold_model

AGAIN = "Export the model again with this version"
WEIGHT = numpy_helper.from_array(np.zeros((2, 3, 3, 3), np.float32), "w")


def other_version(domain: str, version: int) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        del model.opset_import[:]
        model.opset_import.append(helper.make_opsetid(domain, version))

    return edit


def own_function(model: onnx.ModelProto) -> None:
    model.functions.append(
        helper.make_function(
            "", "Mul", ["a", "b"], ["c"],
            [helper.make_node("Constant", [], ["c"], value=outside(fresh(), "../w"))],
            [helper.make_opsetid("", 17)],
        )
    )  # fmt: skip


def fresh() -> TensorProto:
    copy = TensorProto()
    copy.CopyFrom(WEIGHT)
    return copy


def sparse(model: onnx.ModelProto) -> None:
    tensor = model.graph.sparse_initializer.add()
    tensor.values.CopyFrom(outside(fresh(), "/etc/passwd"))


def set_input(place: int, number: int, name: str) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        model.graph.node[place].input[number] = name

    return edit


def fixed(values: str, place: int, size: int) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        getattr(model.graph, values)[0].type.tensor_type.shape.dim[place].dim_value = size

    return edit


def rename_operator(name: str) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        model.graph.node[2].op_type = name

    return edit


NO_GRAPHS = "holds a graph of its own, which no exported model does"
OUTSIDE = "keeps weights outside the file ({}); expected one file that holds everything"


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda m: m.graph.initializer.append(outside(fresh(), "../../w")),
         OUTSIDE.format("../../w")),
        (lambda m: m.graph.initializer.append(outside(fresh(), "/etc/\x1b[2Jpasswd")),
         OUTSIDE.format("/etc/?[2Jpasswd")),
        (add_node("Constant", value=outside(fresh(), "w.bin")), OUTSIDE.format("w.bin")),
        (add_node("Constant", sparse_value=helper.make_sparse_tensor(
            helper.make_tensor("v", 1, [1], [1.0]), helper.make_tensor("i", 7, [1], [0]), [9])),
         "holds sparse weights, which no exported model does"),
        (sparse, "holds sparse weights, which no exported model does"),
        (own_function, "defines operators of its own (Mul), which no exported model does"),
        (add_node("If", "yes", then_branch=inner_graph(outside(fresh(), "a")),
                  else_branch=inner_graph()), f"operator If {NO_GRAPHS}"),
        (add_node("Loop", "", "yes", body=inner_graph()), f"operator Loop {NO_GRAPHS}"),
        (add_node("Scan", "grey", body=inner_graph(), num_scan_inputs=1),
         f"operator Scan {NO_GRAPHS}"),
        (add_node("EPContext", "grey", domain="com.microsoft"),
         "operator EPContext is not ONNX's own but of 'com.microsoft'"),
        (add_node("Relu", "grey", domain="\x1b]0;mine\x07"),
         "operator Relu is not ONNX's own but of '\\x1b]0;mine\\x07'"),
        *((add_node(kind, "grey"), f"operator {kind} is none that a network for micrographs is "
           "made of") for kind in ("SequenceConstruct", "RandomNormalLike", "LSTM", "Wish",
                                   "ConstantOfShape", "Tile", "ImageDecoder")),
        (lambda m: m.training_info.add(), "holds a graph for training, which no exported model "
         "does"),
        (other_version("", 999), "is written in version 999 of ONNX's operators, expected 13 to "),
        (other_version("mine", 17), "is written in version none or several of ONNX's operators"),
        (lambda m: m.opset_import.append(helper.make_opsetid("ai.onnx", 18)),
         "is written in version none or several of ONNX's operators"),
        (lambda m: setattr(m, "ir_version", 999),
         "is written in version 999 of the ONNX format, expected at most "),
        (lambda m: setattr(m, "ir_version", -1), "is written in version -1 of the ONNX format"),
        (rename_operator("Relu"), "is not a sound ONNX model (Node with schema(::Relu:14) has "
         "input size 2 not in range [min=1, max=1]."),
        (set_input(2, 0, "nowhere"), "is not a sound ONNX model (Nodes in a graph must be topolog"),
        (set_input(2, 0, "index"), "is not a sound ONNX model (Nodes in a graph must be topolog"),
        (set_input(2, 1, ""), "operator Conv has no input number 2"),
        (lambda m: m.graph.node[-7].input.append(""), "operator Sum has an input without a name"),
        (add_node("DepthToSpace", "grey", blocksize=2**40),
         "operator DepthToSpace has blocksize 1099511627776, expected at most 65536"),
        (add_node("Conv", "nchw", "grey_weights", pads=[0, 2**30, 0, 0]),
         "operator Conv has pads 1073741824, expected at most 65536"),
        (fixed("input", 1, 64), "takes one size only (64 along an axis), expected any N, H and W"),
        (fixed("output", 0, 1), "takes one size only (1 along an axis), expected any N, H and W"),
        (fixed("input", 3, 4), "takes 4 channels, expected 3 (red, green, blue)"),
    ],
)  # fmt: skip
def test_graphs_that_are_none_of_ours(tmp_path: Path, edit: Edit, said: str) -> None:
    found = refusal(edited(tmp_path, edit))
    assert found.startswith(said)
    assert found.endswith(AGAIN)
    assert not [c for c in found if not c.isprintable()]


def size(dims: list[int], raw: bytes, kind: int = TensorProto.FLOAT) -> Edit:
    return lambda m: m.graph.initializer.append(
        TensorProto(name="w", dims=dims, raw_data=raw, data_type=kind)
    )


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (size([2**40], b""), "tensor w holds 0 bytes, expected 4.39805e+12 for [1099511627776] of"),
        (size([2**62] * 8, b""), "tensor w holds 0 bytes, expected "),
        (size([-1], b""), "tensor w is of shape [-1], expected up to 8 lengths"),
        (
            size([1] * 100_000, b"1234"),
            "tensor w is of shape a list of 100000, expected up to 8 lengths",
        ),
        (size([2, 3], bytes(23)), "tensor w holds 23 bytes, expected 24 for [2, 3] of float"),
        (size([2, 3], bytes(25)), "tensor w holds 25 bytes, expected 24 for [2, 3] of float"),
        (size([2], bytes(8), TensorProto.STRING), "tensor w is of string, expected numbers"),
        (size([2], bytes(8), 99), "tensor w is of type 99, expected numbers"),
        (add_tensor("binomial", np.zeros(3, np.float32)), "holds binomial twice"),
        (add_tensor("micrograph", np.zeros(3, np.uint8)), "holds micrograph twice"),
    ],
)
def test_weights_that_are_not_what_they_say(tmp_path: Path, edit: Edit, said: str) -> None:
    assert refusal(edited(tmp_path, edit)).startswith(said)


LEAD = "2 tiles of 16 x 24 px (stride 8 on its card) "


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (
            both(add_tensor("s", np.array([2**33], np.int64)), add_node("Expand", "half", "s")),
            LEAD + "fill extra with 8.6e+09 numbers, expected at most 2.7e+08",
        ),
        (
            both(
                add_tensor("p", np.array([0, 0, 0, 0, 0, 0, 2**30, 0], np.int64)),
                add_node("Pad", "grey", "p"),
            ),
            LEAD + "fill extra with 5.2e+10 numbers",
        ),
        (
            both(
                add_tensor("f", np.array([1, 1, 1e5, 1e5], np.float32)),
                add_node("Resize", "grey", "", "f"),
            ),
            LEAD + "fill extra with 7.7e+12 numbers",
        ),
        (
            both(add_tensor("five", np.zeros(5, np.float32)), add_node("Add", "grey", "five")),
            LEAD + "do not go through its layers (",
        ),
    ],
)
def test_shapes_are_followed_without_running_anything(
    tmp_path: Path, edit: Edit, said: str
) -> None:
    assert refusal(edited(tmp_path, edit)).startswith(said)


def test_a_stride_that_is_not_the_graphs(tmp_path: Path) -> None:
    path = write_threshold_model(tmp_path, stride=16, smoothing=1)
    assert load_model(path).card.stride == 16
    model = onnx.load(str(path))
    set_card(model, json.dumps({**card_of(model), "stride": 4, "halo": 64}))
    onnx.save(model, str(path))
    assert refusal(path).startswith("2 tiles of 8 x 12 px (stride 4 on its card) ")


def test_a_graph_in_two_parts_is_one(tmp_path: Path) -> None:
    """The format allows it, so what the second part brings is judged, too."""
    path = write_threshold_model(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + b"\x3a" + length(2) + b"\x12\x00")  # a name
    load_model(path)
    more = onnx.GraphProto(initializer=[outside(fresh(), "../w")]).SerializeToString()
    path.write_bytes(whole + b"\x3a" + length(len(more)) + more)
    assert refusal(path).startswith(OUTSIDE.format("../w"))


def test_what_onnx_says_is_quoted_short_and_without_its_own_names(tmp_path: Path) -> None:
    """It names every error it passed on the way, and calls a wrong number unexpected."""

    def squeeze_nothing(model: onnx.ModelProto) -> None:
        (axis,) = (one for one in model.graph.initializer if one.name == "axis")
        axis.CopyFrom(numpy_helper.from_array(np.array([2**40], np.int64), "axis"))

    path = edited(tmp_path, squeeze_nothing)
    found = refusal(path)
    assert found.startswith(
        "2 tiles of 16 x 24 px (stride 8 on its card) do not go through its layers "
        "((op_type:Squeeze): wrong axis value: 1099511627776. Expected range [-4, 4)"
    )
    assert len(found) < 300
    assert "Error]" not in found
