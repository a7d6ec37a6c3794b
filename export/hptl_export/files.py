"""The exported file: written with its card, and with its logits shown or hidden. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from hptl_deploy.engines.onnxruntime import load_onnxruntime, session_options
from hptl_deploy.files import atomic_path
from hptl_deploy.model import CARD_KEY, INPUT, Model, ModelCard, load_model

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


class Draft:
    """A model file in the making: its graph is written once, its card as often as it changes.

    What follows in a protocol buffer is merged with what went before, so the card lies behind the
    weights, where the whole model written at once would have it, too.
    """

    def __init__(self, proto: onnx.ModelProto, path: Path) -> None:
        """Write `proto`, still without a card, to `path`."""
        self.path = path
        del proto.metadata_props[:]
        content = proto.SerializeToString()
        path.write_bytes(content)
        self._length = len(content)
        self._hash = hashlib.sha256(content)

    def put(self, card: ModelCard) -> Model:
        """Write `card` in place of the one before; the file as it is now, not yet read again."""
        entry = onnx.StringStringEntryProto(key=CARD_KEY, value=card.to_json())
        content = onnx.ModelProto(metadata_props=[entry]).SerializeToString()
        with self.path.open("rb+") as file:
            file.truncate(self._length)
            file.seek(self._length)
            file.write(content)
        whole = self._hash.copy()
        whole.update(content)
        return Model(self.path, card, whole.hexdigest())


def write_model(proto: onnx.ModelProto, card: ModelCard, path: Path) -> Model:
    """Write the graph with its card inside, one file."""
    return Draft(proto, path).put(card)


def replace_card(path: Path, proto: onnx.ModelProto, card: ModelCard) -> Model:
    """Write the model file `path` of the graph `proto` with another card, whole or not at all."""
    with atomic_path(path) as temporary:
        write_model(proto, card, temporary)
    return load_model(path)


@contextmanager
def onnx_logits(shown: onnx.ModelProto) -> Iterator[Logits]:
    """What ONNX Runtime gives as the logits of a graph that shows them."""
    ort = load_onnxruntime()
    # What the numbers of the graph mean, not what this processor makes of them: that is the
    # probe's part.
    options = session_options(ort, exact_int8=True)
    session = ort.InferenceSession(
        shown.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def logits(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        (found,) = session.run([LOGITS], {INPUT: frame[None]})
        shown_logits: NDArray[np.float32] = found[0]
        return shown_logits

    yield logits
