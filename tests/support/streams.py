"""What the tests of the ring, the engine and the executor share: batches, answers, and the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hptl_deploy.engines.memory.host import HostMemory
from hptl_deploy.engines.tensorrt import TensorRTEngine
from support.host_executor import OnnxExecutor


def ended(memory: HostMemory) -> bool:
    """Everything given back, the memory closed, no thread left."""
    memory.close()
    return not +memory.live and not host_threads()


def host_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "hptl-host-stream"]


def batch(seed: int, height: int = 16, width: int = 24, count: int = 1) -> NDArray[np.uint8]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def batches(seeds: range) -> Iterator[NDArray[np.uint8]]:
    return (batch(seed) for seed in seeds)


reference = lru_cache(maxsize=1)(OnnxExecutor)


def right(path: Path, seed: int) -> NDArray[np.uint8]:
    return reference(path).run(batch(seed))[0]


def answers_until_error(
    engine: TensorRTEngine, path: Path, source: Iterator[NDArray[np.uint8]], in_flight: int = 3
) -> tuple[int, BaseException]:
    """(answers before it, the error); every answer is checked against the model."""
    stream = engine.stream(source, in_flight)
    number = 0
    error: BaseException | None = None
    while error is None:
        try:
            answer = next(stream)
        except BaseException as exc:
            error = exc
        else:
            assert np.array_equal(answer.classes, right(path, number))
            number += 1
    assert not isinstance(error, StopIteration), "no error came"
    assert list(stream) == []  # over
    return number, error
