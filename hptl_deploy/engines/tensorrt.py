"""TensorRT, both flavours: batches flow through a ring, several in flight.

`TensorRTEngine` is the streaming form alone; the network is an `Executor`, TensorRT's own on a
card (`open_tensorrt`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hptl_deploy.engines.base import Capacity, Engine, EngineInfo, Prediction, drawn
from hptl_deploy.engines.flavour import Flavour
from hptl_deploy.engines.memory.base import Memory
from hptl_deploy.engines.record import Fit, read_engine
from hptl_deploy.engines.ring import Executor, Ring, Slot, Times
from hptl_deploy.engines.runtime_cache import cache_paths
from hptl_deploy.engines.tensorrt_executor import Profile, TensorRTExecutor, choose
from hptl_deploy.errors import DeviceError, EngineError, OutOfDeviceMemory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hptl_deploy.model import Model

SLOTS = 4
"""One batch computes, one arrives, one leaves; the fourth is the answer in the caller's hands."""


class LoadedExecutor(Executor, Protocol):
    """An executor that knows its shapes and can be closed."""

    @property
    def profiles(self) -> Sequence[Profile]:
        """The shapes that it takes."""

    def close(self) -> None:
        """Let go of the network, inside `with memory.active():`; a second call does nothing."""


class TensorRTEngine(Engine):
    """An executor behind a ring.

    `stream` gives arrays of the ring: they are read-only, and valid until the next answer is
    asked for, `infer` is called or the engine is closed. `infer` gives the caller's own.
    """

    def __init__(
        self,
        model: Model,
        executor: LoadedExecutor,
        memory: Memory,
        *,
        backend: str,
        versions: dict[str, str],
        slots: int = SLOTS,
    ) -> None:
        """Take over `executor` and `memory`, which are closed with the engine.

        Raises OutOfDeviceMemory and DeviceError where the ring's buffers cannot be had; both
        are still the caller's then.
        """
        self.profiles = executor.profiles
        """The shapes that it takes."""
        largest = max((profile.most for profile in self.profiles), key=prod)
        self._ring = Ring(memory, executor, size=slots, most_pixels=prod(largest))
        self._executor = executor
        self._memory = memory
        self._shown: Slot | None = None
        """Whose answer the caller looks at."""
        self.times: Times | None = None
        """Of the last answer."""
        super().__init__(
            model,
            EngineInfo(
                backend=backend,
                device=memory.device,
                precision=model.card.precision,
                versions=versions,
                largest_shape=largest,
                owns_buffers=True,
            ),
        )

    def stream(
        self, batches: Iterable[NDArray[np.uint8] | None], in_flight: int = SLOTS
    ) -> Iterator[Prediction]:
        """As `Engine.stream`; no more than the ring has slots are in flight, whatever is asked."""
        most = max(1, min(in_flight, self._ring.size))
        pending: deque[Slot | Exception] = deque()
        try:
            for item in drawn(batches):
                if item is None:
                    if pending:
                        yield self._show(pending.popleft())
                    continue
                pending.append(item if isinstance(item, Exception) else self._submitted(item))
                if len(pending) >= most:
                    yield self._show(pending.popleft())
            while pending:
                yield self._show(pending.popleft())
        finally:
            for left in pending:
                if isinstance(left, Slot):
                    self._ring.abandon(left)

    @property
    def capacity(self) -> Capacity:
        """What the profiles take.

        The ring's memory is held already; what the network needs besides is known to TensorRT
        alone, and where it is not to be had, the batch is refused with OutOfDeviceMemory.
        """
        card = self.model.card
        return Capacity(card.stride, card.halo, 0.0, self._takes, self._most)

    def _takes(self, rows: int, columns: int) -> bool:
        return choose(self.profiles, (1, rows, columns)) is not None

    def _most(self, rows: int, columns: int) -> int:
        largest = max(profile.most[0] for profile in self.profiles)
        counts = range(largest, 1, -1)
        fitting = (n for n in counts if choose(self.profiles, (n, rows, columns)) is not None)
        return next(fitting, 1)

    def close(self) -> None:
        """Wait for what is under way and give everything back; a second call does nothing.

        Raises DeviceError where the card refuses something of that, unless an error that was
        told before says why; the rest is given back all the same.
        """
        if self._closed:
            return
        super().close()
        try:
            self._give_back()
        except DeviceError as exc:
            if not self._ring.lost:
                name, device = self.model.card.name, self.info.device
                raise DeviceError(
                    f"model {name}: {device} failed while it was given back ({exc.message})"
                ) from exc

    def _give_back(self) -> None:
        with ExitStack() as closing:
            closing.callback(self._memory.close)
            try:
                closing.enter_context(self._memory.active())
            finally:
                closing.callback(self._executor.close)
                closing.callback(self._ring.close)

    def _infer(self, batch: NDArray[np.uint8]) -> Prediction:
        shown = self._show(self._submitted(batch))
        answer = Prediction(shown.classes.copy(), shown.confidence.copy())
        self._put_back()
        return answer

    def _submitted(self, batch: NDArray[np.uint8]) -> Slot | Exception:
        """The batch's slot, or what is to be raised in place of its answer."""
        self._put_back()
        try:
            self._check(batch)
            return self._ring.submit(batch)
        except DeviceError as exc:
            return self._named(exc, batch.shape)
        except Exception as exc:
            return exc

    def _show(self, item: Slot | Exception) -> Prediction:
        """The answer, in the ring's memory."""
        self._put_back()
        if self._closed:
            raise EngineError(f"model {self.model.card.name}: the engine has been closed")
        if isinstance(item, Exception):
            raise item
        try:
            answer = self._ring.take(item)
            self._shown = item
            self.times = item.times
        except DeviceError as exc:
            raise self._named(exc, item.shape) from exc
        return answer

    def _put_back(self) -> None:
        """More was asked for, so the answer that was shown may be overwritten."""
        if self._shown is not None:
            self._ring.release(self._shown)
            self._shown = None

    def _check(self, batch: NDArray[np.uint8]) -> None:
        super()._check(batch)
        count, height, width, _ = batch.shape
        if choose(self.profiles, (count, height, width)) is None:
            raise EngineError(
                f"model {self.model.card.name}: the engine takes "
                f"{' and '.join(map(str, self.profiles))} px, found {count} x {height} x {width}"
            )

    def _named(self, error: DeviceError, shape: tuple[int, ...]) -> DeviceError:
        """The same error as a sentence about this model."""
        size = " x ".join(map(str, shape[:3]))
        name, device = self.model.card.name, self.info.device
        named: DeviceError
        if isinstance(error, OutOfDeviceMemory):
            named = OutOfDeviceMemory(
                f"model {name}: {device} has no memory left for {size} px ({error.message})",
                hint="Choose a smaller --tile",
            )
        else:
            named = DeviceError(f"model {name}: {device} failed on {size} px ({error.message})")
        named.__cause__ = error  # it may be raised later than here
        return named


def open_tensorrt(
    model: Model,
    engine: Path,
    here: Fit,
    flavour: Flavour,
    memory: Memory,
    *,
    slots: int = SLOTS,
) -> TensorRTEngine:
    """The engine in the file `engine`, on the card of `memory`.

    `here` is what this machine wants (`wanted`); an engine that was built for something else is
    not loaded. Takes over `memory`, which is closed with the engine, and where this fails.

    Raises ModelError for a file that does not fit or is not the one that was built, DeviceError
    where the flavour refuses it, OutOfDeviceMemory where the card has no room for it.
    """
    with ExitStack() as opening:
        opening.callback(memory.close)
        record, content = read_engine(engine, here)
        card = memory.properties()
        caches = cache_paths(engine, card)
        with _about(engine, memory), memory.active(), ExitStack() as loading:
            executor = TensorRTExecutor(flavour, content, memory, slots, caches)
            loading.callback(executor.close)
            opened = TensorRTEngine(
                model,
                executor,
                memory,
                backend=flavour.key,
                versions={
                    flavour.key: flavour.version,
                    memory.layer: memory.version,
                    "driver": card.driver,
                    # Which build ran: the next one from the same file has other kernels.
                    "engine": record.engine_sha256[:12],
                },
                slots=slots,
            )
            loading.pop_all()
        opening.pop_all()
    return opened


@contextmanager
def _about(engine: Path, memory: Memory) -> Iterator[None]:
    """Errors become sentences about this engine's file."""
    try:
        yield
    except OutOfDeviceMemory as exc:
        raise OutOfDeviceMemory(
            f"{engine}: {memory.device} has no memory left for it ({exc.message})",
            hint="Close what else uses the card, or use --device cpu",
        ) from exc
    except DeviceError as exc:
        raise DeviceError(f"{engine}: {exc.message}", hint=exc.hint) from exc
    except EngineError as exc:
        raise EngineError(f"{engine}: {exc.message}", hint=exc.hint) from exc
