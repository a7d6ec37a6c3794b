"""Model files as nobody means well would write them: bytes, graphs and cards."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hptl_deploy.model import CARD_KEY, load_model
from support.model_errors import sentence
from support.onnx_models import edited
from support.threshold_model import write_threshold_model

Edit = Callable[[onnx.ModelProto], None]

NUMBERS = (0, -1, 1, 2, 3, 7, 255, 65535, 2**31 - 1, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63))
"""Where sums, products and casts of libraries go wrong."""


def refusal(path: Path) -> str:
    """What is said of the file, without its name."""
    found = sentence(lambda: load_model(path))
    assert found.startswith(f"{path}: ")
    assert len(found) < len(str(path)) + 500
    return found.removeprefix(f"{path}: ")


def length(value: int) -> bytes:
    """A number as protocol buffers write it."""
    low = bytes([value & 127 | 128]) if value > 127 else bytes([value])
    return low + length(value >> 7) if value > 127 else low


def card_of(model: onnx.ModelProto) -> dict[str, Any]:
    """The card's document."""
    (text,) = (entry.value for entry in model.metadata_props if entry.key == CARD_KEY)
    document: dict[str, Any] = json.loads(text)
    return document


def set_card(model: onnx.ModelProto, text: str) -> None:
    """Put `text` in the card's place."""
    (entry,) = (entry for entry in model.metadata_props if entry.key == CARD_KEY)
    entry.value = text


def with_card(folder: Path, text: str) -> Path:
    """The threshold model with this card."""
    return edited(folder, lambda model: set_card(model, text))


def with_fields(folder: Path, **fields: object) -> Path:
    """The threshold model with these fields of its card changed."""
    path = write_threshold_model(folder)
    document = card_of(onnx.load(str(path)))
    return with_card(folder, json.dumps({**document, **fields}))


def add_node(kind: str, *inputs: str, **attributes: Any) -> Edit:
    """An edit: one more node, at the end, which takes `inputs` and gives `extra`."""

    def edit(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node(kind, inputs, ["extra"], **attributes))

    return edit


def add_tensor(name: str, array: np.ndarray[Any, Any]) -> Edit:
    """An edit: one more initialiser."""
    return lambda model: model.graph.initializer.append(numpy_helper.from_array(array, name))


def both(*edits: Edit) -> Edit:
    """One edit after the other."""

    def edit(model: onnx.ModelProto) -> None:
        for one in edits:
            one(model)

    return edit


def outside(tensor: TensorProto, location: str) -> TensorProto:
    """The same tensor with its numbers in another file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def inner_graph(tensor: TensorProto | None = None) -> onnx.GraphProto:
    """A graph for a branch or a loop's body, with a weight of its own."""
    return helper.make_graph(
        [helper.make_node("Identity", ["grey"], ["inner"])],
        "inner",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
        [] if tensor is None else [tensor],
    )


def mutated_bytes(content: bytes, seed: int) -> bytes:
    """One to four bytes flipped, set, lost or put in."""
    chance, changed = random.Random(seed), bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = chance.randrange(len(changed))
        match chance.randrange(4):
            case 0:
                changed[place] ^= 1 << chance.randrange(8)
            case 1:
                changed[place] = chance.choice((0, 1, 127, 128, 255))
            case 2:
                del changed[place : place + chance.choice((1, 2, 8))]
            case _:
                changed[place:place] = chance.randbytes(chance.choice((1, 2, 8)))
    return bytes(changed)


def mutated_graph(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """A copy with one to three sound fields of its graph made unsound: what bytes seldom hit."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    chance = random.Random(seed)
    for _ in range(chance.choice((1, 1, 2, 3))):
        chance.choice((_attribute, _operator, _wiring, _weight, _order))(changed.graph, chance)
    return changed


def _attribute(graph: onnx.GraphProto, chance: random.Random) -> None:
    found = [a for node in graph.node for a in node.attribute if a.ints or a.type == a.INT]
    attribute = chance.choice(found)
    if not attribute.ints:
        attribute.i = chance.choice(NUMBERS)
    elif chance.random() < 0.5:
        attribute.ints[chance.randrange(len(attribute.ints))] = chance.choice(NUMBERS)
    else:
        attribute.ints.append(chance.choice(NUMBERS))


@cache
def _operators() -> list[str]:
    return sorted({schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain})


def _operator(graph: onnx.GraphProto, chance: random.Random) -> None:
    chance.choice(graph.node).op_type = chance.choice(_operators())


def _wiring(graph: onnx.GraphProto, chance: random.Random) -> None:
    node = chance.choice(graph.node)
    values = [name for other in graph.node for name in other.output]
    values += ["", "micrograph", *(tensor.name for tensor in graph.initializer)]
    names = chance.choice((node.input, node.input, node.output))
    if names and chance.random() < 0.6:
        names[chance.randrange(len(names))] = chance.choice(values)
    elif names and chance.random() < 0.5:
        del names[chance.randrange(len(names))]
    else:
        names.append(chance.choice(values))


def _weight(graph: onnx.GraphProto, chance: random.Random) -> None:
    tensor = chance.choice(graph.initializer)
    part = chance.randrange(5)
    if part == 0:
        tensor.dims.append(chance.choice(NUMBERS))
    elif part == 1:
        tensor.data_type = chance.randrange(24)
    elif tensor.data_type == TensorProto.INT64:
        count = len(tensor.raw_data) // 8
        tensor.raw_data = chance.choice(NUMBERS).to_bytes(8, sys.byteorder, signed=True) * count
    elif part == 2:
        tensor.raw_data = tensor.raw_data[: chance.randrange(len(tensor.raw_data) + 1)]
    else:
        tensor.raw_data = chance.randbytes(len(tensor.raw_data))


def _order(graph: onnx.GraphProto, chance: random.Random) -> None:
    place = chance.randrange(len(graph.node))
    if chance.random() < 0.5:
        del graph.node[place]
    else:
        graph.node.insert(0, graph.node[place])
