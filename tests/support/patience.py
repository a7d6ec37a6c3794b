"""Work that may hang, as a test that fails instead."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` returns or raises; an AssertionError where it takes longer than `seconds`."""
    answers: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(work())
        except BaseException as exc:  # raised below
            errors.append(exc)

    # A daemon: what hangs for ever does not keep the process.
    thread = threading.Thread(target=run, name="patience", daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"hangs for {seconds} s"
    if errors:
        raise errors[0]
    return answers[0]
