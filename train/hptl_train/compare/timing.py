"""Seconds per micrograph: every method on the same micrographs, in turn."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

import torch

from hptl_deploy.sink import Sink
from hptl_train.compare.methods import Method

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROUNDS = 3


def seconds_per_image(
    methods: Mapping[str, Method], pictures: Sequence[NDArray[np.uint8]], sink: Sink
) -> dict[str, float]:
    """Median seconds from a decoded micrograph to its class map, by the methods' names.

    Each round takes every picture through every method, one after the other, so that whatever
    else the machine does meets all of them; a round before it warms up.
    """
    taken: dict[str, list[float]] = {name: [] for name in methods}
    with sink.progress("timing", (1 + ROUNDS) * len(pictures), "micrographs") as bar:
        for number in range(1 + ROUNDS):
            for picture in pictures:
                for name, method in methods.items():
                    begun = time.perf_counter()
                    method.classes(picture)
                    if torch.cuda.is_available():
                        torch.cuda.synchronize()
                    if number:
                        taken[name].append(time.perf_counter() - begun)
                bar.advance()
    return {name: median(times) for name, times in taken.items()}
