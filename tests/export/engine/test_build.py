"""Engines that are really built; loading one needs a card."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hptl_deploy.bundled import BUNDLED, bundled_models_folder
from hptl_deploy.engines.flavour import Flavour
from hptl_deploy.engines.record import EngineRecord, Profiles, read_engine, read_record
from hptl_deploy.engines.wanted import profiles_for, wanted
from hptl_deploy.errors import EnvironmentLacks
from hptl_deploy.files import TEMPORARY_SUFFIX
from hptl_deploy.model import MODEL_FILE, Model, load_model
from hptl_export.engine.build import build_engine
from support.engine_models import NO_CARD, fit, small_model
from support.sinks import Recorder

ROOT = Path(__file__).parents[3]


def built(
    model: Model, flavour: Flavour, sink: Recorder | None = None, target: str | None = None
) -> tuple[EngineRecord, Path]:
    """An engine that passes every check but loading."""
    wish = fit(model, flavour, target)
    path = build_engine(model, flavour, wish, sink or Recorder())
    record, content = read_engine(path, wish)
    assert content[4:8] == bytes(4)
    assert content[:4] == b"vtrt"
    assert path == model.path.parent / "engines" / wish.file_name()
    assert record.engine_sha256 == hashlib.sha256(content).hexdigest()
    assert {file.name for file in path.parent.iterdir()} >= {path.name, f"{path.stem}.json"}
    assert not list(path.parent.glob(f".*{TEMPORARY_SUFFIX}"))
    return record, path


def bundled_copy(folder: Path) -> Model:
    source = bundled_models_folder()
    assert source is not None
    folder.mkdir()
    return load_model(Path(shutil.copy(source / BUNDLED / MODEL_FILE, folder / MODEL_FILE)))


def test_the_bundled_model_with_both_profiles(tmp_path: Path, rtx: Flavour) -> None:
    model = bundled_copy(tmp_path / BUNDLED)
    wish = wanted(model, rtx, NO_CARD, profiles_for(model.card))
    sink = Recorder()
    path = build_engine(model, rtx, wish, sink)
    record = read_record(path)
    assert record.profiles == Profiles(
        frame=(1, 1920, 2560), tile_min=(1, 16, 16), tile_opt=(1, 1312, 1312),
        tile_max=(4, 1312, 1312),
    )  # fmt: skip
    assert record.gpu == ("8.0", "8.6", "8.9", "12.0")
    assert record.version == rtx.version
    assert set(record.made_with) == {"hptl-deploy", "onnx", "seconds"}
    assert path.stat().st_size > model.path.stat().st_size / 2
    assert "Building engine" in sink.advanced


@pytest.mark.slow
def test_the_bundled_model_for_turing(tmp_path: Path, rtx: Flavour) -> None:
    model = bundled_copy(tmp_path / BUNDLED)
    wish = wanted(model, rtx, NO_CARD, profiles_for(model.card), "turing")
    assert read_record(build_engine(model, rtx, wish, Recorder())).gpu == ("7.5",)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_precision(tmp_path: Path, rtx: Flavour, precision: str) -> None:
    model = small_model(tmp_path, precision)
    record, path = built(model, rtx)
    assert record.precision == precision
    assert path.name.startswith(f"{precision}-tensorrt-rtx-")


def test_turing_is_another_engine(tmp_path: Path, rtx: Flavour) -> None:
    model = small_model(tmp_path)
    portable, one = built(model, rtx)
    turing, other = built(model, rtx, target="turing")
    assert (portable.gpu, turing.gpu) == (("8.0", "8.6", "8.9", "12.0"), ("7.5",))
    assert one.read_bytes() != other.read_bytes()


def test_progress_goes_from_nothing_to_all(tmp_path: Path, rtx: Flavour) -> None:
    class Adding(Recorder):
        total = 0.0

        def advance(self, amount: float = 1.0, note: str = "", speed: str = "") -> None:
            assert amount >= 0
            self.total += amount
            super().advance(amount, note)

    sink = Adding()
    built(small_model(tmp_path), rtx, sink)
    assert sink.total == pytest.approx(100)
    assert len(sink.advanced) > 10
    assert {"Building engine", "Optimizing graph"} <= set(sink.advanced)


def test_what_a_killed_build_left_is_removed_in_time(tmp_path: Path, rtx: Flavour) -> None:
    model = small_model(tmp_path)
    folder = model.path.parent / "engines"
    folder.mkdir()
    old, fresh = (folder / f".{name}{TEMPORARY_SUFFIX}" for name in ("old", "fresh"))
    for path in (old, fresh):
        path.write_bytes(b"half")
    hours_ago = time.time() - 7200
    os.utime(old, (hours_ago, hours_ago))
    build_engine(model, rtx, fit(model, rtx), Recorder())
    assert not old.exists()
    assert fresh.exists()  # another process may be writing it


SCRIPT = """
import sys
from pathlib import Path
from hptl_deploy.model import load_model
from hptl_export.engine import ensure_engine
from hptl_deploy.sink import Silent

class Telling(Silent):
    def advance(self, amount=1.0, note=""):
        if note:
            print(note, flush=True)

ensure_engine(load_model(Path(sys.argv[1])), flavour(), sink=Telling())
"""
PREFACE = """
import signal, sys
# A test run in the background of a shell ignores Ctrl-C, and so would this.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.modules["torch"] = None
from hptl_deploy.engines.flavour import load_flavour
def flavour(): return load_flavour("tensorrt-rtx")
"""


def building(model: Model) -> subprocess.Popen[str]:
    """A build in a process of its own, without torch."""
    paths = os.pathsep.join(str(ROOT / part) for part in ("", "train", "export"))
    return subprocess.Popen(
        [sys.executable, "-c", PREFACE + SCRIPT, str(model.path)],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.usefixtures("rtx")
def test_a_build_needs_no_torch(tmp_path: Path) -> None:
    model = small_model(tmp_path)
    said, complaints = building(model).communicate(timeout=60)
    assert complaints == ""
    assert "Building engine" in said
    assert len(list((model.path.parent / "engines").glob("*.engine"))) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL] if os.name == "posix" else [])
def test_an_interrupted_build_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    model = bundled_copy(tmp_path / BUNDLED)
    process = building(model)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "Optimizing graph":
            break
    process.send_signal(number)
    _, complaints = process.communicate(timeout=60)
    assert process.returncode != 0
    if number == signal.SIGINT:
        assert complaints.strip().splitlines()[-1] == "KeyboardInterrupt"
        assert "EngineError" not in complaints
    assert not list((model.path.parent / "engines").glob("*"))


@pytest.mark.gpu
def test_tensorrt_proper(tmp_path: Path) -> None:
    """On a machine with a card and `tensorrt`."""
    from hptl_deploy.engines.flavour import load_flavour
    from hptl_deploy.engines.machine import this_machine

    machine = this_machine()
    if machine.card is None:
        pytest.skip("needs an NVIDIA card")
    try:
        flavour = load_flavour("tensorrt")
    except EnvironmentLacks as exc:
        pytest.skip(str(exc))
    model = small_model(tmp_path)
    wish = wanted(model, flavour, machine, profiles_for(model.card, (120, 160)))
    for _ in range(2):  # the second with the timing cache of the first
        path = build_engine(model, flavour, wish, Recorder())
        record, content = read_engine(path, wish)
        assert record.gpu == machine.card
        assert len(content) > 1000
    assert list((tmp_path / "cache" / "hptl-deploy").glob("*.timing"))
