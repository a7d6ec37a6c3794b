"""The deployed graph: uint8 micrograph in, classes and confidence out.

Layout change, scaling, normalisation, enlargement, decision and confidence are all inside,
so that nothing about the network has to be known outside.
"""

from __future__ import annotations

import logging
import warnings

import onnx
import torch
from torch import Tensor, nn

from hptl_deploy.errors import VerificationError
from hptl_deploy.model import INPUT, OUTPUTS
from hptl_deploy.onnx_tensors import without_weights
from hptl_export.files import LOGITS
from hptl_train.networks import Segmenter

OPSET = 20

_EXAMPLE_SIDE = 2
"""Strides: a dynamic dimension's example must be neither 0 nor 1."""


class Deployed(nn.Module):
    """A segmenter and its decision."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, micrograph: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(classes, confidence, logits) of uint8 [N, H, W, 3].

        uint8 [N, H, W] twice, and float32 [N, K, H, W].
        """
        logits = self.segmenter(micrograph)
        classes, best = decide(logits)
        # softmax of the winner: exp(best) / sum exp(logit) = 1 / sum exp(logit - best)
        probability = 1.0 / torch.exp(logits - best.unsqueeze(1)).sum(dim=1)
        confidence = torch.round(probability * 255.0).to(torch.uint8)
        return classes.to(torch.uint8), confidence, logits


def decide(logits: Tensor) -> tuple[Tensor, Tensor]:
    """(index of the largest logit as float, that logit), [N, H, W] each; ties to the lowest index.

    K - 1 comparisons instead of ArgMax, which TensorRT turns into a far slower TopK.
    """
    best = logits[:, 0]
    classes = torch.zeros_like(best)
    for index in range(1, logits.shape[1]):
        larger = logits[:, index] > best
        classes = torch.where(larger, torch.full_like(classes, float(index)), classes)
        best = torch.where(larger, logits[:, index], best)
    return classes, best


def export_graph(segmenter: Segmenter, stride: int) -> onnx.ModelProto:
    """Trace the segmenter (on the CPU, in evaluation mode) into ONNX with dynamic N, H, W.

    Its outputs are classes, confidence and logits; `hptl_export.files.without_logits` gives what is
    published.
    Raises VerificationError when the exporter fails or the result is no valid ONNX.
    """
    deployed = Deployed(segmenter).eval()
    side = _EXAMPLE_SIDE * stride
    example = torch.zeros(2, side, side + stride, 3, dtype=torch.uint8)
    batch = torch.export.Dim("N", min=1)
    rows, columns = torch.export.Dim("rows", min=1), torch.export.Dim("columns", min=1)
    # The exporter logs and warns about its own internals.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                deployed,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[*OUTPUTS, LOGITS],
                dynamic_shapes=({0: batch, 1: stride * rows, 2: stride * columns},),
                external_data=False,
                verbose=False,
            )
    except ModuleNotFoundError:
        raise  # an extra that is not installed, which the command line puts into words
    except Exception as exc:
        first = str(exc).strip().splitlines()[0]
        raise VerificationError(f"the network cannot be turned into ONNX ({first})") from exc
    assert program is not None
    proto = program.model_proto
    _tidy(proto)
    # Its weights, which would be copied several times, are held to their sizes by `load_model`.
    onnx.checker.check_model(without_weights(proto), full_check=True)
    return proto


def _tidy(proto: onnx.ModelProto) -> None:
    """Drop the exporter's notes (stack traces with file names) and name the dimensions."""
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for values in (proto.graph.value_info, proto.graph.input, proto.graph.output):
        for value in values:
            del value.metadata_props[:]
            value.doc_string = ""
    for tensor in proto.graph.initializer:
        del tensor.metadata_props[:]
    del proto.metadata_props[:], proto.graph.metadata_props[:]
    proto.graph.doc_string = ""
    del proto.graph.value_info[:]
    proto.producer_name = "hptl-deploy"
    for value in (*proto.graph.input, *proto.graph.output):
        dims = value.type.tensor_type.shape.dim
        places = (0, 1, 2) if len(dims) == 3 or value.name == INPUT else (0, 2, 3)
        for place, name in zip(places, ("N", "H", "W"), strict=True):
            dims[place].Clear()
            dims[place].dim_param = name
