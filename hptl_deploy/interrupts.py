"""Ctrl-C and SIGTERM: the first asks, the second ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from hptl_deploy.errors import EXIT_INTERRUPTED


@contextmanager
def stop_on_signals(finishing: str) -> Iterator[threading.Event]:
    """An event that the first SIGINT, SIGTERM or Ctrl-Break sets; a second ends the process.

    `finishing` tells the user what is still being done after the first. Only the main
    thread can do this; elsewhere the event is never set.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    answer = f"\nfinishing {finishing}; once more ends at once\n".encode()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            # At once, without waiting for threads: files are renamed when whole, and what
            # was half-written is cleared by the next run.
            os._exit(EXIT_INTERRUPTED)
        stop.set()
        # Not print: the handler may interrupt a print.
        os.write(2, answer)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGBREAK"):
        numbers.append(signal.SIGBREAK)
    before: dict[signal.Signals, Any] = {n: signal.signal(n, handle) for n in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
