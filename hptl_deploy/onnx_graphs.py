"""What a model's graph may hold, judged without running it.

A model file is input like any other. Libraries that run graphs take far more than a network needs:
files beside the model, operators of others, loops, sequences, strings; and on numbers that no
network has (a block size of 2^40, an input without a name) they divide by zero or follow a null
pointer. So a graph is refused unless it could be one of ours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from hptl_deploy.errors import ModelError
from hptl_deploy.model import INPUT, OUTPUTS
from hptl_deploy.onnx_tensors import kind_of, without_weights, wrong_tensors
from hptl_deploy.wording import one_line, shown_value

if TYPE_CHECKING:
    import onnx

_AGAIN = "Export the model again with this version"
_ONNX_DOMAINS = ("", "ai.onnx")
_OLDEST_OPSET = 13
"""The first whose operators take their axes as inputs."""

OPERATORS = frozenset(
    {
        # Sums and activations.
        *("Conv", "ConvTranspose", "MatMul", "Gemm", "BatchNormalization"),
        *("AveragePool", "MaxPool", "GlobalAveragePool", "ArgMax", "Softmax", "LogSoftmax"),
        *("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"),
        *("Relu", "LeakyRelu", "PRelu", "Elu", "Gelu", "Sigmoid", "HardSigmoid", "HardSwish"),
        *("Tanh", "Softplus", "Clip", "Dropout"),
        # What only moves numbers.
        *("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Concat", "Split", "Slice"),
        *("Gather", "Pad", "Resize", "DepthToSpace", "SpaceToDepth", "Expand", "Identity"),
        *("Constant", "Shape", "Size"),
        # Number by number.
        *("Add", "Sub", "Mul", "Div", "Neg", "Abs", "Pow", "Sqrt", "Exp", "Log", "Reciprocal"),
        *("Round", "Floor", "Ceil", "Min", "Max", "Sum", "Mean", "Erf"),
        *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Not", "Where"),
        *("Cast", "QuantizeLinear", "DequantizeLinear"),
    }
)
"""What convolutional networks, their decision and their precisions are made of. A new network that
needs another one adds it here, if it keeps its numbers in tensors and runs no graph of its own."""

_LARGEST_ATTRIBUTE = 65536
"""Of a kernel's side, a stride, a padding, an axis, a number of groups."""
_FEW = 4
"""Inputs or outputs that are listed."""
_LARGEST_TENSOR = 2**28
"""Numbers in any one tensor while `check_sizes` looks on: 1 GiB in fp32. The paper's network at
input scale 4 has 786 432."""


def check_graph(model: onnx.ModelProto, where: str) -> None:
    """Raise ModelError for whatever no model of ours holds; `where` names the file.

    Inputs and outputs, versions, operators, the sizes of weights (not their values), and that
    everything is made before it is used.
    """
    graph = model.graph
    checks = (
        _wrong_interface(graph),
        _wrong_model(model),
        _wrong_nodes(graph, _opset(model)),
        wrong_tensors(graph),
    )
    for problem in chain.from_iterable(checks):
        raise ModelError(f"{where}: {problem}", hint=_AGAIN)
    _check_structure(model, where)


def check_sizes(model: onnx.ModelProto, stride: int, where: str) -> None:
    """Follow two tiles of 2 x 3 strides through a checked graph, by their shapes alone.

    Raises ModelError where layers do not fit together, where the outputs have another size than
    the tiles, and where a tensor is larger than anything a network makes of so few pixels. What
    cannot be told from shapes is left to who runs the graph.
    """
    import onnx

    # Sides that differ, and differ from one stride: a graph for one size only does not pass.
    count, rows, columns = 2, 2 * stride, 3 * stride
    bare = without_weights(model)
    dims = bare.graph.input[0].type.tensor_type.shape.dim
    for dim, length in zip(dims, (count, rows, columns, 3), strict=True):
        dim.dim_value = length
    tiles = f"{count} tiles of {rows} x {columns} px (stride {stride} on its card)"
    try:
        found = onnx.shape_inference.infer_shapes(bare, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as exc:
        raise ModelError(
            f"{where}: {tiles} do not go through its layers ({_said(exc)})", hint=_AGAIN
        ) from exc
    for value in (*found.graph.value_info, *found.graph.output):
        shape = _shape(value)
        if value.name in OUTPUTS and shape not in (None, [count, rows, columns]):
            raise ModelError(
                f"{where}: {tiles} give {value.name} of {shape}, expected {[count, rows, columns]}",
                hint=_AGAIN,
            )
        if shape is not None and math.prod(shape) > _LARGEST_TENSOR:
            raise ModelError(
                f"{where}: {tiles} fill {one_line(value.name, 60)} with {math.prod(shape):.2g} "
                f"numbers, expected at most {_LARGEST_TENSOR:.2g}",
                hint=_AGAIN,
            )


def _wrong_interface(graph: onnx.GraphProto) -> Iterator[str]:
    expected_in = [(INPUT, "uint8", 4)]
    expected_out = [(name, "uint8", 3) for name in OUTPUTS]
    found_in, found_out = _interface(graph.input), _interface(graph.output)
    if found_in != expected_in or found_out != expected_out:
        yield (
            f"expected input {INPUT} (uint8, rank 4) and outputs {' and '.join(OUTPUTS)} "
            f"(uint8, rank 3), found inputs {_listed(found_in)} and outputs {_listed(found_out)}"
        )
        return
    *free, channels = graph.input[0].type.tensor_type.shape.dim
    free += [dim for value in graph.output for dim in value.type.tensor_type.shape.dim]
    if fixed := [dim.dim_value for dim in free if dim.HasField("dim_value")]:
        yield f"takes one size only ({fixed[0]} along an axis), expected any N, H and W"
    if channels.HasField("dim_value") and channels.dim_value != 3:
        yield f"takes {channels.dim_value} channels, expected 3 (red, green, blue)"


def _interface(values: Sequence[onnx.ValueInfoProto]) -> list[tuple[str, str, int]]:
    """(name, element type such as `uint8`, rank) of a graph's inputs or outputs."""
    return [
        (value.name, kind_of(tensor.elem_type).lower(), len(tensor.shape.dim))
        for value in values
        for tensor in [value.type.tensor_type]
    ]


def _listed(values: list[tuple[str, str, int]]) -> str:
    text = ", ".join(f"{name} ({kind}, rank {rank})" for name, kind, rank in values[:_FEW])
    more = f" and {len(values) - _FEW} more" if len(values) > _FEW else ""
    return one_line(text) + more if values else "none"


def _opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's operators; 0 where none or several are stated."""
    stated = [entry.version for entry in model.opset_import if entry.domain in _ONNX_DOMAINS]
    return stated[0] if len(stated) == 1 else 0


def _wrong_model(model: onnx.ModelProto) -> Iterator[str]:
    import onnx

    newest, opset = onnx.defs.onnx_opset_version(), _opset(model)
    if not _OLDEST_OPSET <= opset <= newest:
        yield (
            f"is written in version {opset or 'none or several'} of ONNX's operators, expected "
            f"{_OLDEST_OPSET} to {newest}"
        )
    if not 1 <= model.ir_version <= onnx.IR_VERSION:
        yield (
            f"is written in version {model.ir_version} of the ONNX format, expected at most "
            f"{onnx.IR_VERSION}"
        )
    if model.functions:
        name = one_line(model.functions[0].name, 60)
        yield f"defines operators of its own ({name}), which no exported model does"
    if model.training_info:
        yield "holds a graph for training, which no exported model does"


def _wrong_nodes(graph: onnx.GraphProto, opset: int) -> Iterator[str]:
    for node in graph.node:
        operator = f"operator {one_line(node.op_type, 60)}"
        if node.domain not in _ONNX_DOMAINS:
            yield f"{operator} is not ONNX's own but of {shown_value(node.domain)}"
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                yield f"{operator} holds a graph of its own, which no exported model does"
        if node.op_type not in OPERATORS:
            yield f"{operator} is none that a network for micrographs is made of"
        for attribute in node.attribute if node.op_type != "Constant" else ():
            largest = max(map(abs, (attribute.i, *attribute.ints)))
            if largest > _LARGEST_ATTRIBUTE:
                yield (
                    f"{operator} has {one_line(attribute.name, 60)} {largest}, expected at most "
                    f"{_LARGEST_ATTRIBUTE}"
                )
        yield from _unnamed(node, operator, opset)


def _unnamed(node: onnx.NodeProto, operator: str, opset: int) -> Iterator[str]:
    """Values that must be there and have no name, which who runs the graph takes as given."""
    import onnx

    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        yield f"{operator} is none of version {opset} of ONNX's operators"
        return
    for what, names, formal in (
        ("input", node.input, schema.inputs),
        ("output", node.output, schema.outputs),
    ):
        for place, name in enumerate(names[: len(formal)] if formal else ()):
            optional = formal[place].option == onnx.defs.OpSchema.FormalParameterOption.Optional
            if not name and not optional:
                yield f"{operator} has no {what} number {place + 1}"
        if "" in names[len(formal) :]:
            yield f"{operator} has an {what} without a name"


def _check_structure(model: onnx.ModelProto, where: str) -> None:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        onnx.checker.check_model(without_weights(model))
    except (onnx.checker.ValidationError, DecodeError, ValueError, RuntimeError) as exc:
        raise ModelError(f"{where}: is not a sound ONNX model ({_said(exc)})", hint=_AGAIN) from exc


def _said(error: Exception) -> str:
    """What ONNX says of a graph, without its names for its own errors."""
    text = re.sub(r"\[\w+Error\] *(Inference error\(s\): *)?", "", str(error))
    return one_line(text.replace("Unexpected ", "wrong "), 150)


def _shape(value: onnx.ValueInfoProto) -> list[int] | None:
    """The lengths of a value, None where one of them is not known."""
    tensor = value.type.tensor_type
    dims = tensor.shape.dim
    known = tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in dims)
    return [dim.dim_value for dim in dims] if known else None
