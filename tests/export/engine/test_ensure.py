"""An engine that fits is found; one that does not is named and built again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from hptl_deploy.engines.flavour import Flavour
from hptl_deploy.engines.machine import Card, Machine
from hptl_deploy.engines.record import any_profiles, read_engine, record_path
from hptl_deploy.engines.wanted import profiles_for, wanted
from hptl_deploy.errors import ModelError
from hptl_deploy.files import sha256_file
from hptl_deploy.model import MODEL_FILE, Model, load_model
from hptl_export.engine import ensure_engine
from support.engine_models import MISFIT, NO_CARD, hostile_model, small_model
from support.sinks import Recorder

FRAME = (64, 96)


@pytest.fixture(scope="module")
def built_once(tmp_path_factory: pytest.TempPathFactory, rtx: Flavour) -> Path:
    """A folder with the small model and its engine."""
    folder = tmp_path_factory.mktemp("built")
    ensure_engine(small_model(folder), rtx, machine=NO_CARD, frame=FRAME)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return small_model(tmp_path)


@pytest.fixture
def with_engine(tmp_path: Path, built_once: Path) -> Model:
    """The small model with the engine that `ensure(model)` would build."""
    shutil.copytree(built_once, tmp_path, dirs_exist_ok=True)
    return load_model(tmp_path / "threshold" / MODEL_FILE)


class Ensure:
    """`ensure_engine` with what it told; every engine it gives is whole and fits."""

    def __init__(self, flavour: Flavour) -> None:
        self.flavour = flavour
        self.notes: list[str] = []
        self.builds = 0

    def __call__(self, model: Model, frame: tuple[int, int] | None = FRAME, **more: Any) -> Path:
        sink = Recorder()
        more = {"machine": NO_CARD, **more}
        path = ensure_engine(model, self.flavour, frame=frame, sink=sink, **more)
        self.notes = sink.notes
        self.builds += bool(sink.advanced)
        profiles = profiles_for(model.card, frame or FRAME)
        fit = wanted(model, self.flavour, more["machine"], profiles, more.get("target"))
        read_engine(path, fit if frame else any_profiles(fit, path))
        return path


@pytest.fixture
def ensure(rtx: Flavour) -> Ensure:
    return Ensure(rtx)


def test_the_second_time_it_is_there(model: Model, ensure: Ensure, rtx: Flavour) -> None:
    first = ensure(model)
    assert ensure.notes == [
        f"building the fp32 engine of threshold for TensorRT for RTX {rtx.version}"
    ]
    changed = first.stat().st_mtime_ns
    assert ensure(model) == first
    assert ensure.notes == []
    assert (ensure.builds, first.stat().st_mtime_ns) == (1, changed)


def rewrite(engine: Path, **values: object) -> None:
    """An engine's record with other values."""
    document = json.loads(record_path(engine).read_text(encoding="utf-8"))
    record_path(engine).write_text(json.dumps({**document, **values}), encoding="utf-8")


PORTABLE = "8.0, 8.6, 8.9, 12.0"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"onnx_sha256": "0" * 64}, "model file: built from 000000000000, now {model}"),
        ({"version": "1.6.0.1"}, "version: built with 1.6.0.1, now {version}"),
        ({"precision": "fp16"}, "precision: built with fp16, now fp32"),
        ({"gpu": ["7.5"]}, f"gpu: built for 7.5, now {PORTABLE}"),
        ({"gpu": {"name": "NVIDIA A10", "capability": "8.6"}},
         f"gpu: built for NVIDIA A10 (8.6), now {PORTABLE}"),
        ({"driver": "580.65"}, "driver: built with 580.65, now none"),
        ({"os": ["linux-aarch64"]},
         "os: built for linux-aarch64, now linux-x86_64, windows-x86_64"),
        ({"profiles": {"frame": [1, 8, 8],
                       "tiles": {"min": [1, 8, 8], "opt": [1, 8, 8], "max": [1, 8, 8]}}},
         "profiles: built for frame 1x8x8, tiles 1x8x8 to 1x8x8, now frame 1x64x96, tiles 1x8x8 "
         "to 4x1024x1024"),
        ({"version": "1.6.0.1", "driver": "580.65"},
         "version: built with 1.6.0.1, now {version}; driver: built with 580.65, now none"),
    ],
)  # fmt: skip
def test_a_stale_engine_is_named_by_what_changed(
    with_engine: Model, ensure: Ensure, rtx: Flavour, values: dict[str, object], named: str
) -> None:
    model, engine = with_engine, ensure(with_engine)
    assert ensure.builds == 0
    rewrite(engine, **values)
    assert ensure(model) == engine
    named = named.format(model=model.sha256[:12], version=rtx.version)
    assert ensure.notes == [
        f"{engine}: does not fit ({named}); building the fp32 engine of threshold for TensorRT for "
        "RTX again"
    ]
    assert ensure(model) == engine
    assert ensure.builds == 1


def truncate(engine: Path) -> None:
    engine.write_bytes(engine.read_bytes()[:-1000])


def flip_a_bit(engine: Path) -> None:
    content = bytearray(engine.read_bytes())
    content[len(content) // 2] ^= 1
    engine.write_bytes(content)


def cut_the_record(engine: Path) -> None:
    path = record_path(engine)
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (truncate, "{engine}: is not the file that was built"),
        (flip_a_bit, "{engine}: is not the file that was built"),
        (Path.unlink, "{engine}: is not the file that was built"),
        (cut_the_record, "{record}: the engine's record is not JSON ("),
        (lambda engine: record_path(engine).write_text("{}"),
         "{record}: expected an engine's record of schema 1, found None"),
        (lambda engine: rewrite(engine, gpu=7),
         "{record}: the engine's record lacks or misstates a field (expected a list, found 7)"),
        (lambda engine: record_path(engine).unlink(), "building the fp32 engine of threshold "),
    ],
)  # fmt: skip
def test_a_damaged_engine_is_built_again(
    with_engine: Model, ensure: Ensure, damage: Any, named: str
) -> None:
    engine = ensure(with_engine)
    damage(engine)
    assert ensure(with_engine) == engine
    (note,) = ensure.notes
    assert note.startswith(named.format(engine=engine, record=record_path(engine)))
    assert "; building the fp32 engine of threshold for TensorRT for RTX again" in note or (
        note.startswith("building")
    )
    assert ensure.builds == 1


def names(model: Model) -> set[str]:
    return {path.name for path in (model.path.parent / "engines").iterdir()}


def test_what_a_new_engine_replaces_goes(with_engine: Model, ensure: Ensure) -> None:
    engine = ensure(with_engine)
    for stem in ("fp32-tensorrt-rtx-0123456789ab", "fp32-tensorrt-rtx-ba9876543210"):
        for suffix in (".engine", ".json"):
            source = engine.with_suffix(suffix)
            source.with_name(stem + suffix).write_bytes(source.read_bytes())
    older, elsewhere = (
        engine.with_name(f"fp32-tensorrt-rtx-{key}.engine")
        for key in ("0123456789ab", "ba9876543210")
    )
    rewrite(older, version="1.6.0.1")
    rewrite(elsewhere, gpu=["7.5"])
    engine.unlink()
    assert ensure(with_engine) == engine
    assert older.exists()  # may be the one of another machine that shares the folder
    for path in (older, elsewhere):
        os.utime(path, (0, 0))
    engine.unlink()
    assert ensure(with_engine) == engine
    assert engine.exists()
    assert not older.exists()
    assert not record_path(older).exists()
    assert elsewhere.exists()  # another machine's
    assert record_path(elsewhere).exists()


def test_an_engine_of_another_flavour_is_not_called_stale(
    with_engine: Model, ensure: Ensure, rtx: Flavour
) -> None:
    engine = ensure(with_engine)
    rewrite(engine, flavour="tensorrt")
    ensure(with_engine)
    assert ensure.notes == [
        f"building the fp32 engine of threshold for TensorRT for RTX {rtx.version}"
    ]


def test_an_exported_model_takes_its_engines_with_it(
    tmp_path: Path, with_engine: Model, ensure: Ensure
) -> None:
    before, turing = ensure(with_engine), ensure(with_engine, target="turing")
    again = small_model(tmp_path, seed=1)
    assert again.path == with_engine.path
    engine = ensure(again)
    assert names(again) == {engine.name, record_path(engine).name}
    assert not {before.name, turing.name} & names(again)


def test_precisions_stay_apart(tmp_path: Path, with_engine: Model, ensure: Ensure) -> None:
    single = ensure(with_engine)
    half = ensure(small_model(tmp_path, "fp16"))
    assert half.name.startswith("fp16-")
    assert {single.name, half.name} <= names(with_engine)
    assert ensure(with_engine) == single
    assert ensure.builds == 1


def test_any_frame_will_do_unless_one_is_asked_for(model: Model, ensure: Ensure) -> None:
    small = ensure(model, (64, 64))
    assert ensure(model, None) == small
    wide = ensure(model, (64, 128))
    assert wide != small
    assert ensure(model, (64, 64)) == small
    assert ensure(model, None) in (small, wide)
    assert ensure.builds == 2


def test_a_card_decides_its_set(with_engine: Model, ensure: Ensure) -> None:
    model = with_engine

    def on(capability: str) -> Path:
        return ensure(model, machine=Machine(Card("a card", capability), "580", "windows-x86_64"))

    portable = on("8.9")
    assert ensure(model) == portable
    assert on("8.6") == on("12.0") == portable
    turing = on("7.5")
    assert turing != portable
    assert ensure(model, target="turing") == turing
    assert ensure.builds == 1


def test_a_build_that_fails_leaves_what_was_there(
    tmp_path: Path, with_engine: Model, ensure: Ensure
) -> None:
    model, engine = with_engine, ensure(with_engine)
    content = sha256_file(engine)
    broken = hostile_model(tmp_path, *MISFIT)
    assert broken.path == model.path
    with pytest.raises(ModelError):
        ensure(broken)
    assert sha256_file(engine) == content
    assert names(model) == {engine.name, record_path(engine).name}
