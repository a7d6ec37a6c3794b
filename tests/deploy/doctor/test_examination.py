"""Every part is really asked, of real libraries and of really broken ones."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hptl_deploy.doctor import probes
from hptl_deploy.doctor.examination import PATIENCE, _ask
from hptl_deploy.doctor.findings import EMPTY, INSTALL, TITLES
from hptl_deploy.doctor.probes import BASE, PROBES, TRAINING, nvidia_hardware
from hptl_deploy.engines.machine import count_cards, driver_version
from hptl_deploy.errors import EnvironmentLacks
from hptl_deploy.sink import Silent
from support import stand_in_driver

ROOT = Path(__file__).parents[3]
NO_CARD = pytest.mark.skipif(count_cards() > 0, reason="needs a machine without an NVIDIA card")


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that comes first where modules are looked for."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def ask(part: str, patience: float = PATIENCE) -> dict[str, Any]:
    return _ask([part], patience, Silent())[part]


def refusal(facts: probes.Facts) -> str:
    with pytest.raises(EnvironmentLacks) as caught:
        list(facts)
    return str(caught.value)


def write(folder: Path, module: str, text: str) -> None:
    path = folder / Path(*module.split("."))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".py").write_text(text, encoding="utf-8")
    for package in path.relative_to(folder).parents[:-1]:
        (folder / package / "__init__.py").touch()


def requirements(extra: str | None) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return {re.split(r"[\[<>=;! ]", line)[0] for line in lines}


def test_every_part_has_its_probe_its_title_and_its_entry() -> None:
    assert PROBES.keys() == EMPTY.keys() == TITLES.keys()


def test_the_lists_are_those_of_the_project() -> None:
    assert set(TRAINING) == requirements("train")
    modules = {"pillow": "PIL.Image", "scikit-image": "skimage"}
    needed = {modules.get(name, name) for name in requirements(None)}
    assert set(BASE) <= needed
    # Of the rest, ONNX Runtime has its own probe, and without the others there is no doctor.
    light = {"typer", "rich", "onnxruntime", "onnxruntime-gpu", "platformdirs"}
    assert needed - set(BASE) <= light


def test_every_line_names_an_extra_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for line in INSTALL.values():
        if extra := re.search(r"'hptl-deploy\[(.+)\]'", line):
            assert extra[1] in project["optional-dependencies"]


@pytest.mark.parametrize("part", PROBES)
def test_an_answer_has_the_keys_of_its_entry(part: str) -> None:
    entry = ask(part)
    assert entry.keys() == EMPTY[part].keys()
    trouble = entry["trouble"]
    assert trouble is None or (trouble and "\n" not in trouble)
    for word in ("ended the process", "gave no answer", "own (", "NameError"):
        assert word not in (trouble or "")


def test_the_libraries_of_these_tests() -> None:
    import numpy
    import onnxruntime

    entry = ask("libraries")
    assert entry["trouble"] is None
    assert entry["versions"]["numpy"] == numpy.__version__
    assert entry["versions"].keys() == {name.partition(".")[0] for name in BASE}
    runtime = ask("onnxruntime")
    assert (runtime["trouble"], runtime["version"]) == (None, onnxruntime.__version__)


def test_this_machine() -> None:
    import psutil

    entry = ask("host")
    assert entry["memory"]["total_bytes"] == psutil.virtual_memory().total
    assert 0 < entry["memory"]["free_bytes"] <= entry["memory"]["total_bytes"]


@NO_CARD
def test_a_provider_that_is_built_in_but_does_not_load() -> None:
    if "CUDAExecutionProvider" not in ask("onnxruntime")["built_with"]:
        pytest.skip("needs an ONNX Runtime with CUDA")
    entry = ask("onnxruntime-cuda")
    assert entry["trouble"]
    assert entry["hint"] or "card" in entry["trouble"]


@pytest.mark.gpu
def test_a_card_is_found() -> None:
    if not count_cards():
        pytest.skip("needs an NVIDIA card")
    entry = ask("driver")
    assert len(entry["cards"]) == count_cards()
    for card in entry["cards"]:
        assert 0 < card["free_bytes"] <= card["total_bytes"]
        assert card["name"]
    assert re.fullmatch(r"\d+\.\d+", entry["cuda"])


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("raise ImportError('DLL load failed\\nwhile importing')",
         "ONNX Runtime cannot be loaded (DLL load failed\nwhile importing)"),
        ("raise OSError('libcudart.so.13: cannot open')",
         "ONNX Runtime cannot be loaded (libcudart.so.13: cannot open)"),
        ("def (", "ONNX Runtime cannot be used (SyntaxError: "),
        ("", "ONNX Runtime cannot be used (AttributeError: module 'onnxruntime' has no attribute"),
        ("raise SystemExit('no licence')",
         "ONNX Runtime ended the process that tried it (exit code 1: no licence)"),
        ("print('{\"version\": \"9\"}'); raise SystemExit(3)",
         "ONNX Runtime ended the process that tried it (exit code 3: {\"version\": \"9\"})"),
    ],
)  # fmt: skip
def test_a_runtime_that_does_not_load(broken: Path, text: str, trouble: str) -> None:
    write(broken, "onnxruntime", text)
    entry = ask("onnxruntime")
    assert entry["trouble"].startswith(trouble.partition("\n")[0])
    # What is installed is known all the same.
    assert set(entry["packages"]) & {"onnxruntime", "onnxruntime-gpu"}
    assert entry["version"] not in (None, "9")


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_library_that_crashes(broken: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = "print('hello', flush=True)\nimport os\nos.kill(os.getpid(), 11)"
    write(broken, "tensorrt", text)
    assert ask("tensorrt")["trouble"] == "TensorRT ended the process that tried it (SIGSEGV: hello)"
    assert capfd.readouterr() == ("", "")


def test_a_library_that_hangs(broken: Path) -> None:
    write(broken, "pycuda.driver", "import time\ntime.sleep(60)")
    write(broken, "pycuda.__init__", "VERSION_TEXT = '2026.1'")
    began = time.monotonic()
    entry = ask("pycuda", patience=2)
    assert time.monotonic() - began < 20
    assert entry["trouble"] == "pycuda was tried for 2 s and gave no answer"


@pytest.mark.parametrize(
    ("part", "module", "text", "trouble"),
    [
        ("tensorrt", "tensorrt", "raise RuntimeError('a stub')",
         "TensorRT is installed but cannot be loaded (a stub)"),
        ("tensorrt", "tensorrt", "__version__ = '8.6.1'",
         "TensorRT 8.6.1 is installed, expected 10.12 or newer"),
        ("tensorrt-rtx", "tensorrt_rtx", "1 / 0",
         "TensorRT for RTX cannot be used (ZeroDivisionError: division by zero)"),
        ("pycuda", "pycuda", "VERSION_TEXT = '2026.1'", "pycuda cannot be loaded ("),
        ("cuda-python", "cuda.bindings.driver", "raise OSError('no library')",
         "cuda-python c"),
        ("libraries", "scipy", "raise ValueError('numpy.dtype size changed')",
         "scipy cannot be loaded (numpy.dtype size changed)"),
        ("host", "psutil", "raise ImportError('no psutil')",
         "this machine cannot be used (ImportError: no psutil)"),
    ],
)  # fmt: skip
def test_libraries_that_are_broken(
    broken: Path, part: str, module: str, text: str, trouble: str
) -> None:
    write(broken, module, text)
    entry = ask(part)
    assert entry["trouble"].startswith(trouble)


def test_a_torch_that_is_broken(broken: Path) -> None:
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs torch")
    write(broken, "torch", "raise OSError('[WinError 126] c10.dll')")
    entry = ask("training")
    assert entry["trouble"] == "torch cannot be used (OSError: [WinError 126] c10.dll)"
    assert entry["version"] == version


def test_a_card_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    if driver_version() is not None:
        pytest.skip("needs a machine without an NVIDIA driver")
    monkeypatch.setattr(probes, "nvidia_hardware", lambda: True)
    assert refusal(probes.driver()) == (
        "an NVIDIA card is there, but no NVIDIA driver is installed. Install its driver, 580 or "
        "newer; a container must be started with its cards"
    )


def test_training_that_lacks_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    # Torch itself is not loaded into the tests' process.
    torch = SimpleNamespace(__version__="2.13.0", version=SimpleNamespace(cuda="13.0"))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(probes, "_version", lambda *names: None if names == ("kornia",) else "1")
    assert refusal(probes.training()) == (
        'training lacks kornia. To train: pip install "hptl-deploy[train]"'
    )
    monkeypatch.setattr(probes, "_version", lambda *names: None)
    assert refusal(probes.training()) == (
        'torch is not installed. To train: pip install "hptl-deploy[train]"'
    )


@pytest.mark.parametrize(
    ("name", "package"), [("czi", "pylibCZIrw"), ("lif", "liffile"), ("nd2", "nd2")]
)
def test_vendors_files(monkeypatch: pytest.MonkeyPatch, name: str, package: str) -> None:
    monkeypatch.setattr(probes, "_version", lambda *names: None)
    assert refusal(probes.PROBES[name]()) == (
        f'{package} is not installed. To read {name.upper()}: pip install "hptl-deploy[{name}]"'
    )


def test_a_copy_without_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hptl_deploy.bundled.bundled_models_folder", lambda: None)
    assert refusal(probes.onnxruntime()) == (
        "ONNX Runtime cannot be tried, because this copy lacks the bundled model"
    )


def test_no_place_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert ask("host")["trouble"] == (
        "this machine cannot be tried in a process of its own (No usable temporary directory found)"
    )


def test_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert ask("host")["trouble"] == (
        "this machine cannot be tried in a process of its own (No such file or directory)"
    )


@pytest.mark.parametrize(
    ("answers", "trouble", "cards"),
    [
        ({"cards": 2}, None, 2),
        ({"init": 100, "cards": 0}, "an NVIDIA driver is installed, but it shows no card", 0),
        ({"init": 803}, "the NVIDIA driver fails (cuInit: system has unsupported display driver / "
                        "cuda driver combination)", 0),
        ({"context": 2}, None, 1),
    ],
)  # fmt: skip
def test_what_a_driver_says(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: dict[str, int],
    trouble: str | None,
    cards: int,
) -> None:
    stand_in_driver.install(tmp_path, monkeypatch, **answers)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    entry = ask("driver")
    assert (entry["trouble"], entry["visible_devices"]) == (trouble, "0,1")
    full = "context" in answers
    assert entry["cards"] == [
        {
            "index": index,
            "name": f"Stand-in {40 + index}",
            "capability": "8.9",
            "total_bytes": 24 << 30,
            "free_bytes": None if full else (20 << 30) + 1,
        }
        for index in range(cards)
    ]
    assert (entry["hint"] is not None) == ("fails" in (trouble or ""))


def test_a_driver_that_crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_driver.install(tmp_path, monkeypatch)
    source = tmp_path / "crash.c"
    source.write_text("#include <stdlib.h>\nint cuInit(unsigned f) { abort(); }\n")
    target = tmp_path / stand_in_driver.LIBRARY
    subprocess.run(["cc", "-shared", "-fPIC", "-o", target, source], check=True)
    assert ask("driver")["trouble"] == (
        "the NVIDIA driver ended the process that tried it (SIGABRT)"
    )


@pytest.mark.parametrize(
    ("vendor", "kind", "found"),
    [
        ("0x10de", "0x030000", True),
        ("0x10de", "0x030200", True),
        ("0x10de", "0x040300", False),
        ("0x8086", "0x030000", False),
    ],
)
def test_the_cards_that_the_system_lists(
    tmp_path: Path, vendor: str, kind: str, found: bool
) -> None:
    device = tmp_path / "0000:01:00.0"
    device.mkdir()
    (device / "vendor").write_text(vendor + "\n")
    (device / "class").write_text(kind + "\n")
    (tmp_path / "0000:02:00.0").mkdir()
    assert nvidia_hardware(tmp_path) is found
    assert nvidia_hardware(tmp_path / "none") is None
