"""Which engine runs: ONNX Runtime on the first card, else on the CPU."""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Callable

from hptl_deploy.engines.base import Engine
from hptl_deploy.errors import EnvironmentLacks, UsageError
from hptl_deploy.model import Model

Announce = Callable[[str], None]


def open_engine(
    model: Model, device: str = "auto", precision: str | None = None, *, announce: Announce
) -> Engine:
    """Open `model` on `device`: `auto`, `cpu`, `cuda` or `cuda:N`.

    `precision` must be the model file's own where it is given. `auto` takes the first card,
    and the CPU where there is none; a card that is there but cannot be used is told to
    `announce`.

    Raises UsageError for an unknown device or a precision the file does not have, and
    EnvironmentLacks when a card was asked for and cannot be used.
    """
    if precision is not None and precision != model.card.precision:
        raise UsageError(
            f"{model.path}: asked for {precision}, the file holds {model.card.precision}",
            hint="Leave --precision out",
        )
    from hptl_deploy.engines.onnxruntime import OnnxRuntimeEngine

    index = _cuda_index(device)
    if index is None:
        return OnnxRuntimeEngine(model)
    cards = count_cards()
    if index >= cards:
        reason = (
            f"asked for card {index}, this machine has {cards}"
            if cards
            else ("no NVIDIA card answers on this machine (no driver, or no card)")
        )
        if device == "auto":
            return OnnxRuntimeEngine(model)
        raise EnvironmentLacks(f"--device {device}: {reason}", hint="Use --device cpu")
    try:
        return OnnxRuntimeEngine(model, cuda_index=index)
    except EnvironmentLacks as exc:
        if device != "auto":
            raise
        announce(f"{exc}. Running on the CPU instead")
        return OnnxRuntimeEngine(model)


def _cuda_index(device: str) -> int | None:
    """The card that `device` means; None for the CPU. Raises UsageError."""
    if device == "cpu":
        return None
    match = re.fullmatch(r"(?:auto|cuda(?::(\d+))?)", device)
    if match is None:
        raise UsageError(f"--device {device}: expected auto, cpu, cuda or cuda:N")
    return int(match.group(1) or 0)


def count_cards() -> int:
    """NVIDIA cards the driver offers; 0 without a driver. Asks the driver, loads no toolkit."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
