"""A published fp32 model as a torch module again: the same layers, the same weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from hptl_deploy.errors import ModelError
from hptl_train.networks import FCN, Segmenter, Sizes
from hptl_train.networks.layers import NETWORKS

if TYPE_CHECKING:
    from torch import Tensor

    from hptl_deploy.model import Model

_NETWORK, _NORMALISE = "segmenter.network.", "segmenter.normalise."


def segmenter_of(model: Model) -> Segmenter:
    """The segmenter that `model`, an fp32 file, was exported from; in evaluation mode.

    Raises ModelError where the file holds another precision or other layers than its card says.
    """
    card = model.card
    if card.precision != "fp32" or card.network not in NETWORKS:
        raise ModelError(
            f"{model.path}: holds {card.network} in {card.precision}; expected an FCN in fp32",
            hint="Name the model's folder",
        )
    graph = onnx.load(str(model.path)).graph
    # Copies: what numpy shows of a file cannot be written to.
    tensors = {
        tensor.name: torch.from_numpy(np.array(numpy_helper.to_array(tensor)))
        for tensor in graph.initializer
        if tensor.name.startswith((_NETWORK, _NORMALISE))
    }
    network = FCN(card.network, Sizes(card.channels, card.fc), len(card.phases))
    expected = network.state_dict()
    found = _weights(graph, tensors, card.network)
    # What is zero everywhere, a bias mostly, the exporter leaves out.
    weights = {name: torch.zeros_like(own) for name, own in expected.items()} | found
    if odd := [k for k, v in weights.items() if k not in expected or v.shape != expected[k].shape]:
        raise ModelError(
            f"{model.path}: its tensors are not those of the {card.network} on its card "
            f"({', '.join(odd[:3])})",
            hint="Export the model again",
        )
    network.load_state_dict(weights)
    mean, std = (tuple(tensors[_NORMALISE + name].flatten().tolist()) for name in ("mean", "std"))
    return Segmenter(network, card.input_scale, mean, std).eval()


def _weights(graph: onnx.GraphProto, tensors: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Tensors by their names in the network.

    By the layers' order, in which the exporter writes them: tensors that are equal, such as
    deconvolutions that have not been trained, it keeps once and under one of their names.
    """
    nodes = [
        node
        for node in graph.node
        if node.op_type in ("Conv", "ConvTranspose") and node.input[1].startswith(_NETWORK)
    ]
    return {
        f"{layer}.{part}": tensors[name]
        for layer, node in zip(NETWORKS[kind], nodes, strict=False)
        for part, name in zip(("weight", "bias"), node.input[1:], strict=False)
        if name in tensors
    }
