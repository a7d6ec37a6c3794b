"""Several threads make batches: in order, within bounds, and gone when nobody listens."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from hptl_deploy.errors import DataSetError
from hptl_train.data import Batch, prefetched
from hptl_train.data.batches import default_workers
from hptl_train.data.crops import Crops
from support.labelled import draw
from support.tiny import recipe


def numbered(iteration: int) -> Batch:
    return Batch(np.zeros((1, 1, 1, 3), np.uint8), np.array([iteration]))


def worker_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("batches")]


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_do_not_depend_on_the_number_of_workers(workers: int) -> None:
    plan = recipe(augmentation={"scale": 0.3, "noise": 0.1})
    frames = [draw((90, 120), np.random.default_rng(0))]
    crops = Crops(frames, 3, 64, plan, plan.steps[1])
    made = list(prefetched(crops, 3, 10, workers))
    assert len(made) == 7
    for iteration, batch in enumerate(made, start=3):
        alone = crops(iteration)
        assert np.array_equal(batch.pictures, alone.pictures)
        assert batch.photometry == alone.photometry
    assert worker_threads() == []


def test_workers_work_at_once_and_a_late_batch_still_comes_first() -> None:
    three = threading.Barrier(3, timeout=20)

    def slow_first(iteration: int) -> Batch:
        if iteration < 3:
            three.wait()  # only three at once get past it
        time.sleep(0.05 * (3 - min(iteration, 3)))
        return numbered(iteration)

    order = [int(batch.labels[0]) for batch in prefetched(slow_first, 0, 8, workers=3)]
    assert order == list(range(8))


@pytest.mark.parametrize("workers", [1, 2])
def test_no_more_than_twice_the_workers_is_made_ahead(workers: int) -> None:
    begun: list[int] = []

    def counted(iteration: int) -> Batch:
        begun.append(iteration)
        return numbered(iteration)

    batches = prefetched(counted, 0, 100, workers)
    for taken in range(1, 5):
        next(batches)
        expected = taken + 2 * workers
        wait_until(lambda expected=expected: len(begun) >= expected)  # type: ignore[misc]
        time.sleep(0.02)
        assert len(begun) == expected
    batches.close()


def test_an_error_arrives_where_its_batch_is_due() -> None:
    def broken(iteration: int) -> Batch:
        if iteration == 5:
            raise DataSetError("frame_0005.jpg: is gone")
        return numbered(iteration)

    seen = []
    with pytest.raises(DataSetError) as caught:
        for batch in prefetched(broken, 3, 50, workers=3):
            seen.append(int(batch.labels[0]))
    assert str(caught.value) == "frame_0005.jpg: is gone"
    assert seen == [3, 4]
    assert worker_threads() == []


def test_a_consumer_that_stops_early_leaves_no_thread_and_no_work() -> None:
    release, begun = threading.Event(), []

    def held(iteration: int) -> Batch:
        begun.append(iteration)
        if iteration:
            assert release.wait(20)
        return numbered(iteration)

    batches = prefetched(held, 0, 100, workers=2)
    next(batches)
    wait_until(lambda: len(begun) == 3)  # the first, and one held in each worker
    threading.Timer(0.05, release.set).start()
    batches.close()
    assert worker_threads() == []
    assert sorted(begun) == [0, 1, 2]


def test_nothing_is_made_for_an_empty_range() -> None:
    assert list(prefetched(numbered, 7, 7)) == []


@pytest.mark.parametrize(
    ("cores", "workers"), [(None, 1), (1, 1), (2, 1), (4, 2), (16, 8), (128, 8)]
)
def test_half_of_the_cores_make_batches(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, workers: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert default_workers() == workers
