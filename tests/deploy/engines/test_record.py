from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from hptl_deploy.engines.machine import Card
from hptl_deploy.engines.record import (
    EngineRecord,
    Fit,
    Profiles,
    mismatch,
    read_engine,
    read_record,
    record_path,
)
from support.model_errors import sentence

CONTENT = b"an engine" * 100
PROFILES = Profiles((1, 1920, 2560), (1, 32, 32), (1, 1600, 1600), (4, 1600, 1600))
FIT = Fit(
    onnx_sha256="a" * 64,
    flavour="tensorrt",
    version="11.0.0.114",
    precision="fp16",
    gpu=Card("NVIDIA H200", "9.0"),
    driver="580.65.06",
    os=("linux-x86_64",),
    profiles=PROFILES,
)
RECORD = EngineRecord(
    **vars(FIT),
    engine_sha256=hashlib.sha256(CONTENT).hexdigest(),
    made_with={"hptl-deploy": "0.1.0", "seconds": "3.1"},
)
PORTABLE = replace(
    RECORD,
    flavour="tensorrt-rtx",
    gpu=("8.0", "12.0"),
    driver=None,
    os=("linux-x86_64", "windows-x86_64"),
)

CHANGES: list[tuple[str, object, str]] = [
    ("onnx_sha256", "b" * 64, "model file: built from aaaaaaaaaaaa, now bbbbbbbbbbbb"),
    ("flavour", "tensorrt-rtx", "flavour: built for tensorrt, now tensorrt-rtx"),
    ("version", "11.1.0.1", "version: built with 11.0.0.114, now 11.1.0.1"),
    ("precision", "fp32", "precision: built with fp16, now fp32"),
    ("gpu", Card("NVIDIA H100", "9.0"), "gpu: built for NVIDIA H200 (9.0), now NVIDIA H100 (9.0)"),
    ("gpu", ("8.0", "8.6"), "gpu: built for NVIDIA H200 (9.0), now 8.0, 8.6"),
    ("driver", "590.1", "driver: built with 580.65.06, now 590.1"),
    ("driver", None, "driver: built with 580.65.06, now none"),
    ("os", ("windows-x86_64",), "os: built for linux-x86_64, now windows-x86_64"),
    ("profiles", replace(PROFILES, frame=(1, 2048, 2048)),
     "profiles: built for frame 1x1920x2560, tiles 1x32x32 to 4x1600x1600, now frame "
     "1x2048x2048, tiles 1x32x32 to 4x1600x1600"),
]  # fmt: skip


def engine_file(folder: Path, record: EngineRecord = RECORD) -> Path:
    """An engine's file with its record beside it."""
    path = folder / record.file_name()
    path.write_bytes(CONTENT)
    record_path(path).write_text(record.to_json(), encoding="utf-8")
    return path


@pytest.mark.parametrize("record", [RECORD, PORTABLE], ids=["card", "portable"])
def test_a_record_comes_back_as_it_was(record: EngineRecord) -> None:
    assert EngineRecord.from_json(record.to_json(), "x") == record


def test_every_field_that_decides_is_named_and_changes_the_key() -> None:
    assert {name for name, _, _ in CHANGES} == {field.name for field in fields(Fit)}
    assert mismatch(RECORD, FIT) is None
    for name, changed, text in CHANGES:
        here = replace(FIT, **{name: changed})  # type: ignore[arg-type]
        assert mismatch(RECORD, here) == text
        assert here.key() != FIT.key()


def test_all_that_changed_is_named() -> None:
    here = replace(FIT, version="12.0", driver="590.1")
    assert mismatch(RECORD, here) == (
        "version: built with 11.0.0.114, now 12.0; driver: built with 580.65.06, now 590.1"
    )


def test_the_key_is_that_of_what_decides() -> None:
    assert FIT.key() == RECORD.key() == replace(RECORD, made_with={}, engine_sha256="0" * 64).key()
    assert FIT.file_name() == f"fp16-tensorrt-{FIT.key()}.engine"
    assert len(FIT.key()) == 12
    assert int(FIT.key(), 16) >= 0


def test_an_engine_that_fits_is_read(tmp_path: Path) -> None:
    path = engine_file(tmp_path)
    assert path.with_suffix(".json") == record_path(path)
    assert read_engine(path, FIT) == (RECORD, CONTENT)


@pytest.mark.parametrize(("name", "changed", "text"), CHANGES)
def test_an_engine_that_does_not_fit_is_not_read(
    tmp_path: Path, name: str, changed: object, text: str
) -> None:
    path = engine_file(tmp_path)
    path.unlink()  # reading it would fail with another sentence
    here = replace(FIT, **{name: changed})  # type: ignore[arg-type]
    assert sentence(lambda: read_engine(path, here)) == f"{path}: does not fit here ({text})"


@pytest.mark.parametrize("content", [CONTENT[:-1], b"", CONTENT[:-1] + b"?", CONTENT + b"\0"])
def test_another_file_than_the_one_that_was_built(tmp_path: Path, content: bytes) -> None:
    path = engine_file(tmp_path)
    path.write_bytes(content)
    found = hashlib.sha256(content).hexdigest()
    assert sentence(lambda: read_engine(path, FIT)) == (
        f"{path}: is not the file that was built (sha256 {found[:12]}, its record says "
        f"{RECORD.engine_sha256[:12]})"
    )


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    path = engine_file(tmp_path)
    path.unlink()
    assert sentence(lambda: read_engine(path, FIT)) == (
        f"{path}: cannot be read (No such file or directory)"
    )
    record_path(path).unlink()
    assert sentence(lambda: read_record(path)) == (
        f"{record_path(path)}: the engine's record cannot be read (No such file or directory)"
    )


def changed(**values: object) -> str:
    document: dict[str, Any] = json.loads(RECORD.to_json())
    return json.dumps({**document, **values})


def without(key: str) -> str:
    document: dict[str, Any] = json.loads(RECORD.to_json())
    del document[key]
    return json.dumps(document)


def tiles(**values: object) -> str:
    shapes = {"min": [1, 8, 8], "opt": [1, 8, 8], "max": [1, 8, 8], **values}
    return changed(profiles={"frame": [1, 8, 8], "tiles": shapes})


NOT_JSON = "r.json: the engine's record is not JSON ("
LACKS = "r.json: the engine's record lacks or misstates a field ("


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("", NOT_JSON),
        (RECORD.to_json()[:-5], NOT_JSON),
        ("[" * 50_000, NOT_JSON),
        ("[]", "r.json: expected an engine's record of schema 1, found []"),
        ("null", "r.json: expected an engine's record of schema 1, found None"),
        (changed(schema=2), "r.json: expected an engine's record of schema 1, found 2"),
        (changed(schema="9" * 99), "r.json: expected an engine's record of schema 1, found '999"),
        *((without(field.name), f"{LACKS}no '{field.name}')") for field in fields(EngineRecord)),
        (changed(onnx_sha256="abc"), LACKS + "expected a SHA-256, found 'abc')"),
        (changed(engine_sha256=7), LACKS + "expected a text, found 7)"),
        (changed(engine_sha256="A" * 64), LACKS + "expected a SHA-256, found 'AAA"),
        (changed(flavour="openvino"),
         LACKS + "expected tensorrt or tensorrt-rtx, found 'openvino')"),
        (changed(precision="fp64"), LACKS + "expected fp32 or fp16 or int8, found 'fp64')"),
        (changed(version=""), LACKS + "expected a text, found '')"),
        (changed(driver=580), LACKS + "expected a text, found 580)"),
        (changed(driver="a\nb"), LACKS + "expected a text, found 'a\\nb')"),
        (changed(os="linux"), LACKS + "expected a list, found 'linux')"),
        (changed(os=[]), LACKS + "expected a list, found [])"),
        (changed(gpu=[]), LACKS + "expected a list, found [])"),
        (changed(gpu=["ampere"]), LACKS + "expected a compute capability, found 'ampere')"),
        (changed(gpu={"name": "x"}), LACKS + "no 'capability')"),
        (changed(profiles=[]), LACKS),
        (changed(made_with=3), LACKS),
        (changed(made_with={"a": 3}), LACKS + "expected a text, found 3)"),
        (tiles(min=[1, 8]), LACKS + "expected a shape [N, H, W], found [1, 8])"),
        (tiles(min=[1, 8, True]), LACKS + "expected a shape [N, H, W], found [1, 8, True])"),
        (tiles(max=[1, 8, 0]), LACKS + "expected a shape [N, H, W], found [1, 8, 0])"),
        (tiles(max=[1, 8, 70000]), LACKS + "expected a shape [N, H, W], found [1, 8, 70000])"),
        (tiles(max=[1, 8, 8.0]), LACKS + "expected a shape [N, H, W], found [1, 8, 8.0])"),
        (tiles(min=[1, 16, 8]), LACKS + "tiles {'min': [1, 16, 8]"),
    ],
    ids=lambda text: str(text)[:40],
)  # fmt: skip
def test_a_record_that_cannot_be_right(text: str, begins: str) -> None:
    found = sentence(lambda: EngineRecord.from_json(text, "r.json"))
    assert found.startswith(begins)
    assert len(found) < 250


def test_a_record_that_is_no_text_or_too_much_of_it(tmp_path: Path) -> None:
    path = engine_file(tmp_path)
    record_path(path).write_bytes(b"\xff\xfe")
    assert sentence(lambda: read_record(path)) == (
        f"{record_path(path)}: the engine's record is not JSON (not UTF-8)"
    )
    record_path(path).write_bytes(b" " * 2**17)
    assert sentence(lambda: read_record(path)) == (
        f"{record_path(path)}: larger than any engine's record (65536 bytes)"
    )
