"""The graph as TensorRT takes it: ONNX's own operators, and uint8 at its border only."""

from __future__ import annotations

import hashlib

import onnx

from hptl_deploy.errors import ModelError
from hptl_deploy.model import INPUT, Model
from hptl_deploy.onnx_graphs import check_graph

_LAYOUT = ("Transpose", "Squeeze", "Unsqueeze", "Reshape", "Identity")
"""Operators that move numbers without looking at them."""
_MOST_SWAPS = 100
"""Exported models need one or two; what needs more is left for the parser to refuse."""


def graph_for_tensorrt(model: Model) -> bytes:
    """The model's graph, checked and rewritten, as a serialised ONNX model.

    Every answer stays what it was. Raises ModelError where the file has changed since it was
    opened, and where its graph holds what no model of ours does: operators of others, which
    TensorRT would look for among its plugins, graphs within the graph, or a broken structure.
    """
    content = _read(model)
    proto = onnx.load_from_string(content)
    check_graph(proto, str(model.path))
    _cast_at_the_border(proto.graph)
    return bytes(proto.SerializeToString())


def _read(model: Model) -> bytes:
    try:
        content = model.path.read_bytes()
    except OSError as exc:
        raise ModelError(f"{model.path}: cannot be read ({exc.strerror})") from exc
    if hashlib.sha256(content).hexdigest() != model.sha256:
        raise ModelError(
            f"{model.path}: has changed since it was opened", hint="Run the command again"
        )
    return content


def _cast_at_the_border(graph: onnx.GraphProto) -> None:
    """Let casts from uint8 come before what only moves numbers, and casts to uint8 after it.

    TensorRT knows uint8 at inputs and outputs only, converted at once; the exporter moves
    channels first and converts then. The order makes no difference to any number.
    """
    for _ in range(_MOST_SWAPS):
        if not _swap_one(graph):
            break
    # Types noted for the tensors in between may have changed.
    del graph.value_info[:]


def _swap_one(graph: onnx.GraphProto) -> bool:
    """One exchange of a cast and a neighbour; False where there is nothing left to do."""
    users: dict[str, list[int]] = {}
    for place, node in enumerate(graph.node):
        for name in node.input:
            users.setdefault(name, []).append(place)
    for value in graph.output:
        users.setdefault(value.name, []).append(len(graph.node))  # never a sole user inside
    narrow = {INPUT}
    for place, node in enumerate(graph.node):
        moves = node.op_type in _LAYOUT and node.input[0] in narrow
        if not moves and not _casts_to_uint8(node):
            continue
        narrow.add(node.output[0])
        following = users.get(node.output[0], [])
        if len(following) != 1 or following[0] == len(graph.node):
            continue
        after = graph.node[following[0]]
        if moves and after.op_type == "Cast" and not _casts_to_uint8(after):
            # The cast needs nothing but this node's input, so both can stand here.
            _exchange(graph, place, following[0], at=place)
            return True
        if not moves and after.op_type in _LAYOUT and after.input[0] == node.output[0]:
            # What moves the numbers may need axes made in between, so both stand there.
            _exchange(graph, place, following[0], at=following[0] - 1)
            return True
    return False


def _exchange(graph: onnx.GraphProto, first: int, second: int, *, at: int) -> None:
    """Turn a -> first -> b -> second -> c into a -> second -> b -> first -> c."""
    nodes = list(graph.node)
    one, two = onnx.NodeProto(), onnx.NodeProto()
    one.CopyFrom(nodes[first])
    two.CopyFrom(nodes[second])
    two.input[0], one.input[0] = one.input[0], one.output[0]
    one.output[0], two.output[0] = two.output[0], one.output[0]
    rest = [node for place, node in enumerate(nodes) if place not in (first, second)]
    ordered = [*rest[:at], two, one, *rest[at:]]
    del graph.node[:]
    graph.node.extend(ordered)


def _casts_to_uint8(node: onnx.NodeProto) -> bool:
    return node.op_type == "Cast" and any(
        attribute.name == "to" and attribute.i == onnx.TensorProto.UINT8
        for attribute in node.attribute
    )
