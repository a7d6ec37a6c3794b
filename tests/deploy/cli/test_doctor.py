from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hptl_deploy import __version__
from hptl_deploy.bundled import BUNDLED, bundled_models_folder
from hptl_deploy.cli.main import run
from hptl_deploy.doctor import Findings
from hptl_deploy.engines import open_engine
from hptl_deploy.engines.machine import count_cards
from hptl_deploy.model import MODEL_FILE, load_model
from support import stand_in_driver
from support.made_up_findings import findings, mend
from support.processes import start

Capture = pytest.CaptureFixture[str]

KEYS = {
    "schema", "program", "host", "libraries", "driver", "onnxruntime", "tensorrt",
    "device_memory", "training", "czi", "lif", "nd2", "install", "verdict",
}  # fmt: skip
"""Scripts read them: a change raises the document's schema."""


def document(capsys: Capture) -> dict[str, Any]:
    assert run(["doctor", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def shown(found: Findings, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> list[str]:
    monkeypatch.setattr("hptl_deploy.doctor.examine", lambda sink: found)
    assert run(["doctor"]) == 0
    said, noted = capsys.readouterr()
    assert noted == ""
    return said.splitlines()


def test_the_verdict_is_what_happens(capsys: Capture) -> None:
    found = document(capsys)
    assert found.keys() == KEYS
    assert (found["schema"], found["program"]["version"]) == (2, __version__)
    assert len(found["driver"]["cards"]) == count_cards()
    if count_cards():
        pytest.skip("needs a machine without an NVIDIA card: no engine is built for this test")
    models = bundled_models_folder()
    assert models is not None
    with open_engine(load_model(models / BUNDLED / MODEL_FILE), "auto") as engine:
        verdict = found["verdict"]["auto"]
        assert (verdict["backend"], verdict["device"]) == (engine.info.backend, engine.info.device)
    assert found["verdict"]["cuda"]["backend"] is None


def test_a_machine_without_a_card(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    assert shown(findings(), monkeypatch, capsys) == [
        "hptl-deploy  1",
        "Python       3.12.0, python",
        "system       Linux",
        "processor    CPU, 4 cores, 8 threads; 8-bit: AVX2",
        "memory       16.0 GiB, 8.0 GiB free",
        "NVIDIA card  no NVIDIA driver is installed",
        "",
        "ONNX Runtime, CPU  1.31.1, runs",
        "TensorRT for RTX   TensorRT for RTX is not installed",
        'training: torch    torch is not installed. pip install "hptl-deploy[train]"',
        'Zeiss CZI          pylibCZIrw is not installed. pip install "hptl-deploy[czi]"',
        'Leica LIF          liffile is not installed. pip install "hptl-deploy[lif]"',
        'Nikon ND2          nd2 is not installed. pip install "hptl-deploy[nd2]"',
        "",
        "segment --device auto: runs on onnxruntime-cpu",
        "  - no NVIDIA driver is installed",
        "  - ONNX Runtime 1.31.1 runs on the CPU",
        "",
        "segment --device cuda: is refused, exit code 3",
        "  - no NVIDIA driver is installed",
        "",
        "what would help here",
        "  - Engines for NVIDIA cards cannot run on this machine: no NVIDIA driver is installed",
        "  - Engines for other machines can be built here with TensorRT for RTX: "
        'pip install "hptl-deploy[tensorrt-rtx]"',
        "  - An int8 model may be faster on this CPU, which lacks 8-bit dot products: "
        "hptl-deploy export --int8, then segment --precision int8",
    ]


def test_a_machine_with_a_card(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    found = findings(card="8.9")
    mend(found["tensorrt"]["tensorrt-rtx"], "1.7.1", builds=True)
    mend(found["device_memory"]["cuda-python"], "13.4.4")
    mend(found["training"], "2.13.0", cuda="13.0")
    found["driver"]["cards"][0]["free_bytes"] = None
    lines = shown(found, monkeypatch, capsys)
    for line in (
        "NVIDIA driver  580.65.06, runs CUDA 13.0",
        "card 0         Card, compute capability 8.9, 24.0 GiB, no room to ask what is free",
        "ONNX Runtime, CUDA          1.31.1: libcublasLt.so.13 is missing",
        "TensorRT                    TensorRT is not installed",
        "TensorRT for RTX            1.7.1, builds engines",
        "card's memory: pycuda       pycuda is not installed",
        "card's memory: cuda-python  13.4.4, works",
        "training: torch             2.13.0, on CUDA 13.0",
        "segment --device auto: runs on tensorrt-rtx",
        "segment --device cuda: runs on tensorrt-rtx",
    ):
        assert line in lines
    assert "what would help here" not in lines


def test_what_could_not_be_asked_is_said(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    found = findings()
    host = found["host"]
    host["system"] = host["processor"] = host["memory"] = None
    host["trouble"] = "this machine was tried for 30 s and gave no answer"
    found["libraries"]["trouble"] = "scipy cannot be loaded (x)"
    lines = shown(found, monkeypatch, capsys)
    assert "system       unknown" in lines
    assert "not known    this machine was tried for 30 s and gave no answer" in lines
    assert "base               scipy cannot be loaded (x)" in lines


def test_broken_libraries_end_with_0_and_one_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("numpy", "onnx", "onnxruntime", "psutil", "torch", "tensorrt", "tensorrt_rtx"):
        text = "print('noise')\nraise RuntimeError('broken')\n"
        (tmp_path / f"{module}.py").write_text(text, encoding="utf-8")
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    )
    process = start("doctor", "--json")
    said, noted = process.communicate(timeout=120)
    assert process.returncode == 0, noted
    found = json.loads(said)
    assert found["verdict"]["auto"]["backend"] is None
    assert found["host"]["system"]
    assert "numpy cannot be loaded (broken)" in found["libraries"]["trouble"]
    assert "numpy cannot be loaded (broken)" in found["verdict"]["advice"][0]
    assert "noise" not in noted
    assert "Traceback" not in noted
    assert "segment --device auto: is refused, exit code 3" in noted


def test_a_driver_that_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if count_cards():
        pytest.skip("needs a machine without an NVIDIA card")
    stand_in_driver.install(tmp_path, monkeypatch)
    process = start("doctor", "--json")
    said, noted = process.communicate(timeout=120)
    assert process.returncode == 0, noted
    found = json.loads(said)
    assert found["driver"]["cards"][0]["name"] == "Stand-in 40"
    # It shows a card, and nothing runs there.
    assert found["verdict"]["cuda"]["backend"] is None
    assert found["verdict"]["auto"]["backend"] == "onnxruntime-cpu"
    assert "Traceback" not in noted
