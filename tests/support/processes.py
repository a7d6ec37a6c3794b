"""The command line in a process of its own, to be killed and interrupted."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """`hptl-deploy ARGUMENTS`, running, its output piped."""
    return subprocess.Popen(
        [sys.executable, "-m", "hptl_deploy.cli.main", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONUTF8": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Poll until `condition` holds or the process has ended; fails after half a minute."""
    deadline = time.monotonic() + 30
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline, "the process does nothing"
        time.sleep(0.002)


def lines(path: Path) -> int:
    """Line feeds in a file, 0 where there is none."""
    try:
        return path.read_bytes().count(b"\n")
    except OSError:
        return 0
