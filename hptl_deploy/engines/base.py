"""What every engine offers; the checks live here, the backends only do the work.

Letters: N micrographs (or tiles) of a batch, H rows, W columns, K phases.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy.closing import Closes
from hptl_deploy.errors import EngineError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_deploy.model import Model


@dataclass(frozen=True)
class Prediction:
    """An engine's answer to one batch."""

    classes: NDArray[np.uint8]
    """[N, H, W], class indices 0 to K - 1."""
    confidence: NDArray[np.uint8]
    """[N, H, W], the winning class's probability x 255."""


_POOLED_PIXELS, _POOLED = 1 << 20, 16
"""Of a batch of small micrographs, at most, and how many they may be. A call costs about a
millisecond besides its work, which either hides on any processor."""


def _pooled(pixels: int) -> int:
    """How many micrographs of so many pixels go into a batch, where the engine sets no limit."""
    return max(1, min(_POOLED, _POOLED_PIXELS // pixels))


@dataclass(frozen=True)
class Capacity:
    """What one call of an engine may be given, for planning."""

    stride: int
    """H and W are multiples of it."""
    halo: int
    bytes_per_pixel: float
    """Of memory that a call takes on the engine's device; 0 where the engine holds it already."""
    takes: Callable[[int, int], bool] = lambda rows, columns: True
    """Whether one micrograph, or tile, of (H, W) can be given."""
    most: Callable[[int, int], int] = lambda rows, columns: _pooled(rows * columns)
    """How many of (H, W), which it takes, may go into one batch."""


@dataclass(frozen=True)
class EngineInfo:
    """What actually runs, for the screen and run.json."""

    backend: str
    """`onnxruntime-cpu`, `onnxruntime-cuda`, ..."""
    device: str
    """`cpu` or `cuda:N`."""
    precision: str
    """`fp32`, `fp16` or `int8`."""
    versions: dict[str, str]
    largest_shape: tuple[int, int, int] | None
    """(N, H, W) of the most pixels that it takes at once, or None where any size goes.

    What else it takes, a backend that was built for shapes checks itself.
    """
    owns_buffers: bool
    """True: what `stream` gives is the engine's own memory, valid until the next answer is asked
    for; False: it is the caller's. What `infer` gives is always the caller's."""
    remarks: tuple[str, ...] = ()
    """What the user should know about how it runs."""

    def to_json(self) -> dict[str, Any]:
        """The form stored in run.json."""
        return {
            "backend": self.backend,
            "device": self.device,
            "precision": self.precision,
            "versions": self.versions,
            "largest_shape": list(self.largest_shape) if self.largest_shape else None,
            "remarks": list(self.remarks),
        }


class Engine(Closes):
    """A model, ready to run on one device. A context manager.

    `infer` and `stream` may be called from one thread at a time.
    """

    def __init__(self, model: Model, info: EngineInfo) -> None:
        self.model = model
        self.info = info
        self._closed = False

    def infer(self, batch: NDArray[np.uint8]) -> Prediction:
        """Classify a batch, uint8 [N, H, W, 3] RGB, H and W multiples of the card's stride.

        Raises EngineError when the batch is not of that kind, when it is larger than the
        engine was built for, when the engine is closed, and when the backend fails.
        """
        self._check(batch)
        answer = self._infer(np.ascontiguousarray(batch))
        # A file states the kind of its outputs; their size is known when they are there.
        shapes = (answer.classes.shape, answer.confidence.shape)
        if shapes != (batch.shape[:3], batch.shape[:3]):
            raise EngineError(
                f"model {self.model.card.name}: gave classes {list(shapes[0])} and confidence "
                f"{list(shapes[1])}, expected {list(batch.shape[:3])} both",
                hint="Export the model again",
            )
        return answer

    def stream(
        self, batches: Iterable[NDArray[np.uint8] | None], in_flight: int = 2
    ) -> Iterator[Prediction]:
        """Answers in the order of `batches`, of which up to `in_flight` are under way at once.

        The next batches are drawn while the engine works, so whatever `batches` does to
        produce one (reading, padding) overlaps with inference. Where it has none just now, but
        may have later, it gives None, and the oldest answer under way is waited for instead. An
        error in `batches` or in the engine is raised in place of the answer it belongs to, after
        the answers before it; later batches are not drawn.
        """
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine") as worker:
            pending: deque[Future[Prediction]] = deque()
            try:
                for item in drawn(batches):
                    if item is None:
                        if pending:
                            yield pending.popleft().result()
                        continue
                    if isinstance(item, Exception):
                        pending.append(Future())
                        pending[-1].set_exception(item)
                    else:
                        pending.append(worker.submit(self.infer, item))
                    if len(pending) >= in_flight:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()

    @property
    def capacity(self) -> Capacity:
        """What one call may be given."""
        card = self.model.card
        return Capacity(card.stride, card.halo, card.bytes_per_pixel_here())

    @abstractmethod
    def _infer(self, batch: NDArray[np.uint8]) -> Prediction:
        """The backend's work on a batch that has been checked and is contiguous."""

    def close(self) -> None:
        """Release the device; a second call does nothing."""
        self._closed = True

    def _check(self, batch: NDArray[np.uint8]) -> None:
        name = self.model.card.name
        if self._closed:
            raise EngineError(f"model {name}: the engine has been closed")
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[3] != 3:
            raise EngineError(
                f"model {name}: expected a batch uint8 [N, H, W, 3], "
                f"found {batch.dtype} {list(batch.shape)}"
            )
        count, height, width, _ = batch.shape
        stride = self.model.card.stride
        if min(count, height, width) == 0 or height % stride or width % stride:
            raise EngineError(
                f"model {name}: expected at least one micrograph with height and width "
                f"multiples of {stride}, found {count} of {height} x {width}"
            )


def drawn(
    batches: Iterable[NDArray[np.uint8] | None],
) -> Iterator[NDArray[np.uint8] | Exception | None]:
    """Every batch or None, one by one; last, where drawing the next one fails, why."""
    source = iter(batches)
    while True:
        try:
            batch = next(source)
        except StopIteration:
            return
        except Exception as exc:
            yield exc
            return
        yield batch
