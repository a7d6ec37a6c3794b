"""A TensorRT engine as an executor of the ring; both flavours, one API.

Every slot has an execution context, so that several batches are queued at once. The contexts
compute in turn, because one frame fills a card, and so share one workspace: memory for what the
network keeps between layers, by far the most of what a frame takes. It is ours (USER_MANAGED),
grows to what the shapes at hand need, and where the card has no room for it, the batch is refused
and a smaller one may still go through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hptl_deploy.closing import Closes
from hptl_deploy.engines.flavour import TENSORRT_RTX, Flavour, new_logger
from hptl_deploy.engines.memory.base import ALIGNMENT, DeviceBuffer, Event, Memory, Stream
from hptl_deploy.engines.onnxruntime import first_line
from hptl_deploy.engines.record import Shape
from hptl_deploy.engines.ring import Slot
from hptl_deploy.engines.runtime_cache import CachePaths, RuntimeCache
from hptl_deploy.errors import DeviceError, EngineError, OutOfDeviceMemory
from hptl_deploy.model import INPUT, OUTPUTS

if TYPE_CHECKING:
    # The one name under which both flavours are known to type checkers and to the test that
    # looks up every attribute used here.
    import tensorrt_rtx as trt  # type: ignore[import-untyped,import-not-found,unused-ignore]


@dataclass(frozen=True)
class Profile:
    """Shapes that a context can be set to: from `least` to `most` in each dimension."""

    least: Shape
    most: Shape

    def takes(self, shape: Shape) -> bool:
        """Whether `shape` lies in it."""
        bounds = zip(self.least, shape, self.most, strict=True)
        return all(low <= size <= high for low, size, high in bounds)

    def __str__(self) -> str:
        least, most = (" x ".join(map(str, shape)) for shape in (self.least, self.most))
        return most if self.least == self.most else f"{least} to {most}"


def choose(profiles: Sequence[Profile], shape: Shape) -> int | None:
    """The first profile that takes `shape`: the frame's, tuned to it, comes before the tiles'."""
    return next((index for index, each in enumerate(profiles) if each.takes(shape)), None)


class Workspace(Closes):
    """Memory that the contexts use in turn, and the event that ends a turn."""

    def __init__(self, memory: Memory) -> None:
        """Raises DeviceError."""
        self._memory = memory
        self._buffer: DeviceBuffer | None = None
        self._turn: Event = memory.event()
        self.generation = 0
        """Raised when the memory is another, which may lie at the same address."""

    @property
    def pointer(self) -> int:
        """0 while nothing was needed."""
        return 0 if self._buffer is None else self._buffer.pointer

    @property
    def nbytes(self) -> int:
        """Of the memory."""
        return 0 if self._buffer is None else self._buffer.nbytes

    def reserve(self, nbytes: int) -> None:
        """Grow to `nbytes` if it is smaller. Raises OutOfDeviceMemory and is then empty."""
        if nbytes <= self.nbytes:
            return
        self._turn.synchronize()  # whoever computes in it now
        self.generation += 1
        before, self._buffer = self._buffer, None
        if before is not None:
            before.close()  # first, because the card may not have room for both
        self._buffer = self._memory.device_buffer(nbytes)

    @contextmanager
    def turn(self, stream: Stream) -> Iterator[None]:
        """What the block queues on `stream` runs behind what other turns queued."""
        stream.wait(self._turn)
        yield
        stream.record(self._turn)

    def close(self) -> None:
        """Free it; nothing may be computing in it."""
        with self._turn:
            if self._buffer is not None:
                self._buffer.close()


class TensorRTExecutor(Closes):
    """An engine's contexts, one for each slot of a ring.

    Every call is made inside `with memory.active():`.
    """

    def __init__(
        self, flavour: Flavour, content: bytes, memory: Memory, slots: int, caches: CachePaths
    ) -> None:
        """Load `content`, an engine whose record fits (`read_engine`).

        `caches` is where a flavour that compiles on the card keeps that between runs. Raises
        EngineError, and OutOfDeviceMemory where the card has no room for the weights; nothing
        is held then.
        """
        self._flavour = flavour
        self._logger, self._messages = new_logger(flavour)
        # The library's objects are attributes and never local variables: the traceback of an
        # error would keep those alive behind `close`, and behind the card's context.
        self._runtime: trt.Runtime = None
        self._engine: trt.ICudaEngine = None
        self._config: trt.IRuntimeConfig = None
        self._cache: RuntimeCache | None = None
        self._contexts: list[trt.IExecutionContext] = []
        self._set: list[tuple[Shape, int] | None] = [None] * slots
        """For each context: the shape and the workspace's generation that it was set to."""
        self._workspace = Workspace(memory)
        try:
            self._load(content, slots, caches)
        except BaseException:
            with suppress(DeviceError):  # what failed first is what is told
                self._let_go()
            raise

    def enqueue(self, slot: Slot, stream: Stream) -> None:
        """Queue the network's work; raises OutOfDeviceMemory, and DeviceError for a refusal."""
        number = slot.number
        with self._explained():
            if self._set[number] != (slot.shape, self._workspace.generation):
                self._set[number] = None
                self._shape(slot, stream)
                self._set[number] = (slot.shape, self._workspace.generation)
            with self._workspace.turn(stream):
                self._must(
                    "execute_async_v3", self._contexts[number].execute_async_v3(stream.handle)
                )

    def close(self) -> None:
        """Let go of everything, and keep what was compiled; a second call does nothing.

        Raises DeviceError where something of that fails; the rest is done all the same.
        """
        with self._explained(), ExitStack() as closing:
            closing.callback(self._let_go)
            if self._cache is not None:
                self._cache.save()

    def _load(self, content: bytes, slots: int, caches: CachePaths) -> None:
        with self._explained():
            self._runtime = self._flavour.trt.Runtime(self._logger)
            self._engine = self._runtime.deserialize_cuda_engine(content)
            self._must("the engine", self._engine is not None)
            self._check_tensors()
            self.profiles = self._profiles()
            strategy = self._flavour.trt.ExecutionContextAllocationStrategy.USER_MANAGED
            if self._flavour.key == TENSORRT_RTX:
                self._configure(strategy, caches)
            for _ in range(slots):
                self._contexts.append(
                    self._engine.create_execution_context(
                        strategy if self._config is None else self._config
                    )
                )
                self._must("an execution context", self._contexts[-1] is not None)

    def _configure(
        self, strategy: trt.ExecutionContextAllocationStrategy, caches: CachePaths
    ) -> None:
        """What TensorRT for RTX compiles, when, and where that is kept."""
        self._config = self._engine.create_runtime_config()
        self._config.set_execution_context_allocation_strategy(strategy)
        # Compiled lazily, the first batches of a new shape are computed by other kernels, which
        # round differently: a rerun must write the same bytes.
        self._config.dynamic_shapes_kernel_specialization_strategy = (
            self._flavour.trt.DynamicShapesKernelSpecializationStrategy.EAGER
        )
        self._cache = RuntimeCache(self._config, caches)

    def _check_tensors(self) -> None:
        """The record vouches for the file; this, that it was built from a model file of ours."""
        module = self._flavour.trt
        modes = dict.fromkeys(OUTPUTS, module.TensorIOMode.OUTPUT)
        modes[INPUT] = module.TensorIOMode.INPUT
        for name, mode in modes.items():
            if (
                self._engine.get_tensor_mode(name) != mode
                or self._engine.get_tensor_dtype(name) != module.DataType.UINT8
            ):
                raise EngineError(
                    f"the engine has no uint8 {mode.name.lower()} named {name}",
                    hint="Export the model again",
                )

    def _profiles(self) -> list[Profile]:
        found = []
        for index in range(self._engine.num_optimization_profiles):
            least, _, most = (
                tuple(shape)[:3] for shape in self._engine.get_tensor_profile_shape(INPUT, index)
            )
            found.append(Profile(least, most))
        return found

    def _shape(self, slot: Slot, stream: Stream) -> None:
        """Set the slot's context to its shape and addresses, and give it its workspace."""
        contexts = self._contexts
        number = slot.number
        profile = choose(self.profiles, slot.shape)
        if profile is None:
            raise EngineError(f"no profile of the engine takes {slot.shape}")
        if contexts[number].active_optimization_profile != profile:
            self._must(
                "set_optimization_profile_async",
                contexts[number].set_optimization_profile_async(profile, stream.handle),
            )
        self._must("set_input_shape", contexts[number].set_input_shape(INPUT, (*slot.shape, 3)))
        classes, confidence = OUTPUTS
        for name, address in (
            (INPUT, slot.input.pointer),
            (classes, slot.output.pointer),
            (confidence, slot.output.pointer + slot.confidence_offset),
        ):
            self._must("set_tensor_address", contexts[number].set_tensor_address(name, address))
        self._must("infer_shapes", not contexts[number].infer_shapes())
        need = int(contexts[number].update_device_memory_size_for_shapes())
        self._workspace.reserve(max(need, ALIGNMENT))  # never no address at all
        contexts[number].set_device_memory(self._workspace.pointer, self._workspace.nbytes)

    def _let_go(self) -> None:
        """In the order that the library asks for: what was made last goes first."""
        self._contexts.clear()
        try:
            self._workspace.close()
        finally:
            if self._cache is not None:
                self._cache.close()
            self._cache = self._config = None
            self._engine = None
            self._runtime = None

    def _must(self, what: str, done: bool) -> None:
        if not done:
            raise self._refusal(what)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of the library are told with what it logged about them."""
        self._messages.forget()
        try:
            yield
        except EngineError:
            raise
        except Exception as exc:
            raise self._refusal(f"{type(exc).__name__}: {first_line(exc)}") from exc

    def _refusal(self, what: str) -> DeviceError:
        cause = self._messages.cause()
        kind = OutOfDeviceMemory if _NO_MEMORY.search(cause) else DeviceError
        return kind(f"{self._flavour.title} refused {what}: {cause}")


_NO_MEMORY = re.compile(r"out ?of ?memory", re.IGNORECASE)
