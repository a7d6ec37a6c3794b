"""The order of rounds, and what is kept of them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hptl_deploy.bench.contenders import Contender, Traits
from hptl_deploy.bench.frames import Frames
from hptl_deploy.bench.peak import MatrixProduct
from hptl_deploy.bench.result import faster
from hptl_deploy.bench.rounds import CardMemory, Timed, rest, run_rounds, warm_up
from hptl_deploy.sink import Silent
from hptl_deploy.tiling import plan_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLAN = plan_frame(8, 8, stride=8, halo=0)


class Sleeper(Contender):
    """Takes a known time, and writes down what it was given."""

    def __init__(self, name: str, seconds: float, seen: list[tuple[str, int]]) -> None:
        super().__init__(Traits(name, "cpu", "fp32", PLAN))
        self._seconds, self._seen = seconds, seen
        self._given = 0

    def classes(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        self._seen.append((self.traits.backend, int(pixels[0, 0, 0])))
        self._given += 1
        time.sleep(self._seconds)
        found: NDArray[np.uint8] = pixels[..., 0] // 128
        return found

    def stages(self) -> dict[str, float]:
        return {"compute": float(self._given)} if self.traits.backend == "b" else {}

    def close(self) -> None:
        pass


def frames() -> Frames:
    pictures = tuple(np.full((8, 8, 3), level, np.uint8) for level in (10, 200))
    return Frames(pictures, "two levels")


def test_every_round_takes_everybody_once_in_turn_on_one_micrograph() -> None:
    seen: list[tuple[str, int]] = []
    sleepers = [Sleeper(name, 0.0, seen) for name in "abc"]
    timed = [warm_up(one, frames()) for one in sleepers]
    assert [int(found[0, 0]) for found in timed[0].maps] == [0, 1]
    seen.clear()
    with MatrixProduct("fp32", "cpu") as product:
        (of_product,) = run_rounds(timed, [product], frames(), 4, Silent())
    assert seen == [
        ("a", 10), ("b", 10), ("c", 10),
        ("b", 200), ("c", 200), ("a", 200),
        ("c", 10), ("a", 10), ("b", 10),
        ("a", 200), ("b", 200), ("c", 200),
    ]  # fmt: skip
    assert [len(one.seconds) for one in timed] == [4, 4, 4]
    assert len(of_product) == 4
    # The warm-up's two frames came before.
    assert [one["compute"] for one in timed[1].stages] == [3, 4, 5, 6]
    assert timed[0].stages == []


def test_times_are_those_of_the_work() -> None:
    timed = [Timed(Sleeper(name, pause, []), []) for name, pause in (("a", 0.06), ("b", 0.02))]
    run_rounds(timed, [], frames(), 3, Silent())
    slow, quick = (one.seconds for one in timed)
    assert all(taken >= 0.06 for taken in slow)
    assert all(taken >= 0.02 for taken in quick)
    # A busy machine may stretch a nap, not reverse the two.
    assert faster(slow, quick) > 1


def test_it_rests_until_threads_that_spin_have_stopped() -> None:
    stop = threading.Event()

    def spin() -> None:
        begun = time.perf_counter()
        while time.perf_counter() - begun < 0.3:
            pass
        stop.set()

    thread = threading.Thread(target=spin)
    thread.start()
    rest()
    assert stop.is_set()
    thread.join()
    begun = time.perf_counter()
    rest()
    assert time.perf_counter() - begun < 1


def test_ratios_are_taken_within_a_round() -> None:
    # The machine was half as fast in the second round; both felt it.
    assert faster([1.0, 2.0, 1.2], [0.5, 1.0, 0.6]) == pytest.approx(2.0)


def test_differing_pixels_are_counted_over_all_frames() -> None:
    one, other = (Timed(Sleeper(name, 0.0, []), []) for name in "ab")
    one.maps = [np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)]
    other.maps = [np.zeros((8, 8), np.uint8), np.eye(8, dtype=np.uint8)]
    assert one.differing_ppm(other) == pytest.approx(1e6 * 8 / 128)
    assert one.differing_ppm(one) == 0


def test_a_processor_has_no_memory_of_its_own() -> None:
    assert CardMemory("cpu").taken() is None
