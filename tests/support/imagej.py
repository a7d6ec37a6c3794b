"""ImageJ itself, to see results as its users do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

JARS = ("/usr/share/java/ij.jar", os.environ.get("IJ_JAR", ""))
"""Debian's package imagej, or wherever the variable says."""
_PROGRAM = Path(__file__).with_name("ImageJReads.java")

Opened = tuple[list[list[str]], NDArray[np.int32]]
"""The lines of `ImageJReads.java` for a file, in words, and all its numbers, flat."""


class ImageJ:
    """Each call is a process of its own."""

    def __init__(self, java: str, jar: str, folder: Path) -> None:
        self._command, self._folder = [java, "-cp", jar, str(_PROGRAM)], folder

    def open(self, path: Path) -> Opened:
        """What ImageJ makes of a TIFF or of a zip of regions."""
        ended = subprocess.run(
            [*self._command, str(self._folder), str(path)],
            capture_output=True, check=True, timeout=120, text=True, encoding="utf-8",
            env={**os.environ, "JAVA_TOOL_OPTIONS": "-Dfile.encoding=UTF-8"},
        )  # fmt: skip
        lines = [line.split("\t") for line in ended.stdout.splitlines()]
        return lines, np.fromfile(self._folder / "1.raw", ">i4").astype(np.int32)


@pytest.fixture
def imagej(tmp_path: Path) -> ImageJ:
    """One that is installed; without any the test is skipped."""
    java, jar = shutil.which("java"), next(filter(os.path.isfile, JARS), None)
    if java is None or jar is None:
        pytest.skip("needs java and ImageJ (Debian's package imagej, or IJ_JAR=.../ij.jar)")
    folder = tmp_path / "imagej"
    folder.mkdir()
    return ImageJ(java, jar, folder)
