"""The CPU's name and its 8-bit instructions, which decide what an int8 model gains on it."""

from __future__ import annotations

import platform
import re
import sys
from contextlib import suppress
from pathlib import Path

from hptl_deploy.channel_blocks import numpy_features
from hptl_deploy.doctor.findings import EightBit, Processor

_CPUINFO = Path("/proc/cpuinfo")
_ARM = ("aarch64", "arm64")


def processor() -> Processor:
    """This machine's."""
    import psutil

    text = _CPUINFO.read_text(errors="replace") if _CPUINFO.is_file() else ""
    return {
        "name": _name(text),
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(),
        "eight_bit": from_cpuinfo(text) or from_numpy(),
    }


def from_cpuinfo(text: str) -> EightBit | None:
    """What Linux lists of the first processor; None where it lists nothing."""
    if flags := _field(text, "flags"):
        words = set(flags.split())
        return {
            "avx2": "avx2" in words,
            "avx512_vnni": "avx512_vnni" in words,
            "avx_vnni": "avx_vnni" in words,
            "arm_dotprod": False,
        }
    if features := _field(text, "Features"):
        return _arm(dotprod="asimddp" in features.split())
    return None


def from_numpy() -> EightBit:
    """What numpy found when it was loaded. It does not look for AVX-VNNI."""
    found = numpy_features()
    if platform.machine().lower() in _ARM:
        return _arm(dotprod=found.get("ASIMDDP"))
    return {
        "avx2": found.get("AVX2"),
        "avx512_vnni": found.get("AVX512VNNI"),
        "avx_vnni": None,
        "arm_dotprod": False,
    }


def dot_products(found: EightBit) -> bool | None:
    """Whether the CPU has 8-bit dot products of any kind; None where that is not known."""
    kinds = (found["avx512_vnni"], found["avx_vnni"], found["arm_dotprod"])
    if any(kinds):
        return True
    return None if None in kinds else False


def _arm(*, dotprod: bool | None) -> EightBit:
    return {"avx2": False, "avx512_vnni": False, "avx_vnni": False, "arm_dotprod": dotprod}


def _name(cpuinfo: str) -> str:
    if sys.platform == "win32":
        import winreg

        path = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
        with suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path) as key:
            return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    return _field(cpuinfo, "model name") or platform.processor() or platform.machine()


def _field(text: str, name: str) -> str:
    match = re.search(rf"^{name}\s*:\s*(.*?)\s*$", text, re.MULTILINE)
    return match[1] if match else ""
