"""What the stages' times say: shares, the slowest, rates."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from hptl_deploy.segmentation.clock import Clock

Pass = Callable[[float], None]


@pytest.fixture
def let(monkeypatch: pytest.MonkeyPatch) -> Pass:
    """`let(2.0)`: two seconds pass. Begins at 100."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def let(seconds: float) -> None:
        now[0] += seconds

    return let


def test_nothing_is_said_before_anything_is_done(let: Pass) -> None:
    clock = Clock({"read": 2})
    let(5)
    assert (clock.elapsed, clock.bottleneck(), clock.megapixels_per_second()) == (0.0, None, None)
    assert clock.describe() == ""
    assert clock.seconds() == {"read": 0.0, "infer": 0.0, "write": 0.0}
    assert clock.to_json() == {
        "seconds": 0.0,
        "pages": 0,
        "megapixels": 0.0,
        "pages_per_second": None,
        "megapixels_per_second": None,
        "bottleneck": None,
        "threads": {"read": 2, "infer": 1, "write": 1},
    }


def test_inference_is_at_work_when_it_does_not_wait(let: Pass) -> None:
    clock = Clock()
    with clock.running():
        let(1)
        with clock.waiting():
            let(2.5)
        let(4)
        assert clock.elapsed == 7.5
    let(100)
    assert clock.elapsed == 7.5
    assert clock.seconds() == {"read": 0.0, "infer": 5.0, "write": 0.0}


def test_work_that_fails_counts_too(let: Pass) -> None:
    clock = Clock()
    with pytest.raises(OSError, match="gone"), clock.running():
        for timed in (clock.busy("write"), clock.waiting()):
            with pytest.raises(KeyError), timed:
                let(1)
                raise KeyError
        raise OSError("gone")
    assert clock.seconds() == {"read": 0.0, "infer": 1.0, "write": 1.0}
    let(1)
    assert clock.elapsed == 2.0


@pytest.mark.parametrize(
    ("threads", "slowest"),
    [
        ({"read": 1, "write": 1}, "read"),  # 6, 4 and 5 seconds
        ({"read": 2, "write": 1}, "write"),  # 3, 4 and 5
        ({"read": 2, "write": 2}, "infer"),  # 3, 4 and 2.5
    ],
)
def test_the_slowest_is_whose_threads_work_most_of_the_time(
    let: Pass, threads: dict[str, int], slowest: str
) -> None:
    clock = Clock(threads)
    with clock.running():
        with clock.waiting(), clock.busy("read"):
            let(6)
        let(4)
        with clock.waiting(), clock.busy("write"):
            let(5)
        clock.done(30_000_000, pages=3)
        clock.done(1_500_000)
    assert clock.bottleneck() == slowest
    words = {"read": "reading", "infer": "the engine", "write": "writing"}[slowest]
    assert clock.describe() == f"2.10 Mpx/s, {words} is the slowest"
    assert clock.to_json() == {
        "seconds": 15.0,
        "pages": 3,
        "megapixels": 31.5,
        "pages_per_second": 0.2,
        "megapixels_per_second": 2.1,
        "bottleneck": slowest,
        "threads": {"infer": 1, **threads},
    }


def test_threads_count_together() -> None:
    clock, both = Clock({"read": 4}), threading.Barrier(4, timeout=10)

    def work() -> None:
        for _ in range(200):
            both.wait()
            clock.done(1000, pages=1)
            with clock.busy("read"):
                pass

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    with clock.running():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    document = clock.to_json()
    assert (document["pages"], document["megapixels"]) == (800, 0.8)
