"""What stands in for TensorRT where there is no card: its API, with ONNX Runtime behind it.

It takes the calls that the library takes, in the library's order, on host memory, and answers with
the model's own answers. It is stricter than the library: a context that was not given everything
refuses to run, and two that compute in one workspace at once are an error. A test holds its names
against the real library's. Its engines are JSON that names the model file.
"""

from __future__ import annotations

import ctypes
import enum
import hashlib
import json
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hptl_deploy.engines.flavour import TENSORRT_RTX, Flavour
from hptl_deploy.engines.memory.host import HostMemory
from hptl_deploy.engines.onnxruntime import load_onnxruntime, session_options
from hptl_deploy.engines.record import EngineRecord, Fit, record_path
from hptl_deploy.engines.storage import ENGINES_FOLDER
from hptl_deploy.engines.tensorrt import SLOTS, TensorRTEngine, open_tensorrt
from hptl_deploy.engines.wanted import PORTABLE_SYSTEMS, TARGETS
from hptl_deploy.files import write_bytes, write_text
from hptl_deploy.model import INPUT, OUTPUTS, Model, load_model
from support.tensorrt_engines import PROFILES, WRITING

VERSION = "1.7.1"


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2

    def __init__(self) -> None: ...

    def log(self, severity: Severity, text: str) -> None:
        raise NotImplementedError


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class DataType(enum.Enum):
    FLOAT = 0
    UINT8 = 1


class ExecutionContextAllocationStrategy(enum.Enum):
    STATIC = 0
    USER_MANAGED = 2


class DynamicShapesKernelSpecializationStrategy(enum.Enum):
    LAZY = 0
    EAGER = 1


class Library:
    """One copy of the module, for one memory; `faults` makes calls fail."""

    ILogger = ILogger
    TensorIOMode = TensorIOMode
    DataType = DataType
    ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy
    DynamicShapesKernelSpecializationStrategy = DynamicShapesKernelSpecializationStrategy

    def __init__(self, memory: HostMemory) -> None:
        self.memory = memory
        self.faults: dict[str, tuple[int, str]] = {}
        """Name of a call: which one fails, and what is logged. It returns False or None."""
        self.calls: Counter[str] = Counter()
        self.compiled = b""
        """What a runtime cache was filled with when it was created or deserialised."""
        self.logger: Any = None
        self.alive: weakref.WeakSet[Any] = weakref.WeakSet()
        """Objects that hold something of the card's."""

    def Runtime(self, logger: Any) -> Runtime:  # noqa: N802
        self.logger = logger
        return Runtime(self)

    def fails(self, name: str) -> bool:
        """Count the call; log, and say so, where it is the one that is to fail."""
        self.calls[name] += 1
        at, text = self.faults.get(name, (0, ""))
        if self.calls[name] != at:
            return False
        self.logger.log(ILogger.Severity.ERROR, text)
        return True


# As in the library, whatever was made keeps alive what made it.


class Runtime:
    def __init__(self, library: Library) -> None:
        self._library = library
        library.alive.add(self)

    def deserialize_cuda_engine(self, content: bytes) -> ICudaEngine | None:
        if self._library.fails("deserialize_cuda_engine"):
            return None
        return ICudaEngine(self._library, json.loads(content), self)


class ICudaEngine:
    def __init__(self, library: Library, document: dict[str, Any], maker: Runtime) -> None:
        self._library = library
        self._document = document
        self._maker = maker
        library.alive.add(self)
        ort = load_onnxruntime()
        self._session = ort.InferenceSession(
            document["onnx"], session_options(ort), providers=["CPUExecutionProvider"]
        )

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._document["profiles"])

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        assert name == INPUT
        return [tuple(shape) for shape in self._document["profiles"][index]]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode[self._document["tensors"].get(name, ["NONE"])[0]]

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType[self._document["tensors"][name][1]]

    def create_runtime_config(self) -> IRuntimeConfig:
        return IRuntimeConfig(self._library, self)

    def create_execution_context(self, how: object) -> IExecutionContext | None:
        if self._library.fails("create_execution_context"):
            return None
        if isinstance(how, IRuntimeConfig):
            assert how.strategy is ExecutionContextAllocationStrategy.USER_MANAGED
        else:
            assert how is ExecutionContextAllocationStrategy.USER_MANAGED
        return IExecutionContext(self._library, self._document, self._session, self)


class IRuntimeConfig:
    dynamic_shapes_kernel_specialization_strategy = DynamicShapesKernelSpecializationStrategy.LAZY

    def __init__(self, library: Library, maker: ICudaEngine) -> None:
        self._library = library
        self._maker = maker
        library.alive.add(self)
        self.strategy = ExecutionContextAllocationStrategy.STATIC

    def set_execution_context_allocation_strategy(
        self, strategy: ExecutionContextAllocationStrategy
    ) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> IRuntimeCache:
        return IRuntimeCache(self._library, self)

    def set_runtime_cache(self, cache: IRuntimeCache) -> bool:
        return True


class IRuntimeCache:
    def __init__(self, library: Library, maker: IRuntimeConfig) -> None:
        self._library = library
        self._maker = maker
        library.alive.add(self)

    def deserialize(self, blob: bytes) -> bool:
        self._library.compiled = bytes(blob)
        return True

    def serialize(self) -> memoryview | None:
        if self._library.fails("serialize"):
            del self  # a call of the library's leaves nothing in the traceback
            raise RuntimeError("the cache\nis gone")
        return memoryview(self._library.compiled)


class IExecutionContext:
    def __init__(
        self, library: Library, document: dict[str, Any], session: Any, maker: ICudaEngine
    ) -> None:
        self._library = library
        self._document = document
        self._session = session
        self._maker = maker
        library.alive.add(self)
        self.active_optimization_profile = 0
        self._shape: tuple[int, ...] | None = None
        self._addresses: dict[str, int] = {}
        self._workspace = (0, 0)

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        assert stream in self._library.memory.streams
        if self._library.fails("set_optimization_profile_async"):
            return False
        self.active_optimization_profile = profile
        self._shape = None
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self._document["profiles"][self.active_optimization_profile]
        bounds = zip(least, shape, most, strict=True)
        if (
            self._library.fails("set_input_shape")
            or name != INPUT
            or not all(low <= size <= high for low, size, high in bounds)
        ):
            return False
        self._shape = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        if self._library.fails("set_tensor_address") or address % 256:
            return False
        self._addresses[name] = address
        return True

    def infer_shapes(self) -> list[str]:
        if self._library.fails("infer_shapes"):
            return [INPUT]
        return [] if self._shape else [INPUT]

    def update_device_memory_size_for_shapes(self) -> int:
        assert self._shape is not None
        count, height, width, _ = self._shape
        return int(self._document["scratch"] * count * height * width)

    def set_device_memory(self, address: int, size: int) -> None:
        assert size >= self.update_device_memory_size_for_shapes()
        self._workspace = (address, size)

    def execute_async_v3(self, stream: int) -> bool:
        if self._library.fails("execute_async_v3"):
            return False
        if self._shape is None or len(self._addresses) != 3 or not self._workspace[0]:
            return False
        address, size = self._workspace
        room = self._library.memory.buffers.get(address)
        assert room is not None, "computes in memory that was given back"
        assert size <= room.nbytes, "computes beyond its workspace"
        self._library.memory.streams[stream].call(self._work(self._shape))
        return True

    def _work(self, shape: tuple[int, ...]) -> Callable[[], None]:
        pixels = int(np.prod(shape[:3]))
        batch = view(self._addresses[INPUT], 3 * pixels).reshape(shape)
        answers = [view(self._addresses[name], pixels) for name in OUTPUTS]
        workspace = view(*self._workspace)
        mine = id(self) // 16 % 251

        def work() -> None:
            workspace[:] = mine
            results = self._session.run(list(OUTPUTS), {INPUT: batch})
            if not (workspace == mine).all():
                raise RuntimeError("two contexts computed in one workspace")
            for answer, result in zip(answers, results, strict=True):
                answer[:] = result.ravel()

        return work


def view(address: int, nbytes: int) -> NDArray[np.uint8]:
    return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))


def write_engine(path: Path, scratch: int = 4, **changes: Any) -> tuple[Path, Fit]:
    """An engine of the model file `path` with its record; (engine, what it fits)."""
    model = load_model(path)
    frame, least, best, most = (
        (*shape, 3)
        for shape in (PROFILES.frame, PROFILES.tile_min, PROFILES.tile_opt, PROFILES.tile_max)
    )
    document = {
        "onnx": str(path),
        "profiles": [[frame, frame, frame], [least, best, most]],
        "tensors": {INPUT: ["INPUT", "UINT8"], **{name: ["OUTPUT", "UINT8"] for name in OUTPUTS}},
        "scratch": scratch,
        **changes,
    }
    content = json.dumps(document).encode()
    fit = fit_of(model)
    engine = path.parent / ENGINES_FOLDER / fit.file_name()
    digest = hashlib.sha256(content).hexdigest()
    record = EngineRecord(**vars(fit), engine_sha256=digest, made_with={})
    with WRITING:
        write_bytes(engine, content)
        write_text(record_path(engine), record.to_json())
    return engine, fit


def fit_of(model: Model, flavour: str = TENSORRT_RTX) -> Fit:
    return Fit(
        onnx_sha256=model.sha256,
        flavour=flavour,
        version=VERSION,
        precision=model.card.precision,
        gpu=TARGETS["portable"],
        driver=None,
        os=PORTABLE_SYSTEMS,
        profiles=PROFILES,
    )


def open_stand_in(
    path: Path,
    memory: HostMemory | None = None,
    library: Library | None = None,
    key: str = TENSORRT_RTX,
    slots: int = SLOTS,
    **changes: Any,
) -> TensorRTEngine:
    """The whole of TensorRT's way, from the engine's file on."""
    memory = memory or HostMemory(pause=0.001)
    flavour = Flavour(key, VERSION, library or Library(memory))
    engine, fit = write_engine(path, **changes)
    return open_tensorrt(load_model(path), engine, fit, flavour, memory, slots=slots)
