"""Seconds per micrograph: who is asked when, and what of it counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hptl_train.compare import timing
from hptl_train.compare.timing import ROUNDS, seconds_per_image
from hptl_train.predictor import Judged
from support.sinks import Recorder

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass
class Day:
    """A clock that only the methods move, and what they were asked."""

    now: float = 0.0
    calls: list[tuple[str, int]] = field(default_factory=list)

    def perf_counter(self) -> float:
        return self.now


class Timed:
    """A method that takes as long as it is told, micrograph by micrograph."""

    def __init__(self, name: str, day: Day, seconds: Iterable[float]) -> None:
        self._name, self._day, self._seconds = name, day, iter(seconds)

    def classes(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        self._day.calls.append((self._name, int(pixels[0, 0, 0])))
        self._day.now += next(self._seconds)
        return pixels[..., 0]

    def judged(self, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Judged:
        raise AssertionError("scoring takes longer than segmenting")


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch) -> Day:
    day = Day()
    monkeypatch.setattr(timing, "time", day)
    return day


def pictures(count: int) -> list[NDArray[np.uint8]]:
    """Micrographs that say their number."""
    return [np.full((2, 3, 3), number, np.uint8) for number in range(count)]


def test_methods_take_turns_on_every_micrograph(day: Day) -> None:
    calls = 2 * (1 + ROUNDS)
    methods = {name: Timed(name, day, [1.0] * calls) for name in ("slow", "quick")}
    sink = Recorder()
    seconds_per_image(methods, pictures(2), sink)
    in_turn = [("slow", 0), ("quick", 0), ("slow", 1), ("quick", 1)]
    assert day.calls == in_turn * (1 + ROUNDS)
    assert len(sink.advanced) == calls


def test_each_method_has_the_median_of_its_own_times(day: Day) -> None:
    """The warm-up is slowest here; its two times would raise both medians. Means are others."""
    slow = [900.0, 900.0, 3.0, 5.0, 50.0, 4.0, 6.0, 7.0]
    quick = [800.0, 800.0, 0.5, 0.25, 0.125, 0.75, 0.25, 100.0]
    assert len(slow) == 2 * (1 + ROUNDS)
    methods = {"slow": Timed("slow", day, slow), "quick": Timed("quick", day, quick)}
    found = seconds_per_image(methods, pictures(2), Recorder())
    assert found == pytest.approx({"slow": 5.5, "quick": 0.375})
    assert list(found) == ["slow", "quick"]


def test_one_micrograph_is_enough(day: Day) -> None:
    found = seconds_per_image({"only": Timed("only", day, [9, 1, 3, 2])}, pictures(1), Recorder())
    assert found == {"only": 2}
