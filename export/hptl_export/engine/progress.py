"""A build's progress: TensorRT's phases within phases as one bar."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from hptl_deploy.engines.flavour import Flavour, Trt
from hptl_deploy.sink import Bar

PERCENT = 100.0


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Progress:
    """How far a build has come, from its phases; called from any of its threads.

    A phase counts its finished steps, and of the step it is in what the phases within it have
    done. The bar never goes back.
    """

    def __init__(self, bar: Bar, stop: threading.Event) -> None:
        """`bar` goes to PERCENT; `stop` asks the build to end early."""
        self._bar, self._stop = bar, stop
        self._phases: dict[str, _Phase] = {}
        self._shown = 0.0
        self._lock = threading.Lock()

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins."""
        with self._lock:
            self._phases[name] = _Phase(parent, max(1, steps))
            self._show(name)

    def step(self, name: str, index: int) -> bool:
        """Step `index` of a phase is done; False asks the build to end."""
        with self._lock:
            if phase := self._phases.get(name):
                phase.done = max(phase.done, index + 1)
            self._show()
        return not self._stop.is_set()

    def finish(self, name: str) -> None:
        """A phase has ended."""
        with self._lock:
            if phase := self._phases.get(name):
                phase.done = phase.steps
                self._show()
                del self._phases[name]

    def _show(self, note: str = "") -> None:
        roots = [name for name, phase in self._phases.items() if phase.parent is None]
        share = max((self._share(name) for name in roots), default=0.0)
        gain = max(0.0, PERCENT * share - self._shown)
        # A build has thousands of steps; a screen has fewer.
        if note or gain >= 1.0 or (gain and share == 1.0):
            self._shown += gain
            self._bar.advance(gain, note)

    def _share(self, name: str) -> float:
        phase = self._phases[name]
        within = [self._share(n) for n, inner in self._phases.items() if inner.parent == name]
        return min(1.0, (phase.done + max(within, default=0.0)) / phase.steps)


def monitor(flavour: Flavour, progress: Progress) -> Trt:
    """The flavour's own kind of monitor, telling `progress`."""
    trt = flavour.trt

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        """Called by the builder."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """A phase begins."""
            progress.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            """A step is done; False ends the build."""
            return progress.step(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            """A phase has ended."""
            progress.finish(phase_name)

    return Monitor()
