"""The convolutions of an exported network, found by name, and the graph that ends at them.

The trunk's blocks, conv1_1 ... conv5_4, keep their names in the file: as their weights'
initialisers, `segmenter.network.conv1_1.weight`. A layer's maps are what its Relu lets through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from hptl_deploy.errors import ModelError, UsageError

if TYPE_CHECKING:
    import onnx

_WEIGHT = re.compile(r"(?:.*\.)?(conv([1-5])_\d)\.weight")


@dataclass(frozen=True)
class Layer:
    """A convolution of the trunk and the Relu behind it."""

    name: str
    """`conv1_1` ... `conv5_4`."""
    block: int
    """1 to 5; every block before it halves rows and columns."""
    channels: int
    value: str
    """What the graph calls the output of the Relu."""

    def pitch(self, input_scale: int) -> Fraction:
        """Micrograph pixels from one map pixel to the next, where the graph enlarges its input."""
        return Fraction(2 ** (self.block - 1), input_scale)


def layers_of(graph: onnx.GraphProto, where: str) -> dict[str, Layer]:
    """The layers of `graph` by name, in the order they run; `where` names the file in messages.

    Raises ModelError when there are none.
    """
    channels = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    let_through = {
        node.input[0]: node.output[0]
        for node in graph.node
        if node.op_type == "Relu" and node.input and node.output
    }
    found = {}
    for node in (node for node in graph.node if node.op_type == "Conv"):
        # Nothing has checked yet that every node has the inputs and outputs it needs.
        weight, answer = [*node.input, "", ""][1], [*node.output, ""][0]
        match = _WEIGHT.fullmatch(weight)
        if match and weight in channels and answer in let_through:
            found[match[1]] = Layer(match[1], int(match[2]), channels[weight], let_through[answer])
    if not found:
        raise ModelError(
            f"{where}: holds no convolution that is called conv1_1 ... conv5_4 and followed by a "
            "Relu; expected an FCN that `hptl-deploy export` wrote"
        )
    return found


def chosen_layers(known: dict[str, Layer], names: Sequence[str] | None) -> list[Layer]:
    """The layers called `names`, each once; without names the last of every block.

    Raises UsageError for a name that is none of `known`.
    """
    if names is None:
        return list({layer.block: layer for layer in known.values()}.values())
    for name in names:
        if name not in known:
            raise UsageError(
                f"--layers: the model has no layer {name!r}", hint=f"It has {', '.join(known)}"
            )
    return [known[name] for name in dict.fromkeys(names)]


def ending_at(proto: onnx.ModelProto, values: Iterable[str]) -> onnx.ModelProto:
    """A model of the same inputs whose outputs are `values`, and no node that they do not need.

    Without the classifier, which holds most of the weights and takes most of the time.
    """
    from onnx import ValueInfoProto, helper

    outputs = [ValueInfoProto(name=value) for value in values]
    needed, nodes = {output.name for output in outputs}, []
    for node in reversed(proto.graph.node):  # a graph's nodes stand in the order they run
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.input)
    graph = helper.make_graph(
        nodes[::-1],
        proto.graph.name,
        proto.graph.input,
        outputs,
        [tensor for tensor in proto.graph.initializer if tensor.name in needed],
    )
    return helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version)
