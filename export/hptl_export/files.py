"""The exported file: written with its card, and with its logits shown or hidden. No torch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from hptl_deploy.engines.onnxruntime import load_onnxruntime, session_options
from hptl_deploy.model import CARD_KEY, INPUT, ModelCard

LOGITS = "logits"

Logits: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""float32 [K, H, W] of a frame uint8 [H, W, 3]."""


def without_logits(shown: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with the logits inside only."""
    proto = onnx.ModelProto()
    proto.CopyFrom(shown)
    (place,) = (n for n, value in enumerate(proto.graph.output) if value.name == LOGITS)
    del proto.graph.output[place]
    return proto


def with_logits(published: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with the logits, which it keeps inside, as a third output."""
    proto = onnx.ModelProto()
    proto.CopyFrom(published)
    shape = ["N", "K", "H", "W"]
    proto.graph.output.append(
        onnx.helper.make_tensor_value_info(LOGITS, onnx.TensorProto.FLOAT, shape)
    )
    return proto


def write_model(proto: onnx.ModelProto, card: ModelCard, path: Path) -> None:
    """Write the graph with its card inside, one file."""
    del proto.metadata_props[:]
    proto.metadata_props.add(key=CARD_KEY, value=card.to_json())
    path.write_bytes(proto.SerializeToString())


@contextmanager
def onnx_logits(shown: onnx.ModelProto) -> Iterator[Logits]:
    """What ONNX Runtime gives as the logits of a graph that shows them."""
    ort = load_onnxruntime()
    # What the numbers of the graph mean, not what this processor makes of them: that is the
    # probe's part.
    options = session_options(ort, exact_int8=True)
    # On Windows the file cannot be removed while the session holds it.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "logits.onnx"
        path.write_bytes(shown.SerializeToString())
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        def logits(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
            (found,) = session.run([LOGITS], {INPUT: frame[None]})
            shown_logits: NDArray[np.float32] = found[0]
            return shown_logits

        yield logits
