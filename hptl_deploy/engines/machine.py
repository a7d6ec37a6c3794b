"""What decides on this machine whether an engine fits: the card, its driver, the system.

Asked of the driver itself, so that neither a CUDA toolkit nor a TensorRT is needed to know it.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from dataclasses import dataclass

_NAME_BYTES = 256
# Of the driver's CUdevice_attribute.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76


@dataclass(frozen=True)
class Card:
    """One NVIDIA card."""

    name: str
    capability: str
    """Compute capability, such as `8.9`."""

    def __str__(self) -> str:
        return f"{self.name} ({self.capability})"


@dataclass(frozen=True)
class Machine:
    """Where an engine is built or is to run."""

    card: Card | None
    """None without a driver or a card."""
    driver: str | None
    """Version of the display driver, such as `580.65.06`; None where there is no card."""
    os: str
    """System and processor, such as `linux-x86_64`."""


def this_machine(index: int = 0) -> Machine:
    """This machine with its card number `index`, if there is one."""
    card = _card(index)
    return Machine(card, None if card is None else _driver_version(), _system())


def _system() -> str:
    # Windows says AMD64 where Linux says x86_64.
    processor = platform.machine().lower().replace("amd64", "x86_64")
    return f"{platform.system().lower()}-{processor}"


def _library(linux: str, windows: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(windows if sys.platform == "win32" else linux)
    except OSError:
        return None


def _card(index: int) -> Card | None:
    """Card number `index`; None where the driver is missing or does not show it."""
    driver = _library("libcuda.so.1", "nvcuda.dll")
    device, major, minor = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(0)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    if (
        driver is None
        or driver.cuInit(0) != 0
        or driver.cuDeviceGet(ctypes.byref(device), index) != 0
        or driver.cuDeviceGetName(name, _NAME_BYTES, device) != 0
        or driver.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, device) != 0
        or driver.cuDeviceGetAttribute(ctypes.byref(minor), _CAPABILITY_MINOR, device) != 0
    ):
        return None
    return Card(name.value.decode("utf-8", "replace"), f"{major.value}.{minor.value}")


def _driver_version() -> str:
    """The display driver's version; the CUDA version it offers where it does not tell."""
    management = _library("libnvidia-ml.so.1", "nvml.dll")
    if management is not None and management.nvmlInit_v2() == 0:
        text = ctypes.create_string_buffer(_NAME_BYTES)
        answered = management.nvmlSystemGetDriverVersion(text, _NAME_BYTES) == 0
        management.nvmlShutdown()
        if answered:
            return text.value.decode("ascii", "replace")
    driver, version = _library("libcuda.so.1", "nvcuda.dll"), ctypes.c_int(0)
    if driver is not None:
        driver.cuDriverGetVersion(ctypes.byref(version))
    return f"CUDA {version.value // 1000}.{version.value % 1000 // 10}"
