"""The examination: every part is asked in a process of its own, several at once.

A library that is half installed can end the process that loads it, wait for ever, or write to
the screen by itself. In a process of its own it does none of this to the command, and what it
did becomes a sentence.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import IO, Any, cast

from hptl_deploy import __version__
from hptl_deploy.closing import Closes
from hptl_deploy.doctor.findings import EMPTY, END, INSTALL, SCHEMA, TITLES, Findings
from hptl_deploy.sink import Bar, Sink

PATIENCE = 60.0
"""Seconds for an answer. A library loads in one or two; on a busy machine with a cold disk and a
virus scanner it may take twenty, and must not be called broken for that."""

_FAREWELL = 2.0
"""Seconds in which a process that was killed is gone."""

# Cards before anything else: what the libraries take of a card's memory must not count as used.
_FIRST = ("host", "driver")


def examine(sink: Sink, patience: float = PATIENCE) -> Findings:
    """Ask every part, each for at most `patience` seconds; raises nothing for what is missing."""
    then = tuple(name for name in EMPTY if name not in _FIRST)
    with sink.progress("examining", len(EMPTY), "parts") as bar:
        found = {**_ask(_FIRST, patience, bar), **_ask(then, patience, bar)}
    document = {
        "schema": SCHEMA,
        "program": {
            "version": __version__,
            "python": platform.python_version(),
            "executable": sys.executable,
        },
        "host": found["host"],
        "libraries": found["libraries"],
        "driver": found["driver"],
        "onnxruntime": {**found["onnxruntime"], "cuda": found["onnxruntime-cuda"]},
        "tensorrt": {key: found[key] for key in ("tensorrt", "tensorrt-rtx")},
        "device_memory": {key: found[key] for key in ("pycuda", "cuda-python")},
        "training": found["training"],
        **{key: found[key] for key in ("czi", "lif", "nd2")},
        "install": INSTALL,
    }
    return cast("Findings", document)


def _ask(names: Sequence[str], patience: float, bar: Bar) -> dict[str, dict[str, Any]]:
    """The answers, whole: what a part does not say is as in EMPTY."""
    deadline = time.monotonic() + patience
    found = {}
    with ExitStack() as stack:
        children = {name: stack.enter_context(_Child(name)) for name in names}
        for name, child in children.items():
            found[name] = {**EMPTY[name], **child.answer(deadline, patience)}
            bar.advance(note=name)
    return found


class _Child(Closes):
    """One part, being asked."""

    def __init__(self, name: str) -> None:
        self._title = TITLES[name]
        # It finds what this process finds, and nothing in the folder that it happens to be in.
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109
        command = [sys.executable, "-P", "-m", "hptl_deploy.doctor.probes", name]
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._refused = ""
        try:
            self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close
            self._process = subprocess.Popen(
                command,
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._said,
            )
        except OSError as exc:
            self._refused = exc.strerror or type(exc).__name__

    def answer(self, deadline: float, patience: float) -> dict[str, Any]:
        """What it found before the deadline, and the trouble that it had in answering."""
        if self._process is None:
            return self._trouble(f"cannot be tried in a process of its own ({self._refused})")
        late = False
        try:
            told, _ = self._process.communicate(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            late, told = True, self._stop()
        lines = _documents(told)
        found = {key: value for line in lines if line != END for key, value in line.items()}
        if late:
            return found | self._trouble(f"was tried for {patience:g} s and gave no answer")
        if END not in lines:
            return found | self._trouble(f"ended the process that tried it ({self._end()})")
        return found

    def close(self) -> None:
        """End it where it has not ended; a second call does nothing."""
        if self._process is not None:
            self._stop()
        if self._said is not None:
            self._said.close()

    def _stop(self) -> bytes:
        """End it; what it has said."""
        assert self._process is not None
        self._process.kill()
        try:
            return self._process.communicate(timeout=_FAREWELL)[0]
        except subprocess.TimeoutExpired as exc:
            # It hangs in the driver, where nothing ends it.
            return exc.output or b""

    def _trouble(self, what: str) -> dict[str, Any]:
        return {"trouble": f"{self._title} {what}", "hint": None}

    def _end(self) -> str:
        """How it ended, and the last that it said."""
        assert self._process is not None
        assert self._said is not None
        code = self._process.returncode
        try:
            how = signal.Signals(-code).name
        except ValueError:
            how = f"exit code {code & 0xFFFFFFFF:#x}" if code > 255 else f"exit code {code}"
        self._said.seek(0)
        said = self._said.read().decode("utf-8", "replace").strip().splitlines()
        return f"{how}: {said[-1].strip()}" if said else how


def _documents(told: bytes) -> list[dict[str, Any]]:
    """The lines that are a probe's; whatever else was printed is left out."""
    found = []
    for line in told.splitlines():
        with suppress(ValueError):
            document = json.loads(line)
            if isinstance(document, dict):
                found.append(document)
    return found
