"""Changes to a model file: its fields as they are written, its graph, and the card inside."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import onnx

from fuzz.mutations import BLIND, INTERESTING, mutated
from hptl_deploy.bundled import BUNDLED, bundled_models_folder
from support.hostile_models import card_of, length, mutated_graph, set_card
from support.onnx_models import argmax_graph, with_graph
from support.threshold_model import write_threshold_model

_TEXTS = (
    "", "x", "al", "a\nb", "\x1b[2J", "\u202e", "\ud800", "../x", "é" * 300, "x" * 5000, "nan",
    "8", "true", "\0", "fp16", "int8", "cpu", "tensorrt", "fcn8s", "fcn32s", "threshold",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0.5, -0.0, 1e308, -1e-308, 1e18, [], {}, [[]], [1], {"": None}, {"key": []},
    *_TEXTS, *INTERESTING, *(-number for number in INTERESTING[:20]), 10**400,
)  # fmt: skip
_LOOSE = ("NaN", "-Infinity", "1e999", "01", "[" * 5000, '{"a":1,"a":2}', '"\\ud800"', "\x7f", "")
"""What is not quite JSON, in a value's place."""


@cache
def model_seeds() -> tuple[bytes, ...]:
    """Two small graphs, whose cards have every field, and one plain card."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = (
            write_threshold_model(folder, smoothing=2),
            write_threshold_model(folder, name="plain", stride=4),
            with_graph(folder / "argmax", argmax_graph([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])),
        )
        models = [onnx.load(str(path)) for path in paths]
    for model in (models[0], models[2]):
        set_card(model, json.dumps({**_full_card(), **_kept(card_of(model))}))
    return tuple(model.SerializeToString() for model in models)


def _kept(card: dict[str, Any]) -> dict[str, Any]:
    return {key: card[key] for key in ("name", "network", "stride", "halo", "input_scale")}


@cache
def _full_card() -> dict[str, Any]:
    """The bundled model's: lineage, scores, checks, a probe."""
    folder = bundled_models_folder()
    assert folder is not None
    return card_of(onnx.load(str(folder / BUNDLED / "model.onnx")))


def mutated_model(chance: random.Random) -> bytes:
    """One of the seeds after one to four changes of one kind."""
    seeds = model_seeds()
    content = chance.choice(seeds)
    kind = chance.random()
    if kind < 0.25:
        return mutated(content, seeds, (_wire,), chance)
    model = onnx.load_from_string(content)
    if kind < 0.55:
        model = mutated_graph(model, chance.getrandbits(32))
        if kind < 0.32:
            _change_interface(model, chance)
        return bytes(model.SerializeToString())
    text = _changed_card(card_of(model), chance)
    try:
        set_card(model, text)
    except (UnicodeError, ValueError):  # halves of characters do not go into the file as text
        (entry,) = (e for e in model.metadata_props if e.key == "hptl_deploy")
        entry.value = "?"
        return bytes(model.SerializeToString()).replace(
            b"?", text.encode("utf-8", "surrogatepass"), 1
        )
    return bytes(model.SerializeToString())


def _changed_card(card: dict[str, Any], chance: random.Random) -> str:
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        holder, key = chance.choice(_places(card))
        match chance.randrange(6):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, list):
                holder += [holder[key]] * chance.choice((1, 2, 300))
            case 1:
                holder[chance.choice(_TEXTS)] = holder[key]
            case 2:
                other, place = chance.choice(_places(card))
                # A copy: what holds itself cannot be written.
                holder[key] = json.loads(json.dumps(other[place]))
            case 3 if isinstance(holder[key], str):
                holder[key] = _changed_text(holder[key], chance)
            case _:
                holder[key] = chance.choice(_VALUES)
        if not _places(card):
            break
    text = json.dumps(card, ensure_ascii=chance.random() < 0.5)
    kind = chance.random()
    if kind < 0.1:
        place = text.find(":", chance.randrange(len(text))) + 1
        return text[:place] + chance.choice(_LOOSE) + text[place:]
    if kind < 0.25:
        return _changed_text(text, chance)
    return text


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) of a document."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))[:50]
    inner = [place for key in keys for place in _places(value[key])]
    return [*((value, key) for key in keys), *inner]


def _changed_text(text: str, chance: random.Random) -> str:
    changed = chance.choice(BLIND)(bytearray(text.encode("utf-8", "replace") or b"x"), chance)
    return changed.decode("latin-1" if chance.random() < 0.3 else "utf-8", "replace")


def _change_interface(model: onnx.ModelProto, chance: random.Random) -> None:
    """Inputs, outputs, versions, metadata, and what else a model may hold."""
    graph, number = model.graph, chance.choice((*INTERESTING[:20], -1, 2**31 - 1, 2**62))
    values = (*graph.input, *graph.output)
    changes: Sequence[Callable[[], Any]] = (
        lambda: setattr(model, "ir_version", number),
        lambda: setattr(chance.choice(model.opset_import), "version", number),
        lambda: model.opset_import.add(domain=chance.choice(_TEXTS[:6]), version=number),
        lambda: setattr(chance.choice(values), "name", chance.choice(_TEXTS[:5])),
        lambda: setattr(chance.choice(values).type.tensor_type, "elem_type", number % 2**31),
        lambda: chance.choice(values).type.tensor_type.shape.dim.add(dim_value=number),
        lambda: setattr(
            chance.choice(chance.choice(values).type.tensor_type.shape.dim), "dim_value", number
        ),
        lambda: graph.output.append(chance.choice(values)),
        lambda: graph.value_info.append(chance.choice(values)),
        lambda: model.metadata_props.add(key=chance.choice(_TEXTS[:6]), value="x"),
        lambda: graph.node.append(chance.choice(graph.node)),
        lambda: chance.choice(graph.node).attribute.add(name="axis", type=2, i=number),
        lambda: graph.initializer.append(chance.choice(graph.initializer)),
        lambda: setattr(chance.choice(graph.node), "domain", chance.choice(_TEXTS[:6])),
    )
    chance.choice(changes)()


def _wire(content: bytearray, chance: random.Random) -> bytearray:
    """One field as protocol buffers write them: its length, its kind, once more, or away."""
    fields = _fields(bytes(content))
    if not fields:
        return content
    start, body, end = chance.choice(fields)
    match chance.randrange(5):
        case 0:
            content[start] = content[start] & 0xF8 | chance.randrange(8)
        case 1:
            number = chance.choice((chance.randrange(32), chance.randrange(2000)))
            content[start : start + 1] = length(number << 3 | content[start] & 7)
        case 2:
            content[start + 1 : body] = length(chance.choice(INTERESTING))
        case 3:
            place = chance.choice(fields)[0]
            content[place:place] = content[start:end] * chance.choice((1, 2, 50))
        case _:
            del content[start:end]
    return content


def _fields(content: bytes, begin: int = 0, depth: int = 0) -> list[tuple[int, int, int]]:
    """(start, content, end) of every field that holds bytes, those inside of others too."""
    found: list[tuple[int, int, int]] = []
    at = begin
    while at < len(content) and len(found) < 400:
        start, (key, at) = at, _number(content, at)
        size = 0
        if key & 7 == 2:
            size, at = _number(content, at)
        elif key & 7 == 0:
            _, at = _number(content, at)
        else:
            at += {1: 8, 5: 4}.get(key & 7, len(content))
        if at + size > len(content) or not key >> 3:
            return [] if depth else found
        if key & 7 == 2:
            found.append((start, at, at + size))
            if depth < 4 and size:
                inner = _fields(content[: at + size], at, depth + 1)
                found += inner
        at += size
    return found


def _number(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(content):
        value |= (content[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if content[at - 1] < 128:
            break
    return value, at
