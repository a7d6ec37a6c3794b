from __future__ import annotations

import threading

import pytest

from hptl_export.engine.progress import Progress


class Bar:
    """Remembers how far it is."""

    def __init__(self) -> None:
        self.at = 0.0
        self.notes: list[str] = []

    def advance(self, amount: float = 1.0, note: str = "", speed: str = "") -> None:
        assert amount >= 0
        self.at += amount
        if note:
            self.notes.append(note)


@pytest.fixture
def bar() -> Bar:
    return Bar()


def test_phases_within_phases(bar: Bar) -> None:
    progress = Progress(bar, threading.Event())
    progress.start("all", None, 4)
    assert progress.step("all", 0)
    assert bar.at == pytest.approx(25)
    progress.start("part", "all", 2)
    progress.step("part", 0)
    assert bar.at == pytest.approx(37.5)
    progress.start("detail", "part", 5)
    progress.step("detail", 4)  # all of the part's second step
    assert bar.at == pytest.approx(50)
    progress.finish("detail")
    progress.finish("part")
    progress.step("all", 1)
    assert bar.at == pytest.approx(50)
    progress.finish("all")
    assert bar.at == pytest.approx(100)
    assert bar.notes == ["all", "part", "detail"]


def test_it_never_goes_back(bar: Bar) -> None:
    progress = Progress(bar, threading.Event())
    progress.start("all", None, 2)
    progress.step("all", 1)
    progress.start("all", None, 2)  # the same once more
    progress.step("all", 0)
    progress.finish("all")
    progress.start("another", None, 10)
    progress.step("another", 3)
    assert bar.at == pytest.approx(100)


def test_small_steps_are_gathered(bar: Bar) -> None:
    progress = Progress(bar, threading.Event())
    progress.start("all", None, 1000)
    for step in range(9):
        progress.step("all", step)
    assert bar.at == 0
    progress.step("all", 9)
    assert bar.at == pytest.approx(1)


def test_what_was_never_started_is_no_error(bar: Bar) -> None:
    progress = Progress(bar, threading.Event())
    progress.finish("unknown")
    assert progress.step("unknown", 3)
    progress.start("inner", "nobody", 0)
    progress.step("inner", 0)
    assert bar.at == 0


def test_a_stop_ends_the_build_at_the_next_step(bar: Bar) -> None:
    stop = threading.Event()
    progress = Progress(bar, stop)
    progress.start("all", None, 2)
    assert progress.step("all", 0)
    stop.set()
    assert not progress.step("all", 1)
