"""ONNX Runtime, on the CPU or through its CUDA provider."""

from __future__ import annotations

import contextlib
import functools
import io
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from hptl_deploy.engines.base import Engine, EngineInfo, Prediction
from hptl_deploy.engines.ort_binding import Binding
from hptl_deploy.engines.proving import check_probe, reproduces
from hptl_deploy.errors import EngineError, EnvironmentLacks, ModelError, OutOfDeviceMemory
from hptl_deploy.model import INPUT, OUTPUTS, Model
from hptl_deploy.wording import one_line

if TYPE_CHECKING:
    import onnxruntime
    from numpy.typing import NDArray

S = TypeVar("S")

_EXACT_INT8 = "session.x64quantprecision"
"""On x86 without the newer dot-product instructions, pairs of products of unsigned activations and
signed weights are added in 16 bits, which saturate silently. With this setting ONNX Runtime makes
the weights unsigned, and the sums are exact and slower. It does so on processors that need not be
helped, too, so it is for those that fail the model's probe without it."""

_EXACT_REMARK = (
    "this processor's fast 8-bit sums saturate and failed the model's probe, so int8 runs in its "
    "exact, slower form"
)

_NO_MEMORY = re.compile(
    r"bad.?alloc|out ?of ?memory|failed to allocate|alloc_failed|smaller than requested",
    re.IGNORECASE,
)
"""How the allocators of ONNX Runtime, CUDA and cuDNN say it."""

_FILES_REASON = 200
"""Characters of what it says of a model; what it says of this machine's libraries may be longer."""

PACKAGE = "onnxruntime" if sys.platform == "darwin" else "onnxruntime-gpu"
"""Which of the two the program depends on here."""

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxRuntimeEngine(Engine):
    """Runs the model file itself; any batch and any size within memory."""

    def __init__(self, model: Model, *, cuda_index: int | None = None, threads: int = 0) -> None:
        """Open a session on card `cuda_index`, or on the CPU where it is None.

        `threads` is the number of CPU threads, 0 for one per physical core. Raises
        EnvironmentLacks when ONNX Runtime cannot be imported or would silently run on
        another device, ModelError when it refuses the file.
        """
        self._ort = ort = load_onnxruntime()
        self._cuda_index = cuda_index
        self._binding: Binding | None = None
        self._held = 0
        """Numbers in the largest batch so far."""
        kind = "cpu" if cuda_index is None else "cuda"
        options = session_options(ort)
        options.intra_op_num_threads = threads
        provider = _PROVIDERS[kind]

        def session(name: str, settings: dict[str, str]) -> onnxruntime.InferenceSession:
            # Its own fallback prints to standard output and runs elsewhere than asked.
            return ort.InferenceSession(
                str(model.path), options, providers=[(name, settings)], enable_fallback=0
            )

        try:
            if cuda_index is None:
                self._session = session(provider, {})
            else:
                _load_cuda_libraries(ort)
                self._session = _on_card(session, provider, cuda_index)
        except EnvironmentLacks:
            raise
        except Exception as exc:
            reason = first_line(exc, _FILES_REASON, model.path)
            raise ModelError(f"{model.path}: ONNX Runtime refuses it ({reason})") from exc
        running = self._session.get_providers()
        if running[0] != provider:
            raise EnvironmentLacks(
                f"asked ONNX Runtime for {provider}, it would run on {running[0]}",
                hint='The CUDA libraries are missing: pip install "hptl-deploy[cuda]"',
            )
        super().__init__(
            model,
            EngineInfo(
                backend=f"onnxruntime-{kind}",
                device="cpu" if cuda_index is None else f"cuda:{cuda_index}",
                precision=model.card.precision,
                versions={"onnxruntime": ort.__version__},
                largest_shape=None,
                owns_buffers=False,
            ),
        )
        if model.card.precision == "int8" and cuda_index is None:

            def exact() -> onnxruntime.InferenceSession:
                options.add_session_config_entry(_EXACT_INT8, "1")
                return session(provider, {})

            try:
                self._compute_as_verified(exact)
            except BaseException:
                self.close()
                raise

    def _compute_as_verified(self, exact: Callable[[], onnxruntime.InferenceSession]) -> None:
        """Take the `exact` session where the fast one does not compute as the card says.

        Raises EnvironmentLacks where neither does, ModelError where the card does not say.
        """
        if reproduces(self):
            return
        self._session = exact()
        check_probe(self)
        self.info = replace(self.info, remarks=(_EXACT_REMARK,))

    def close(self) -> None:
        """Release the session and its memory; a second call does nothing."""
        super().close()
        self._binding = None
        if self._held:
            with contextlib.suppress(Exception):  # closed because it fails, perhaps
                self._give_back()
            self._held = 0
        self._session = None

    def _infer(self, batch: NDArray[np.uint8]) -> Prediction:
        try:
            return self._run(batch)
        except Exception as exc:
            # What a larger batch held would be in the way of a smaller one.
            self._binding = None
            count, height, width, _ = batch.shape
            size = f"{count} x {height} x {width} px"
            name, device = self.model.card.name, self.info.device
            reason = first_line(exc, _FILES_REASON, self.model.path)
            if _NO_MEMORY.search(str(exc)):
                raise OutOfDeviceMemory(
                    f"model {name}: {device} has no memory left for {size} ({reason})",
                    hint="Choose a smaller --tile",
                ) from exc
            raise EngineError(f"model {name}: ONNX Runtime failed on {size} ({reason})") from exc

    def _make_room(self, batch: NDArray[np.uint8]) -> None:
        """Give back what smaller batches held, before a larger one that cannot use its pieces.

        The session keeps a batch's memory for the next one, which saves a fifth of the time:
        pages that come fresh from the system are slow. So a run holds what its largest batch needs.
        """
        if self._held and batch.size > self._held:
            self._give_back()
        self._held = max(self._held, batch.size)

    def _give_back(self) -> None:
        """Give back to the system what no batch is using; only a run can ask for that."""
        options = self._ort.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        stride = self.model.card.stride
        smallest = np.zeros((1, stride, stride, 3), np.uint8)
        self._session.run(list(OUTPUTS), {INPUT: smallest}, options)

    def _run(self, batch: NDArray[np.uint8]) -> Prediction:
        if self._cuda_index is None:
            self._make_room(batch)
            return Prediction(*self._session.run(list(OUTPUTS), {INPUT: batch}))
        shape = batch.shape[:3]
        if self._binding is None or self._binding.shape != shape:
            self._binding = None  # before the new one takes its room
            self._binding = Binding(self._ort, self._session, "cuda", self._cuda_index, shape)
        return self._binding.run(batch)


def load_onnxruntime() -> ModuleType:
    """The library. Raises EnvironmentLacks when it cannot be imported."""
    try:
        import onnxruntime
    except (ImportError, OSError) as exc:
        raise EnvironmentLacks(
            f"ONNX Runtime cannot be loaded ({first_line(exc)})",
            hint=f"Install it again: pip install --force-reinstall {PACKAGE}",
        ) from exc
    return cast("ModuleType", onnxruntime)


def session_options(ort: ModuleType, *, exact_int8: bool = False) -> onnxruntime.SessionOptions:
    """What every session of ours is opened with.

    `exact_int8` keeps 8-bit arithmetic from saturating on any x86 processor, at a price in speed.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4  # its warnings are no help to a metallographer
    # With memory patterns, a second frame of one size takes a block for everything at once, and
    # more than the first took piece by piece: on the bundled model 683 bytes per pixel after 326.
    options.enable_mem_pattern = False
    _grow_as_asked(ort)
    options.add_session_config_entry("session.use_env_allocators", "1")
    if exact_int8:
        options.add_session_config_entry(_EXACT_INT8, "1")
    return options


@functools.cache
def _grow_as_asked(ort: ModuleType) -> None:
    """Let the memory of all sessions on the CPU grow by what is asked of it, no more.

    Otherwise each piece is at least twice as large as the one before: with AVX-512 the bundled
    model took 930 bytes per pixel at 768 x 768 px and 534 at 1536 x 1536, now 524 and 536.
    """
    place = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    # It can be registered once in a process; whoever was first has said how it grows.
    with contextlib.suppress(Exception):
        ort.create_and_register_allocator(place, ort.OrtArenaCfg({"arena_extend_strategy": 1}))


def _load_cuda_libraries(ort: ModuleType) -> None:
    """Load the CUDA and cuDNN wheels, which the provider's library does not find by itself."""
    if hasattr(ort, "preload_dlls"):
        # What it cannot find it prints; opening the session says it better.
        with contextlib.redirect_stdout(io.StringIO()):
            ort.preload_dlls()


def _on_card(session: Callable[[str, dict[str, str]], S], provider: str, index: int) -> S:
    """A session on card `index`. Raises EnvironmentLacks where only the card is at fault."""
    settings = {
        "device_id": str(index),
        # fp32 means fp32: tensor cores would round every factor to 10 bits.
        "use_tf32": "0",
        # The exhaustive search may pick another algorithm for a tile than for the whole.
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    try:
        return session(provider, settings)
    except Exception as exc:
        session(_PROVIDERS["cpu"], {})  # raises where the file itself is at fault
        raise EnvironmentLacks(
            f"ONNX Runtime cannot use card {index} ({first_line(exc)})",
            hint="Check the driver with nvidia-smi, or use --device cpu",
        ) from exc


def first_line(error: Exception, most: int = 400, path: Path | None = None) -> str:
    """What another library's error says first; its type where it says nothing.

    `path`, which our own sentence begins with, is not said again: it may be all there is room for.
    """
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return one_line(line if path is None else line.replace(str(path), "the file"), most)
