"""What a training loop draws: batches that are functions of the iteration alone.

A batch depends on the seed, the step and the iteration, on nothing drawn before it. So a
resumed run sees what an unbroken one sees, without any generator's state on disk, and
batches may be made in any order, several at once.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hptl_train.data.augment import Photometry

_MOST_WORKERS = 8
"""More threads than this wait for one another: part of the work holds Python's lock."""
_AHEAD = 2
"""Batches per worker that are made or waiting: one in hand, one so that no worker idles."""


@dataclass(frozen=True)
class Batch:
    """N training pictures and what they are."""

    pictures: NDArray[np.uint8]
    """[N, H, W, 3], RGB."""
    labels: NDArray[np.int64]
    """Class indices: [N, H, W] for micrographs (255 = ignored), [N] for whole pictures."""
    photometry: tuple[Photometry, ...] | None = None
    """What `Photometric` has still to do to each of the N pictures; None: nothing."""


class Batches(Protocol):
    """The batches of one step; several threads may ask at once."""

    def __call__(self, iteration: int) -> Batch:
        """The batch of iteration 0, 1, ..."""


class SharedBatches(Protocol):
    """Batches that several processes can share out."""

    def __call__(self, iteration: int, places: range | None = None) -> Batch:
        """The batch of iteration 0, 1, ..., or the pictures of it at `places` alone."""


def default_workers() -> int:
    """Threads that make batches: half of the processor's cores, at least 1, at most 8."""
    return min(max((os.cpu_count() or 1) // 2, 1), _MOST_WORKERS)


def prefetched(
    batches: Batches, start: int, stop: int, workers: int | None = None
) -> Generator[Batch, None, None]:
    """Batches `start` to `stop` - 1 in order, made by `workers` threads while others are in use.

    At most twice as many batches as workers are made before they are asked for. What `batches`
    raises for an iteration is raised where its batch is due. Closing the iterator, as leaving
    its last reference does, drops what was not begun and waits for what was.
    """
    workers = workers or default_workers()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="batches")
    try:
        iterations = iter(range(start, stop))
        upcoming: deque[Future[Batch]] = deque(
            pool.submit(batches, iteration) for iteration in islice(iterations, _AHEAD * workers)
        )
        while upcoming:
            batch = upcoming.popleft().result()
            upcoming.extend(pool.submit(batches, iteration) for iteration in islice(iterations, 1))
            yield batch
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def generator(*words: int) -> np.random.Generator:
    """A numpy Generator that `words` (all non-negative) determine."""
    import numpy as np

    return np.random.default_rng(list(words))
