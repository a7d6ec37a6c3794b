"""A driver without a card: `stand_in_driver.c`, compiled where there is a compiler.

It is found by processes that are started afterwards, so that the tests' own keeps none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = "libcuda.so.1"


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, **answers: int) -> None:
    """Put it where new processes look first; `answers` such as `cards=2`, `init=803`.

    Skips, saying why, where it cannot be compiled.
    """
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs Linux and a C compiler")
    source = Path(__file__).with_suffix(".c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / LIBRARY, source], check=True)
    show(folder, monkeypatch)
    for name, value in answers.items():
        monkeypatch.setenv(f"STAND_IN_{name.upper()}", str(value))


def show(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let new processes look for libraries in `folder` first."""
    before = os.environ.get("LD_LIBRARY_PATH", "")
    monkeypatch.setenv("LD_LIBRARY_PATH", os.pathsep.join(filter(None, [str(folder), before])))
