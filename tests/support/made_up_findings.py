"""Findings of machines that are not here, for the verdict on them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hptl_deploy.doctor.findings import EMPTY, INSTALL, SCHEMA, Findings

RTX_SERVES = ["8.0", "8.6", "8.9", "12.0", "7.5"]


def findings(*, card: str | None = None, cuda: str = "13.0") -> Findings:
    """A Linux machine on which ONNX Runtime runs on the CPU and nothing else is installed.

    `card` is the compute capability of its card, None for a machine without a driver.
    """
    part: dict[str, Any] = {name: deepcopy(entry) for name, entry in EMPTY.items()}
    part["host"] |= {
        "system": "Linux",
        "processor": {
            "name": "CPU",
            "cores": 4,
            "threads": 8,
            "eight_bit": {
                "avx2": True, "avx512_vnni": False, "avx_vnni": False, "arm_dotprod": False
            },
        },
        "memory": {"total_bytes": 16 << 30, "free_bytes": 8 << 30},
    }  # fmt: skip
    part["driver"] |= {"trouble": "no NVIDIA driver is installed", "hardware": False}
    if card is not None:
        part["driver"] |= {"trouble": None, "version": "580.65.06", "cuda": cuda, "hardware": True}
        part["driver"]["cards"] = [
            {"index": 0, "name": "Card", "capability": card, "total_bytes": 24 << 30,
             "free_bytes": 23 << 30}
        ]  # fmt: skip
    part["onnxruntime"] |= {"version": "1.31.1", "packages": ["onnxruntime-gpu"]}
    part["onnxruntime-cuda"] |= {
        "trouble": "libcublasLt.so.13 is missing", "hint": f"Install it: {INSTALL['cuda']}"
    }  # fmt: skip
    for key, title in (("tensorrt", "TensorRT"), ("tensorrt-rtx", "TensorRT for RTX")):
        part[key] |= {
            "trouble": f"{title} is not installed", "hint": f"Install it: {INSTALL[key]}"
        }  # fmt: skip
    part["tensorrt-rtx"]["serves"] = RTX_SERVES
    for key in ("pycuda", "cuda-python"):
        part[key] |= {"trouble": f"{key} is not installed", "hint": f"Install it: {INSTALL[key]}"}
    part["training"] |= {"trouble": "torch is not installed", "hint": INSTALL["train"]}
    for key, package in (("czi", "pylibCZIrw"), ("lif", "liffile"), ("nd2", "nd2")):
        part[key] |= {"trouble": f"{package} is not installed", "hint": INSTALL[key]}
    runtime: Any = {**part["onnxruntime"], "cuda": part["onnxruntime-cuda"]}
    return {
        "schema": SCHEMA,
        "program": {"version": "1", "python": "3.12.0", "executable": "python"},
        "host": part["host"],
        "libraries": part["libraries"],
        "driver": part["driver"],
        "onnxruntime": runtime,
        "tensorrt": {key: part[key] for key in ("tensorrt", "tensorrt-rtx")},
        "device_memory": {key: part[key] for key in ("pycuda", "cuda-python")},
        "training": part["training"],
        "czi": part["czi"],
        "lif": part["lif"],
        "nd2": part["nd2"],
        "install": INSTALL,
    }


def mend(part: Any, version: str, **more: object) -> None:
    """Let a part work."""
    part.update(trouble=None, hint=None, version=version, **more)
