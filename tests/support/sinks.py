"""A sink that remembers what it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Recorder:
    """Notes and advances of a run; `on_advance` is called with every one."""

    def __init__(self, on_advance: Callable[[str], None] | None = None) -> None:
        self.notes: list[str] = []
        self.advanced: list[str] = []
        self._on_advance = on_advance

    def note(self, text: str) -> None:
        self.notes.append(text)

    @contextmanager
    def progress(
        self, title: str, total: float, unit: str, done: float = 0.0
    ) -> Iterator[Recorder]:
        yield self

    def advance(self, amount: float = 1.0, note: str = "", speed: str = "") -> None:
        self.advanced.append(note)
        if self._on_advance:
            self._on_advance(note)
