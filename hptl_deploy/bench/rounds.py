"""Timing: every contender once per round, on the same micrograph, in an order that rotates.

What else the machine does, and how warm it is, then meets all of them alike; ratios are taken
within a round.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.bench.contenders import Contender
from hptl_deploy.bench.frames import Frames
from hptl_deploy.bench.peak import MatrixProduct
from hptl_deploy.engines.machine import free_on_card

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_deploy.sink import Bar

_LOOK_SECONDS = 0.01
_LOOKS = 200
_QUIET_LOOKS = 3
"""In a row: on a busy machine a thread that spins may not have had its turn."""
_ASLEEP = 0.2
"""Processors at work; the look itself takes a little."""


@dataclass
class Timed:
    """A contender that has run, and what was seen of it."""

    contender: Contender
    maps: list[NDArray[np.uint8]]
    """Its class map of every frame, [H, W] each."""
    card_bytes: int | None = None
    """Memory that the card lost to it, from before it was opened; None on a CPU."""
    seconds: list[float] = field(default_factory=list)
    """Of each round."""
    stages: list[dict[str, float]] = field(default_factory=list)
    """Milliseconds of each round; empty where the contender does not tell them apart."""

    def differing_ppm(self, reference: Timed) -> float:
        """Pixels of another class than the reference's, per million."""
        pairs = zip(self.maps, reference.maps, strict=True)
        return 1e6 * float(np.mean([np.mean(own != other) for own, other in pairs]))


class CardMemory:
    """What is taken of one card's memory from step to step."""

    def __init__(self, device: str) -> None:
        """`device` as the command line has it; a CPU has no such memory."""
        self._index = None if device == "cpu" else int(device.partition(":")[2] or 0)
        self._free = self._now()

    def taken(self) -> int | None:
        """Bytes that went since the last call, by whatever process; None without a card."""
        before, self._free = self._free, self._now()
        return None if before is None or self._free is None else before - self._free

    def _now(self) -> int | None:
        return None if self._index is None else free_on_card(self._index)


def rest() -> None:
    """Wait until the threads of whoever ran before are asleep, two seconds at most.

    ONNX Runtime's go on spinning after a run, on some processors for more than a second, and
    would take the next one's cores from it.
    """
    quiet = 0
    for _ in range(_LOOKS):
        before = time.process_time()
        time.sleep(_LOOK_SECONDS)
        asleep = time.process_time() - before < _ASLEEP * _LOOK_SECONDS
        quiet = quiet + 1 if asleep else 0
        if quiet == _QUIET_LOOKS:
            return


def warm_up(contender: Contender, frames: Frames) -> Timed:
    """Every frame once: kernels are compiled and memory is taken. Raises EngineError."""
    return Timed(contender, [contender.classes(picture) for picture in frames.pictures])


def run_rounds(
    timed: Sequence[Timed],
    products: Sequence[MatrixProduct],
    frames: Frames,
    repeats: int,
    bar: Bar,
) -> list[list[float]]:
    """Fill in the times of `repeats` rounds; seconds of each of `products` by round.

    Raises EngineError where one fails that had run before.
    """
    of_products: list[list[float]] = [[] for _ in products]
    for number in range(repeats):
        picture = frames.pictures[number % len(frames.pictures)]
        for place in range(len(timed)):
            one = timed[(place + number) % len(timed)]
            rest()
            begun = time.perf_counter()
            one.contender.classes(picture)
            one.seconds.append(time.perf_counter() - begun)
            if stages := one.contender.stages():
                one.stages.append(stages)
            bar.advance(1, one.contender.traits.name)
        for product, seconds in zip(products, of_products, strict=True):
            rest()
            seconds.append(product.seconds())
    return of_products
