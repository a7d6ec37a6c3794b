from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto

from hptl_deploy.lineage import LineageStep
from hptl_deploy.model import (
    CARD_KEY,
    ModelCard,
    load_model,
)
from hptl_deploy.phases import PAPER_PHASES
from support.model_errors import sentence
from support.onnx_models import edited, value
from support.threshold_model import write_threshold_model

CARD = ModelCard(
    name="µm größe 日本",
    network="segmenter",
    channels=(64, 128, 256, 512, 512),
    fc=4096,
    phases=PAPER_PHASES,
    input_scale=4,
    stride=8,
    halo=96,
    bytes_per_pixel=1234.5,
    pixel_size_um=0.088,
    synthetic=True,
    precision="fp16",
    lineage=(LineageStep("one", "vgg19", "random", 0, 100, "set (abc)", {"train": 0.5}),),
    validation={"accuracy": 0.9, "mean_iou": 0.8, "phases": []},
    checks={"halo": "ok"},
    weights_licence="Apache-2.0",
    data_licence="CC0-1.0",
    made_with={"torch": "2"},
)


def test_a_card_comes_back_as_it_was() -> None:
    assert ModelCard.from_json(CARD.to_json(), "x") == CARD
    bare = replace(
        CARD,
        pixel_size_um=None,
        synthetic=False,
        lineage=(),
        validation={},
        checks={},
        made_with={},
    )
    assert ModelCard.from_json(bare.to_json(), "x") == bare


def test_a_card_of_before_synthetic_data_were_told_apart() -> None:
    assert ModelCard.from_json(without("synthetic"), "x") == replace(CARD, synthetic=False)


def test_a_model_file_comes_with_its_card_and_hash(tmp_path: Path) -> None:
    path = write_threshold_model(tmp_path)
    model = load_model(path)
    assert (model.path, model.card.name, model.card.stride) == (path, "threshold", 8)
    assert len(model.sha256) == 64


def changed(**values: object) -> str:
    document: dict[str, Any] = json.loads(CARD.to_json())
    return json.dumps({**document, **values})


def without(key: str) -> str:
    document: dict[str, Any] = json.loads(CARD.to_json())
    del document[key]
    return json.dumps(document)


NO_JSON = "m.onnx: its model card is not JSON ("
LACKS = "m.onnx: its model card lacks or misstates a field ("
WRONG = "m.onnx: its model card cannot be right: "


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("", "m.onnx: its model card is not JSON ("),
        ("{", "m.onnx: its model card is not JSON ("),
        ("[" * 200_000, "m.onnx: its model card is not JSON ("),
        ("[]", "m.onnx: expected a model card of schema 1, found []"),
        ("null", "m.onnx: expected a model card of schema 1, found None"),
        (changed(schema=2), "m.onnx: expected a model card of schema 1, found 2"),
        *((without(key), f"{LACKS}no '{key}')") for key in (
            "name", "network", "width", "input_scale", "stride", "halo", "bytes_per_pixel",
            "pixel_size_um", "precision", "lineage", "validation", "licence", "phases",
        )),
        (changed(stride="eight"), f"{LACKS}`stride`: expected a whole number, found 'eight')"),
        (changed(stride=float("nan")), f"{NO_JSON}NaN is no number)"),
        (changed(stride=float("inf")), f"{NO_JSON}Infinity is no number)"),
        (changed(halo=None), f"{LACKS}`halo`: expected a whole number, found None)"),
        (changed(width=[1, 2]), LACKS),
        (changed(lineage=[{"step": "one"}]), LACKS),
        (changed(lineage=["one"]), LACKS),
        (changed(licence="MIT"), LACKS),
        (changed(validation=3), LACKS),
        (changed(phases={}), "m.onnx: expected a list of 2 to 250 phases, found {}"),
        (changed(phases=[{"key": "A b", "name": "a", "colour": [0, 0, 0]}] * 2),
         "m.onnx: a phase's key is lower-case letters, digits and _, found 'A b'"),
        (changed(phases=[{"key": "a", "name": "a", "colour": [0, 0, 0]}] * 2),
         "m.onnx: phase keys must differ, found a, a"),
        (changed(phases=[{"key": "a", "name": "a", "colour": [0, 0, 256]}] * 2),
         "m.onnx: phase a: expected a colour as three integers 0 to 255, found [0, 0, 256]"),
        (changed(input_scale=5), WRONG + "input_scale 5 is not 1, 2, 3 or 4"),
        (changed(stride=0), WRONG + "stride 0 is not 1 to 1024"),
        (changed(stride=-8), WRONG + "stride -8 is not 1 to 1024"),
        (changed(halo=97), WRONG + "halo 97 is not a multiple of the stride, 0 to 8192"),
        (changed(halo=-8), WRONG + "halo -8 is not a multiple of the stride, 0 to 8192"),
        (changed(halo=80000), WRONG + "halo 80000 is not a multiple of the stride, 0 to 8192"),
        (changed(bytes_per_pixel=0), WRONG + "bytes_per_pixel 0.0 is not plausible"),
        (changed(bytes_per_pixel=float("nan")), f"{NO_JSON}NaN is no number)"),
        (changed(bytes_per_pixel=1e9), WRONG + "bytes_per_pixel 1000000000.0 is not plausible"),
        (changed(pixel_size_um=-1), WRONG + "pixel_size_um -1.0 is not plausible"),
        (changed(pixel_size_um=float("nan")), f"{NO_JSON}NaN is no number)"),
        (changed(synthetic="no"), f"{LACKS}`synthetic`: expected true or false, found 'no')"),
        (changed(synthetic=None), f"{LACKS}`synthetic`: expected true or false, found None)"),
        (changed(precision="fp64"), WRONG + "precision 'fp64' is not fp32, fp16 or int8"),
        (changed(width={"channels": [], "fc": 1}), WRONG + "width [], fc 1 is not 5 channels"),
        (changed(width={"channels": [1] * 5, "fc": 0}), WRONG + "width [1, 1, 1, 1, 1], fc 0 is"),
        (changed(stride=0, input_scale=0),
         WRONG + "input_scale 0 is not 1, 2, 3 or 4; stride 0 is not 1 to 1024"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_card_that_cannot_be_right(text: str, begins: str) -> None:
    found = sentence(lambda: ModelCard.from_json(text, "m.onnx"))
    assert found.startswith(begins)


def test_a_file_without_a_card(tmp_path: Path) -> None:
    path = edited(tmp_path, lambda model: model.ClearField("metadata_props"))
    assert sentence(lambda: load_model(path)) == (
        f"{path}: carries no model card (ONNX metadata `{CARD_KEY}`). Only models written by "
        "`hptl-deploy export` can be used"
    )


def _replace_input(model: onnx.ModelProto, *values: onnx.ValueInfoProto) -> None:
    del model.graph.input[:]
    model.graph.input.extend(values)


def _replace_output(model: onnx.ModelProto, *values: onnx.ValueInfoProto) -> None:
    del model.graph.output[:]
    model.graph.output.extend(values)


NHW: list[str | int] = ["N", "H", "W"]


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (lambda m: _replace_input(m, value("image", [*NHW, 3])), "inputs image (uint8, rank 4)"),
        (lambda m: _replace_input(m, value("micrograph", [*NHW, 3], TensorProto.FLOAT)),
         "inputs micrograph (float, rank 4)"),
        (lambda m: _replace_input(m, value("micrograph", NHW)), "micrograph (uint8, rank 3)"),
        (_replace_input, "inputs none and"),
        (lambda m: _replace_input(m, value("micrograph", [*NHW, 3]), value("mask", NHW)),
         "inputs micrograph (uint8, rank 4), mask (uint8, rank 3)"),
        (lambda m: _replace_output(m, value("classes", NHW)), "outputs classes (uint8, rank 3)"),
        (lambda m: _replace_output(m, value("confidence", NHW), value("classes", NHW)),
         "outputs confidence (uint8, rank 3), classes (uint8, rank 3)"),
        (lambda m: _replace_output(m, value("classes", NHW),
                                   value("confidence", NHW, TensorProto.FLOAT)),
         "outputs classes (uint8, rank 3), confidence (float, rank 3)"),
        (lambda m: _replace_output(m, value("classes", [*NHW, 1]), value("confidence", NHW)),
         "outputs classes (uint8, rank 4), confidence (uint8, rank 3)"),
    ],
)  # fmt: skip
def test_other_inputs_and_outputs(
    tmp_path: Path, edit: Callable[[onnx.ModelProto], None], found: str
) -> None:
    path = edited(tmp_path, edit)
    text = sentence(lambda: load_model(path))
    assert text.startswith(
        f"{path}: expected input micrograph (uint8, rank 4) and outputs classes and confidence "
        "(uint8, rank 3), found inputs "
    )
    assert found in text


@pytest.mark.parametrize("location", ["../../secret.bin", "/etc/hostname", "weights.bin"])
def test_weights_outside_the_file(tmp_path: Path, location: str) -> None:
    def move_out(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", location

    path = tmp_path / "m.onnx"
    model = onnx.load(str(write_threshold_model(tmp_path)))
    move_out(model)
    path.write_bytes(model.SerializeToString())
    assert sentence(lambda: load_model(path)) == (
        f"{path}: keeps weights outside the file ({location}); expected one file that holds "
        "everything. Export the model again with this version"
    )


def test_files_that_are_no_model(tmp_path: Path) -> None:
    whole = write_threshold_model(tmp_path / "models").read_bytes()
    cut, empty, text = (tmp_path / name for name in ("cut.onnx", "empty.onnx", "text.onnx"))
    cut.write_bytes(whole[: len(whole) // 2])
    empty.write_bytes(b"")
    text.write_text("this is no model")
    broken = "is not a whole ONNX file. Copy or export it again"
    assert sentence(lambda: load_model(cut)) == f"{cut}: {broken}"
    assert sentence(lambda: load_model(text)) == f"{text}: {broken}"
    assert sentence(lambda: load_model(empty)) == f"{empty}: is empty. Copy or export it again"
    gone = tmp_path / "gone.onnx"
    assert sentence(lambda: load_model(gone)) == f"{gone}: cannot be read ({os.strerror(2)})"
    assert sentence(lambda: load_model(tmp_path)).startswith(f"{tmp_path}: cannot be read (")
    other = tmp_path / "model.json"
    other.write_text("{")
    assert sentence(lambda: load_model(other)) == f"{other}: {broken}"


def test_a_file_cut_anywhere_is_one_sentence(tmp_path: Path) -> None:
    whole = write_threshold_model(tmp_path).read_bytes()
    path = tmp_path / "cut.onnx"
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        assert sentence(lambda: load_model(path)).startswith(f"{path}: ")


def test_a_card_that_is_no_text(tmp_path: Path) -> None:
    path = write_threshold_model(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"schema"', b'"sch\xff\xfea"'))
    assert sentence(lambda: load_model(path)).startswith(f"{path}: ")
