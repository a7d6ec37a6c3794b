"""A watch over a folder, as tests look on: what came, when, and that nothing came."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, Queue

from hptl_deploy.segmentation.inputs.arrivals import Arrivals, Event
from hptl_deploy.segmentation.inputs.listing import Listed

POLL, STABLE = 0.02, 0.12
# For what must happen: only a test that fails takes so long. For what must not: long enough
# for two looks and some, so that it would have happened.
PATIENCE, LULL = 10.0, 4 * STABLE


class Watch:
    """Arrivals of a folder, iterated in a thread, with what came out so far."""

    def __init__(self, source: Path, out: Path, *, poll: float = POLL, auto: bool = True) -> None:
        self.stop = threading.Event()
        self.arrivals = Arrivals(source, out, self.stop, poll=poll, stable=STABLE)
        self.events: Queue[tuple[float, Event]] = Queue()
        self.errors: list[BaseException] = []
        self._auto = auto
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            for event in self.arrivals:
                self.events.put((time.monotonic(), event))
                if self._auto and isinstance(event, Listed):
                    self.arrivals.finished(event.relative, failed=False)
        except BaseException as exc:
            self.errors.append(exc)

    def next(self, *kinds: type, timeout: float = PATIENCE) -> Event | None:
        """The next event, of these kinds if any are named; None when none comes."""
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0 and not self.errors:
            try:
                _, event = self.events.get(timeout=left)
            except Empty:
                return None
            if not kinds or isinstance(event, kinds):
                return event
        return None

    def listed(self, timeout: float = PATIENCE) -> str | None:
        event = self.next(Listed, timeout=timeout)
        return event.relative if isinstance(event, Listed) else None

    def quiet(self, *kinds: type) -> bool:
        return self.next(*kinds, timeout=LULL) is None

    def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end
            time.sleep(POLL)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> float:
        """Seconds that it takes to stop."""
        began = time.monotonic()
        self.stop.set()
        if self._thread.ident is not None:
            self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        assert not self.errors
        return time.monotonic() - began


def age(source: Path) -> None:
    """Let what is there become old by the clock of its file system, as `out` shows it."""
    time.sleep(STABLE + 0.05)
    (source.with_name("out") / "run.json").write_text("{}")


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
