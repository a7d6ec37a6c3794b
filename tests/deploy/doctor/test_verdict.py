from __future__ import annotations

import pytest

from hptl_deploy.doctor import Findings, judge
from hptl_deploy.doctor.verdict import ON_CARD, ON_CPU
from hptl_deploy.engines import ladder
from support.made_up_findings import findings, mend

NO_DRIVER = "no NVIDIA driver is installed"


def test_the_steps_are_those_of_the_ladder() -> None:
    assert (*ON_CARD, ON_CPU) == ladder.BACKENDS


def with_tensorrt(found: Findings, key: str = "tensorrt", builds: bool = True) -> Findings:
    mend(found["tensorrt"][key], "10.14.1", builds=builds)
    mend(found["device_memory"]["cuda-python"], "13.4.4")
    return found


def test_without_a_card_the_cpu_runs_and_cuda_is_refused() -> None:
    verdict = judge(findings())
    assert verdict["auto"] == {
        "backend": "onnxruntime-cpu",
        "device": "cpu",
        "sentences": [NO_DRIVER, "ONNX Runtime 1.31.1 runs on the CPU"],
    }
    assert verdict["cuda"] == {"backend": None, "device": None, "sentences": [NO_DRIVER]}
    assert verdict["advice"] == [
        f"Engines for NVIDIA cards cannot run on this machine: {NO_DRIVER}",
        "Engines for other machines can be built here with TensorRT for RTX: "
        'pip install "hptl-deploy[tensorrt-rtx]"',
        "An int8 model may be faster on this CPU, which lacks 8-bit dot products: "
        "hptl-deploy export --int8, then segment --precision int8",
    ]


def test_without_a_card_an_installed_flavour_builds_for_others() -> None:
    found = findings()
    mend(found["tensorrt"]["tensorrt-rtx"], "1.7.1", builds=True)
    assert judge(found)["advice"][1] == (
        "TensorRT for RTX 1.7.1 can build engines here for other machines: "
        "hptl-deploy export --engine tensorrt-rtx"
    )


def test_a_flavour_that_is_not_made_for_this_system_is_not_advised() -> None:
    found = findings()
    found["tensorrt"]["tensorrt-rtx"]["serves"] = []
    assert not any("pip" in line for line in judge(found)["advice"])


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("avx512_vnni", True, "An int8 model is the fastest on this CPU, which has 8-bit dot "),
        ("avx_vnni", None, "An int8 model may be faster on this CPU: hptl-deploy export --int8"),
    ],
)
def test_what_int8_gains(key: str, value: bool | None, line: str) -> None:
    found = findings()
    processor = found["host"]["processor"]
    assert processor is not None
    processor["eight_bit"][key] = value  # type: ignore[literal-required]
    assert judge(found)["advice"][-1].startswith(line)
    found["onnxruntime"]["trouble"] = "ONNX Runtime cannot be loaded"
    assert "int8" not in judge(found)["advice"][-1]


def test_why_there_is_no_card() -> None:
    found = findings()
    driver = found["driver"]
    driver["trouble"] = "an NVIDIA driver is installed, but it shows no card"
    driver["visible_devices"] = ""
    assert judge(found)["advice"][0] == (
        "Engines for NVIDIA cards cannot run on this machine: an NVIDIA driver is installed, but "
        "it shows no card (CUDA_VISIBLE_DEVICES is '' and may hide cards)"
    )
    driver["visible_devices"] = None
    driver["trouble"], driver["hint"] = "the NVIDIA driver fails (cuInit: x)", "Check it"
    assert judge(found)["advice"][0].endswith(": the NVIDIA driver fails (cuInit: x). Check it")


def test_the_best_step_of_a_card() -> None:
    found = with_tensorrt(findings(card="8.9"))
    verdict = judge(found)
    assert verdict["auto"] == verdict["cuda"]
    assert verdict["auto"] == {
        "backend": "tensorrt",
        "device": "cuda:0",
        "sentences": [
            "TensorRT 10.14.1 runs on card 0, Card, with memory through cuda-python 13.4.4; a "
            "model's first run builds its engine, later ones load it"
        ],
    }
    # The fastest runs: nothing would help, whatever else is missing.
    assert verdict["advice"] == []


def test_pycuda_comes_before_cuda_python() -> None:
    found = with_tensorrt(findings(card="8.9"))
    mend(found["device_memory"]["pycuda"], "2026.1")
    assert "through pycuda 2026.1;" in judge(found)["auto"]["sentences"][0]


def test_a_step_down_is_said() -> None:
    found = with_tensorrt(findings(card="8.9"), "tensorrt-rtx")
    verdict = judge(found)
    assert verdict["auto"]["backend"] == "tensorrt-rtx"
    assert verdict["auto"]["sentences"][0] == "TensorRT is not installed"
    assert "may refuse" not in verdict["auto"]["sentences"][1]
    assert verdict["advice"] == []


def test_a_card_that_a_flavour_is_not_made_for() -> None:
    found = with_tensorrt(findings(card="9.0"), "tensorrt-rtx")
    assert judge(found)["auto"]["sentences"][1].endswith(
        "; it is not made for compute capability 9.0 and may refuse"
    )


@pytest.mark.parametrize(
    ("capability", "more"),
    [
        ("8.9", "; TensorRT for RTX is the smaller download: "
                "pip install \"hptl-deploy[tensorrt-rtx]\""),
        ("9.0", ""),
    ],
)  # fmt: skip
def test_a_card_on_which_only_onnxruntime_runs(capability: str, more: str) -> None:
    found = findings(card=capability)
    found["onnxruntime"]["cuda"] = {"trouble": None, "hint": None}
    verdict = judge(found)
    assert verdict["cuda"]["backend"] == "onnxruntime-cuda"
    assert verdict["cuda"]["sentences"] == [
        "TensorRT is not installed",
        "TensorRT for RTX is not installed",
        "ONNX Runtime 1.31.1 runs on card 0, Card",
    ]
    assert verdict["advice"] == [
        'TensorRT is the fastest engine for this card: pip install "hptl-deploy[tensorrt]"' + more
    ]


def test_a_card_on_which_nothing_runs() -> None:
    verdict = judge(findings(card="8.9"))
    assert verdict["cuda"]["backend"] is None
    assert verdict["cuda"]["sentences"][2] == (
        "ONNX Runtime does not run on the card: libcublasLt.so.13 is missing"
    )
    assert verdict["auto"]["backend"] == "onnxruntime-cpu"
    assert verdict["auto"]["sentences"] == [
        *verdict["cuda"]["sentences"],
        "ONNX Runtime 1.31.1 runs on the CPU",
    ]
    assert verdict["advice"][1] == (
        'libcublasLt.so.13 is missing. Install it: pip install "hptl-deploy[cuda]"'
    )


def test_nothing_runs_at_all() -> None:
    found = findings()
    found["onnxruntime"]["trouble"] = "ONNX Runtime ended the process that tried it (SIGSEGV)"
    verdict = judge(found)
    assert verdict["auto"] == {
        "backend": None,
        "device": None,
        "sentences": [
            NO_DRIVER,
            "ONNX Runtime does not run on the CPU either: ONNX Runtime ended the process that "
            "tried it (SIGSEGV)",
        ],
    }
    assert verdict["advice"][0] == (
        "ONNX Runtime ended the process that tried it (SIGSEGV). Install it again: "
        "pip install --force-reinstall onnxruntime-gpu"
    )


def test_a_flavour_without_a_way_to_the_memory() -> None:
    found = findings(card="8.9")
    mend(found["tensorrt"]["tensorrt"], "10.14.1", builds=True)
    verdict = judge(found)
    assert verdict["auto"]["sentences"][0] == (
        "TensorRT is installed, but nothing reaches the card's memory: pycuda is not installed; "
        "cuda-python is not installed"
    )
    assert verdict["advice"][0] == (
        "TensorRT needs a way to the card's memory: pip install cuda-python"
    )
    found["device_memory"]["cuda-python"]["version"] = "13.4.4"
    assert judge(found)["advice"][0] == (
        "The card does not let itself be used: check the driver with nvidia-smi"
    )


def test_a_flavour_that_does_not_build() -> None:
    found = with_tensorrt(findings(card="8.9"), builds=False)
    found["tensorrt"]["tensorrt"]["builds_trouble"] = "no kernel image"
    assert judge(found)["auto"]["sentences"][0] == (
        "TensorRT is installed, but builds no engine here (no kernel image)"
    )
    assert judge(found)["advice"][0] == (
        "TensorRT is installed, but builds no engine here (no kernel image). Check the driver with "
        "nvidia-smi"
    )


def test_a_flavour_that_is_broken_is_mended_and_not_replaced() -> None:
    found = findings(card="8.9")
    flavour = found["tensorrt"]["tensorrt"]
    flavour["version"], flavour["hint"] = "10.14.1", None
    flavour["trouble"] = "TensorRT was tried for 30 s and gave no answer"
    assert judge(found)["advice"][0] == (
        "TensorRT was tried for 30 s and gave no answer. Install it again: "
        "pip install --force-reinstall tensorrt"
    )


def test_a_driver_that_is_too_old_comes_first() -> None:
    found = findings(card="8.9", cuda="12.8")
    assert judge(found)["advice"][0] == (
        "The driver runs CUDA 12.8, and the libraries below are made for CUDA 13: install driver "
        "580 or newer first"
    )
    with_tensorrt(found)
    assert judge(found)["advice"] == []


def test_packages_that_overwrite_each_other() -> None:
    found = findings()
    found["onnxruntime"]["packages"] = ["onnxruntime-gpu", "onnxruntime"]
    assert judge(found)["advice"][0] == (
        "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: pip "
        "uninstall -y onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu"
    )


def test_a_runtime_for_the_cpu_alone_beside_a_card() -> None:
    found = findings(card="8.9")
    found["onnxruntime"]["packages"] = ["onnxruntime"]
    assert judge(found)["advice"][1] == (
        "This ONNX Runtime knows the CPU alone: pip uninstall -y onnxruntime, then "
        'pip install "hptl-deploy[cuda]"'
    )


def test_a_torch_for_the_cpu_beside_a_card() -> None:
    found = with_tensorrt(findings(card="8.9"))
    mend(found["training"], "2.13.0+cpu")
    assert judge(found)["advice"] == [
        "torch 2.13.0+cpu is built without CUDA, so training runs on the CPU; "
        "https://pytorch.org/get-started has the line for CUDA"
    ]
    found["training"]["cuda"] = "13.0"
    assert judge(found)["advice"] == []


def test_a_base_that_is_broken_comes_first() -> None:
    found = findings()
    found["libraries"]["trouble"] = "scipy cannot be loaded (x)"
    found["libraries"]["hint"] = "Install it again"
    assert judge(found)["advice"][0] == "scipy cannot be loaded (x). Install it again"
