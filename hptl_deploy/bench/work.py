"""What a network takes for a frame: the products of its convolutions, counted from the graph.

A multiplication and an addition are two operations. Biases, activations, pooling, the decision
and the confidence are left out: for an FCN of any useful width they are below a hundredth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hptl_deploy.errors import ModelError
from hptl_deploy.model import INPUT
from hptl_deploy.onnx_tensors import without_weights

if TYPE_CHECKING:
    import onnx

Shapes = Mapping[str, tuple[int, ...]]


def operations(path: Path, height: int, width: int) -> int:
    """Operations of the ONNX file at `path` on one frame of `height` x `width` pixels.

    The sides are multiples of the model's stride. Counts Conv, ConvTranspose and Gemm nodes,
    quantised or not. Raises ModelError where the shape of one cannot be told.
    """
    import onnx

    return operations_of(onnx.load(str(path), load_external_data=False), str(path), height, width)


def operations_of(model: onnx.ModelProto, where: str, height: int, width: int) -> int:
    """The same of a model in memory, which stays as it is; `where` names it in messages."""
    import onnx

    # A large file is quick to look at where its weights are left out.
    model = without_weights(model)
    (picture,) = (value for value in model.graph.input if value.name == INPUT)
    for dim, length in zip(picture.type.tensor_type.shape.dim, (1, height, width, 3), strict=True):
        dim.Clear()
        dim.dim_value = length
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    shapes = _shapes(inferred.graph)
    total = 0
    for node in inferred.graph.node:
        if node.op_type in ("Conv", "ConvTranspose", "Gemm"):
            try:
                total += 2 * _products(node, shapes)
            except KeyError as exc:
                raise ModelError(
                    f"{where}: the operations of node {node.name} cannot be counted, because the "
                    f"shape of {exc} is not known"
                ) from exc
    return total


def _products(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Products of two numbers that `node` adds up."""
    if node.op_type == "Conv":
        # Every number of the output sums Cin / groups x kh x kw products.
        return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
    if node.op_type == "ConvTranspose":
        # Every pixel of the input is spread by the whole kernel, [Cin, Cout / groups, kh, kw].
        count, _, rows, columns = shapes[node.input[0]]
        return count * rows * columns * math.prod(shapes[node.input[1]])
    transposed = any(entry.name == "transA" and entry.i for entry in node.attribute)
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if transposed else 1]


def _shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """Shapes by tensor, of those whose every length is known."""
    found = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if all(dim.HasField("dim_value") for dim in dims):
            found[value.name] = tuple(dim.dim_value for dim in dims)
    return found
