"""Where it was measured: a figure without its machine says nothing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

from hptl_deploy import __version__
from hptl_deploy.doctor.processor import processor
from hptl_deploy.engines.machine import this_machine

_LOOK_SECONDS = 0.5


def describe_machine(device: str, busy_before: float) -> dict[str, Any]:
    """Processor, its 8-bit instructions, cores, system, and the card of `device` if there is one.

    `busy_before` is what `busy_share` gave before anything was measured.
    """
    index = int(device.partition(":")[2] or 0)
    here, chip = this_machine(index), processor()
    return {
        "processor": chip["name"],
        "eight_bit": dict(chip["eight_bit"]),
        "cores": cores(),
        "busy_before": busy_before,
        "system": platform.platform(),
        "card": None if here.card is None else str(here.card),
        "driver": here.driver,
    }


def busy_share() -> float:
    """Share of the processors that is at work, for others while we wait: 0 to 1."""
    import psutil

    return float(psutil.cpu_percent(interval=_LOOK_SECONDS)) / 100


def cores() -> int:
    """Physical cores that this process may use: what engines on the CPU take."""
    import psutil

    physical = psutil.cpu_count(logical=False) or 1
    if not hasattr(os, "sched_getaffinity"):
        return int(physical)
    return int(min(physical, len(os.sched_getaffinity(0))))


def versions() -> dict[str, str]:
    """Of the program, Python and what is measured."""
    found = {"hptl_deploy": __version__, "python": platform.python_version()}
    for package in ("numpy", "onnxruntime-gpu", "onnxruntime", "onnx", "torch"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
