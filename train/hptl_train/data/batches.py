"""What a training loop draws: batches that are functions of the iteration alone.

A batch depends on the seed, the step and the iteration, on nothing drawn before it. So a
resumed run sees what an unbroken one sees, without any generator's state on disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """N training pictures and what they are."""

    pictures: NDArray[np.uint8]
    """[N, H, W, 3], RGB."""
    labels: NDArray[np.int64]
    """Class indices: [N, H, W] for micrographs (255 = ignored), [N] for whole pictures."""


class Batches(Protocol):
    """The batches of one step."""

    def __call__(self, iteration: int) -> Batch:
        """The batch of iteration 0, 1, ..."""


def prefetched(batches: Batches, start: int, stop: int) -> Iterator[Batch]:
    """Batches `start` to `stop` - 1, each made in another thread while the last is in use."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as worker:
        upcoming = worker.submit(batches, start) if start < stop else None
        for iteration in range(start, stop):
            assert upcoming is not None
            batch = upcoming.result()
            upcoming = worker.submit(batches, iteration + 1) if iteration + 1 < stop else None
            yield batch


def generator(*words: int) -> np.random.Generator:
    """A numpy Generator that `words` (all non-negative) determine."""
    import numpy as np

    return np.random.default_rng(list(words))
