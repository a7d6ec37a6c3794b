"""What an ONNX graph takes, gives and keeps elsewhere, without running it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def interface(values: Iterable[onnx.ValueInfoProto]) -> list[tuple[str, str, int]]:
    """(name, element type such as `uint8`, rank) of a graph's inputs or outputs."""
    import onnx

    found = []
    for value in values:
        tensor = value.type.tensor_type
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        found.append((value.name, kind, len(tensor.shape.dim)))
    return found


def external_files(graph: onnx.GraphProto) -> set[str]:
    """Files outside the model that tensors of `graph`, and of graphs inside it, name."""
    import onnx

    tensors = list(graph.initializer)
    found: set[str] = set()
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        tensors += [attribute.t, *attribute.tensors]
        for inner in (attribute.g, *attribute.graphs):
            found |= external_files(inner)
    for tensor in tensors:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            found.add(entries.get("location", "a file without a name"))
    return found
