"""`metrics.jsonl`: what happened while training, one JSON document a line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from hptl_deploy.errors import RunError


class Metrics:
    """The file of losses and validations, cut back on resuming."""

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        """`writable` is false in all but the first of several processes: nothing is written."""
        self.path = path
        self._writable = writable

    def cut(self, length: int) -> None:
        """Forget everything behind the first `length` bytes."""
        if self._writable and (self.path.exists() or length):
            with self.path.open("ab") as handle:
                if handle.tell() < length:
                    raise RunError(f"{self.path}: is shorter than its checkpoint says")
                handle.truncate(length)

    def add(self, document: dict[str, Any]) -> None:
        """Append a line."""
        if self._writable:
            with self.path.open("ab") as handle:
                handle.write((json.dumps(document) + "\n").encode())

    def losses(self, step: str) -> list[float]:
        """The training losses of a step, oldest first."""
        return [line["loss"] for line in read_metrics(self.path, step) if "loss" in line]

    def flushed_length(self) -> int:
        """Length in bytes, after everything written has reached the disk."""
        with self.path.open("ab") as handle:
            os.fsync(handle.fileno())
            return handle.tell()


def read_metrics(path: Path, step: str | None = None) -> list[dict[str, Any]]:
    """The lines, oldest first: all, or those of `step`."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if step is None or line["step"] == step]
