"""Who is told how long work goes; `hptl_deploy.cli.output.Output` is one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Bar(Protocol):
    """A progress bar."""

    def advance(self, amount: float = 1.0, note: str = "", speed: str = "") -> None:
        """`amount` more units are done; `note` replaces what is shown behind the bar.

        `speed` is shown beside the bar's own rate.
        """


class Sink(Protocol):
    """Takes notes and shows progress."""

    def note(self, text: str) -> None:
        """A line for the reader. Called from any thread."""

    def progress(
        self, title: str, total: float, unit: str, done: float = 0.0
    ) -> AbstractContextManager[Bar]:
        """A bar over `total` units, of which `done` are finished before the start.

        It may be advanced from another thread.
        """


class Silent:
    """Nobody is told anything; a sink and its bar."""

    def note(self, text: str) -> None:
        """Nothing."""

    def advance(self, amount: float = 1.0, note: str = "", speed: str = "") -> None:
        """Nothing."""

    @contextmanager
    def progress(self, title: str, total: float, unit: str, done: float = 0.0) -> Iterator[Bar]:
        """A bar that nobody sees."""
        yield self


def figure(value: object, digits: int) -> str:
    """A number with `digits` decimals; `-` for what is not known (scores may be null)."""
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "-"
