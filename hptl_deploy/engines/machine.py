"""What decides on this machine whether an engine fits: the card, its driver, the system.

Asked of the driver itself, so that neither a CUDA toolkit nor a TensorRT is needed to know it.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hptl_deploy.errors import DeviceError, EnvironmentLacks

_NAME_BYTES = 256
# Of the driver's CUdevice_attribute.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE: a driver, but no card that it shows


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
    try:
        card = Driver().card(index)
    except (EnvironmentLacks, DeviceError):
        return Machine(None, None, _system())
    return Machine(card, driver_version(), _system())


def count_cards() -> int:
    """NVIDIA cards that the driver offers; 0 where it is missing or fails."""
    try:
        return Driver().count()
    except (EnvironmentLacks, DeviceError):
        return 0


def free_on_card(index: int) -> int | None:
    """Free memory of card `index` in bytes; None where the driver does not say."""
    try:
        free, _ = Driver().memory(index)
    except (EnvironmentLacks, DeviceError):
        return None
    return free


def driver_version() -> str | None:
    """The display driver's version; `CUDA 13.0` where it tells no more, None without a driver."""
    try:
        management = _library("libnvidia-ml.so.1", "nvml.dll")
        if management.nvmlInit_v2() == 0:
            text = ctypes.create_string_buffer(_NAME_BYTES)
            answered = management.nvmlSystemGetDriverVersion(text, _NAME_BYTES) == 0
            management.nvmlShutdown()
            if answered:
                return text.value.decode("ascii", "replace")
    except (OSError, AttributeError):  # not there, or another library of that name
        pass
    try:
        return f"CUDA {Driver().cuda()}"
    except (EnvironmentLacks, DeviceError):
        return None


class Driver:
    """The driver's own library, started. Its methods raise DeviceError with the driver's words."""

    def __init__(self) -> None:
        """Raises EnvironmentLacks where there is no driver, DeviceError where it does not start.

        A driver without a card starts.
        """
        try:
            self._library = _library("libcuda.so.1", "nvcuda.dll")
        except OSError as exc:
            raise EnvironmentLacks(_missing(exc)) from exc
        status = self._status("cuInit", 0)
        self._bare = status == _NO_DEVICE
        if not self._bare:
            self._check("cuInit", status)

    def cuda(self) -> str:
        """The newest CUDA that it runs, such as `13.0`."""
        version = ctypes.c_int(0)
        self._call("cuDriverGetVersion", ctypes.byref(version))
        return f"{version.value // 1000}.{version.value % 1000 // 10}"

    def count(self) -> int:
        """Cards that it shows."""
        count = ctypes.c_int(0)
        if not self._bare:
            self._call("cuDeviceGetCount", ctypes.byref(count))
        return count.value

    def card(self, index: int) -> Card:
        """Card number `index`."""
        device = self._device(index)
        name = ctypes.create_string_buffer(_NAME_BYTES)
        major, minor = ctypes.c_int(0), ctypes.c_int(0)
        self._call("cuDeviceGetName", name, _NAME_BYTES, device)
        self._call("cuDeviceGetAttribute", ctypes.byref(major), _CAPABILITY_MAJOR, device)
        self._call("cuDeviceGetAttribute", ctypes.byref(minor), _CAPABILITY_MINOR, device)
        return Card(name.value.decode("utf-8", "replace"), f"{major.value}.{minor.value}")

    def total_bytes(self, index: int) -> int:
        """Memory of card `index`, used or not."""
        total = ctypes.c_size_t(0)
        self._call("cuDeviceTotalMem_v2", ctypes.byref(total), self._device(index))
        return total.value

    def memory(self, index: int) -> tuple[int, int]:
        """(free, total) bytes of card `index`."""
        free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
        with self._primary_context(index):
            self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def _device(self, index: int) -> ctypes.c_int:
        device = ctypes.c_int(0)
        self._call("cuDeviceGet", ctypes.byref(device), index)
        return device

    @contextmanager
    def _primary_context(self, index: int) -> Iterator[None]:
        """The calling thread's until the end of the block; engines work in it, too."""
        device, context = self._device(index), ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        try:
            self._call("cuCtxPushCurrent_v2", context)
            try:
                yield
            finally:
                self._call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))
        finally:
            self._call("cuDevicePrimaryCtxRelease_v2", device)

    def _call(self, function: str, *arguments: object) -> None:
        self._check(function, self._status(function, *arguments))

    def _check(self, function: str, status: int) -> None:
        if status:
            raise DeviceError(f"{function}: {self._words(status)}")

    def _status(self, function: str, *arguments: object) -> int:
        try:
            return int(getattr(self._library, function)(*arguments))
        except AttributeError as exc:
            raise DeviceError(f"the driver's library has no function {function}") from exc

    def _words(self, status: int) -> str:
        text = ctypes.c_char_p()
        try:
            known = self._status("cuGetErrorString", status, ctypes.byref(text)) == 0
        except DeviceError:
            known = False
        return text.value.decode("utf-8", "replace") if known and text.value else f"error {status}"


def _system() -> str:
    # Windows says AMD64 where Linux says x86_64.
    processor = platform.machine().lower().replace("amd64", "x86_64")
    return f"{platform.system().lower()}-{processor}"


def _library(linux: str, windows: str) -> ctypes.CDLL:
    """Raises OSError where it cannot be loaded."""
    return ctypes.CDLL(windows if sys.platform == "win32" else linux)


def _missing(error: OSError) -> str:
    # Windows raises FileNotFoundError; elsewhere the loader's words name what it did not find.
    text = str(error)
    if isinstance(error, FileNotFoundError) or text.startswith("libcuda.so.1: cannot open"):
        return "no NVIDIA driver is installed"
    return f"the NVIDIA driver is installed but cannot be loaded ({text})"
