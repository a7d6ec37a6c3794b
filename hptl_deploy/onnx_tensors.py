"""The tensors that a model's graph holds: inside the file, of numbers, as large as they say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hptl_deploy.model import INPUT
from hptl_deploy.wording import one_line, shown_value

if TYPE_CHECKING:
    import onnx

_MOST_AXES = 8
_BYTES = {
    **dict.fromkeys(("BOOL", "UINT8", "INT8"), 1),
    **dict.fromkeys(("FLOAT16", "BFLOAT16", "UINT16", "INT16"), 2),
    **dict.fromkeys(("FLOAT", "UINT32", "INT32"), 4),
    **dict.fromkeys(("DOUBLE", "UINT64", "INT64"), 8),
}
"""Of one number, by ONNX's names of types."""
_FEW_NUMBERS = 256
"""Of a tensor whose values may decide about shapes; anything larger is a weight."""
_IR_WITH_FREE_WEIGHTS = 4
"""Version of the format; before it, weights had to be inputs as well."""


def kind_of(number: int) -> str:
    """ONNX's name of an element type, `UINT8`."""
    from onnx import TensorProto

    known = number in TensorProto.DataType.values()
    return str(TensorProto.DataType.Name(number)) if known else f"type {number}"


def wrong_tensors(graph: onnx.GraphProto) -> Iterator[str]:
    """What is wrong with the weights of `graph` and the constants in it, as ends of a sentence."""
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    if graph.sparse_initializer or any(
        a.HasField("sparse_tensor") or a.sparse_tensors for a in attributes
    ):
        yield "holds sparse weights, which no exported model does"
    names = Counter([INPUT, *(tensor.name for tensor in graph.initializer)])
    for twice in (name for name, count in names.items() if count > 1):
        yield f"holds {one_line(twice, 60)} twice"
    tensors = list(graph.initializer)
    for attribute in attributes:
        tensors += [*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors]
    if outside := sorted({_location(t) for t in tensors if t.data_location == t.EXTERNAL}):
        yield (
            f"keeps weights outside the file ({one_line(', '.join(outside))}); expected one file "
            "that holds everything"
        )
    for tensor in tensors:
        yield from _wrong_size(tensor)


def _location(tensor: onnx.TensorProto) -> str:
    entries = (entry.value for entry in tensor.external_data if entry.key == "location")
    return str(next(entries, "a file without a name"))


def _wrong_size(tensor: onnx.TensorProto) -> Iterator[str]:
    """Where a tensor's shape and its content are not of one size."""
    kind, shape = kind_of(tensor.data_type), list(tensor.dims)
    name = f"tensor {one_line(tensor.name, 60)}"
    if kind not in _BYTES:
        yield f"{name} is of {kind.lower()}, expected numbers"
    elif len(shape) > _MOST_AXES or any(length < 0 for length in shape):
        yield f"{name} is of shape {shown_value(shape)}, expected up to {_MOST_AXES} lengths"
    else:
        stated = sum(
            len(values)
            for values in (
                tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data,
                tensor.uint64_data, tensor.string_data,
            )
        )  # fmt: skip
        # Asked once: it copies the weights out of the message.
        raw, expected = len(tensor.raw_data), math.prod(shape)
        found = raw + stated * _BYTES[kind]
        if found != expected * _BYTES[kind] or (raw and stated):
            yield (
                f"{name} holds {found} bytes, expected {expected * _BYTES[kind]:.6g} for "
                f"{shown_value(shape)} of {kind.lower()}"
            )


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph of sound tensors, its weights as inputs that state their shapes: some kilobytes."""
    import onnx

    bare = onnx.ModelProto(ir_version=max(model.ir_version, _IR_WITH_FREE_WEIGHTS))
    bare.opset_import.extend(model.opset_import)
    graph = bare.graph
    graph.name = "graph"
    for kept, given in (
        (graph.node, model.graph.node),
        (graph.input, model.graph.input),
        (graph.output, model.graph.output),
        (graph.value_info, model.graph.value_info),
    ):
        kept.extend(given)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _FEW_NUMBERS:
            graph.initializer.append(tensor)
        else:
            graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    return bare
