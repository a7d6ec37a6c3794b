"""What ONNX Runtime's memory on a CPU depends on: how many channels it keeps together.

It lays feature maps out in blocks of channels that fill a vector register, 8 fp32 numbers with AVX
or AVX2 and 16 with AVX-512, and a layer's last block is as large as the others. A trunk that
begins with 8 channels takes twice the memory for them where blocks are of 16.
"""

from __future__ import annotations

import functools
import importlib
import platform
from collections.abc import Iterable

NARROW, WIDE = 8, 16
"""Channels of a block."""


@functools.cache
def channel_block() -> int:
    """Of this machine: NARROW on x86-64 without AVX-512, WIDE wherever it may be that."""
    x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return NARROW if x86 and numpy_features().get("AVX512F") is False else WIDE


def growth(channels: Iterable[int], measured: int, here: int) -> float:
    """How much more memory layers of so many `channels` take at most, at least 1.

    Where blocks are of `here` channels, against where they are of `measured`.
    """
    return max(1.0, *(_filled(count, here) / _filled(count, measured) for count in channels))


def numpy_features() -> dict[str, bool]:
    """The instruction sets that numpy looked for when it was loaded, by its names for them."""
    for core in ("numpy._core", "numpy.core"):  # the second before numpy 2
        try:
            table = importlib.import_module(f"{core}._multiarray_umath").__cpu_features__
        except (ImportError, AttributeError):
            continue
        return dict(table)
    return {}


def _filled(channels: int, block: int) -> int:
    return -(-channels // block) * block
