"""A card says what a model is; it is printed, and steers how micrographs are cut."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from pathlib import Path
from typing import Any

import onnx
import pytest

from hptl_deploy.bundled import BUNDLED, bundled_models_folder
from hptl_deploy.errors import ModelError
from hptl_deploy.model import CARD_KEY, LARGEST_CARD, REACHES, ModelCard, load_model
from support.hostile_models import card_of, with_card, with_fields
from support.model_errors import sentence
from support.onnx_models import edited
from support.threshold_model import write_threshold_model

PHASE = {"key": "al", "name": "matrix", "colour": [0, 0, 0]}
OTHER = {"key": "fe", "name": "iron", "colour": [9, 9, 9]}
STEP = {
    "step": "one", "network": "fcn8s", "start": "random", "transferred": 0, "iterations": 1,
    "data": "set", "losses": {"train": 0.5}, "seconds": 1.0,
}  # fmt: skip
LACKS = "its model card lacks or misstates a field ("
WRONG = "its model card cannot be right: "
DEEP = "its model card is not JSON (lists and objects are more than 16 deep)"


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def document() -> dict[str, Any]:
    """Every field that a card may have, and one entry in each of its lists."""
    folder = bundled_models_folder()
    assert folder is not None
    model = load_model(folder / BUNDLED / "model.onnx")
    found: dict[str, Any] = json.loads(model.card.to_json())
    found["lineage"] = found["lineage"][-1:]
    found["validation"] = {"accuracy": 0.9, "phases": found["validation"]["phases"][:1]}
    return {**found, "quantised_for": "cpu"}


def probe(**fields: object) -> dict[str, object]:
    packed = {name: b64encode(zlib.compress(bytes(n * 64))).decode() for name, n in
              (("pixels", 3), ("classes", 1))}  # fmt: skip
    return {"height": 8, "width": 8, **packed, **fields}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"stride": True}, LACKS + "`stride`: expected a whole number, found True)"),
        ({"stride": 8.0}, LACKS + "`stride`: expected a whole number, found 8.0)"),
        ({"stride": "8"}, LACKS + "`stride`: expected a whole number, found '8')"),
        ({"halo": 10**30}, "its model card is not JSON (`halo` is a number beyond 64 bits)"),
        ({"bytes_per_pixel": True}, LACKS + "`bytes_per_pixel`: expected a number, found True)"),
        ({"bytes_per_pixel": 1e300}, "its model card is not JSON (`bytes_per_pixel` is a number"),
        ({"name": {"a": 1}}, LACKS + "`name`: expected a text of 1 to 500 characters, found {"),
        ({"name": None}, LACKS + "`name`: expected a text of 1 to 500 characters, found None)"),
        ({"name": ""}, LACKS + "`name`: expected a text of 1 to 500 characters, found '')"),
        ({"name": "x" * 501}, LACKS + "`name`: expected a text of 1 to 500 characters, found 'x"),
        ({"name": "a\nb"}, LACKS + "`name`: expected one line, found 'a\\nb')"),
        ({"name": "\x1b[31m"}, "its model card is not JSON (`name` holds the control character "
         "'\\x1b')"),
        ({"name": "a\u202eb"}, "its model card is not JSON (`name` holds the control character "
         "'\\u202e')"),
        ({"name": "\ud800"}, "its model card is not JSON (`name` holds the control character "
         "'\\ud800')"),
        ({"made_with": {"\x9b2J": "1"}}, "its model card is not JSON (the name of a field holds "
         "the control character '\\x9b')"),
        ({"width": {"channels": "12345", "fc": 1}}, LACKS + "`width.channels`: expected a list of "
         "whole numbers, found '12345')"),
        ({"width": {"channels": [1, 1, 1, 1, 10**9], "fc": 1}}, WRONG + "width [1, 1, 1, 1, 1000"),
        ({"lineage": {}}, LACKS + "`lineage`: expected a list, found {})"),
        ({"lineage": [{**STEP, "losses": [1]}]}, LACKS + "`lineage[0].losses`: expected an object"),
        ({"lineage": [STEP, {**STEP, "transferred": "1"}]}, LACKS + "`lineage[1].transferred`: "
         "expected a whole number, found '1')"),
        ({"lineage": [{**STEP, "data": "a\tb"}]}, LACKS + "`lineage[0].data`: expected one line"),
        ({"validation": []}, LACKS + "`validation`: expected an object, found [])"),
        ({"validation": {"phases": [1]}}, LACKS + "`validation.phases[0]`: expected an object"),
        ({"validation": {"phases": [{"key": []}]}}, LACKS + "`validation.phases[0].key`: expected"),
        ({"validation": {"accuracy": nested(17)}}, DEEP),
        ({"training": 1}, LACKS + "`training`: expected an object, found 1)"),
        ({"checks": "ok"}, LACKS + "`checks`: expected an object, found 'ok')"),
        ({"licence": {"weights": 1, "data": ""}}, LACKS + "`licence.weights`: expected a text"),
        ({"quantised_for": []}, LACKS + "`quantised_for`: expected a text"),
        ({"quantised_for": "gpu"}, WRONG + "quantised_for 'gpu' is not cpu or tensorrt"),
        ({"probe": 0}, LACKS + "`probe`: expected an object, found 0)"),
        ({"probe": probe(height=8.0)}, LACKS + "`probe.height`: expected a whole number"),
        ({"probe": probe(pixels=[])}, LACKS + "`probe.pixels`: expected a text, found [])"),
        ({"probe": probe(classes=b64encode(zlib.compress(b"\x09" * 64)).decode())},
         WRONG + "a probe with class 9 of 3 phases"),
        ({"probe": probe(pixels=b64encode(zlib.compress(bytes(2**26))).decode())},
         LACKS + "a probe with 193 bytes, expected 192)"),
        ({"phases": []}, "expected a list of 2 to 250 phases, found []"),
        ({"phases": [{**PHASE, "key": f"p{n}"} for n in range(300)]},
         "expected a list of 2 to 250 phases, found [{'key': 'p0', "),
        ({"phases": [PHASE, PHASE]}, "phase keys must differ, found al, al"),
        *(({"phases": [PHASE, {**OTHER, "key": key}]},
           "a phase's key is lower-case letters, digits and _, found ")
          for key in ("../x", "a b", "a\n", "", 1, None, "A")),
        ({"phases": [PHASE, {**OTHER, "key": "k" * 101}]}, WRONG + "phase key 'kkk"),
        ({"phases": [PHASE, {**OTHER, "name": "a\nb"}]}, WRONG + "the name of phase fe is not one "
         "line of at most 200 characters"),
        ({"phases": [PHASE, {**OTHER, "name": "\x1b[2J"}]}, "its model card is not JSON (`name` "),
        *(({"phases": [PHASE, {**OTHER, "colour": colour}]},
           "phase fe: expected a colour as three integers 0 to 255, found ")
          for colour in ([0, 0, 256], [0, 0, -1], [0, 0], [True, 0, 0], [0.0, 0, 0], "red", None)),
        ({"network": "fcn8s", "input_scale": 2, "stride": 16, "halo": 128},
         WRONG + "halo 128 is less than the 137 px that fcn8s sees round a pixel at input scale 2"),
    ],
    ids=lambda value: str(value)[:50],
)  # fmt: skip
def test_cards_that_cannot_be_right(tmp_path: Path, fields: dict[str, object], said: str) -> None:
    path = with_fields(tmp_path, **fields)
    found = sentence(lambda: load_model(path))
    assert found.startswith(f"{path}: {said}")
    assert found.isprintable()
    assert len(found) < len(str(path)) + 400


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"schema": 1, "schema": 1}', "its model card is not JSON ('schema' is stated twice)"),
        ('{"schema": true}', "expected a model card of schema 1, found True"),
        ('{"schema": 1e999}', "its model card is not JSON (`schema` is a number beyond 64 bits)"),
        ('{"schema": ' + "9" * 5000 + "}", "its model card is not JSON (Exceeds the limit"),
        ('{"schema": -Infinity}', "its model card is not JSON (-Infinity is no number)"),
        ("[" * 100_000, DEEP),
        ('{"a":' * 500 + "1" + "}" * 500, DEEP),
        ('"' + "x" * 50_000_000 + '"', "describes more than any model (16 MiB without its weights"),
        ('"' + "x" * LARGEST_CARD + '"', f"its model card is not JSON ({LARGEST_CARD + 2} "
         "characters, more than any card has)"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_texts_that_are_no_card(tmp_path: Path, text: str, said: str) -> None:
    path = with_card(tmp_path, text)
    assert sentence(lambda: load_model(path)).startswith(f"{path}: {said}")


def test_two_cards(tmp_path: Path) -> None:
    def twice(model: onnx.ModelProto) -> None:
        model.metadata_props.add(key=CARD_KEY, value=json.dumps(card_of(model)))

    path = edited(tmp_path, twice)
    assert sentence(lambda: load_model(path)) == (
        f"{path}: carries 2 model cards (ONNX metadata `{CARD_KEY}`). Only models written by "
        "`hptl-deploy export` can be used"
    )


VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 0.5, 1e18, 2**64, 10**40, "", "x", "\x1b[2J", "a\nb", [], [[]], [1],
    ["x"], {}, {"": None}, {"key": []},
)  # fmt: skip


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a document."""
    entries: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        entries = list(value.items())
    elif isinstance(value, list):
        entries = list(enumerate(value))
    return [path, *(place for key, inner in entries for place in places(inner, (*path, key)))]


def test_any_value_in_any_place_is_a_card_or_a_sentence() -> None:
    """Which of both is for the tests above; here it is that nothing else happens."""
    whole = document()
    refused = taken = 0
    for place in places(whole)[1:]:
        for value in VALUES:
            changed = json.loads(json.dumps(whole))
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = value
            try:
                card = ModelCard.from_json(json.dumps(changed), "m.onnx")
            except ModelError as exc:
                assert str(exc).isprintable()
                refused += 1
            else:
                assert ModelCard.from_json(card.to_json(), "m.onnx") == card
                taken += 1
    assert refused > taken > 100


def test_reaches_are_what_the_networks_have() -> None:
    reach = pytest.importorskip("hptl_train.networks.reach").reach
    for network, pixels in REACHES.items():
        assert pixels == tuple(reach(network, scale) for scale in (1, 2, 3, 4))


def test_a_halo_of_the_reach_is_enough(tmp_path: Path) -> None:
    path = with_fields(tmp_path, network="fcn8s", input_scale=2, stride=16, halo=144)
    assert load_model(path).card.halo == 144


def test_what_a_card_may_say(tmp_path: Path) -> None:
    """Other scripts, lines in free texts, scores that are not known."""
    path = with_fields(
        tmp_path,
        name="µm größe 日本 فاز\u200cآهن",
        licence={"weights": "a\n\tb", "data": ""},
        validation={"accuracy": None, "phases": [{"key": "al", "iou": None}]},
        lineage=[{**STEP, "seconds": None}],
    )
    card = load_model(path).card
    assert card.weights_licence == "a\n\tb"
    assert load_model(write_threshold_model(tmp_path)).card.lineage == ()
