"""ONNX Runtime, on the CPU or through its CUDA provider."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from hptl_deploy.engines.base import Engine, EngineInfo, Prediction
from hptl_deploy.errors import EngineError, EnvironmentLacks, ModelError
from hptl_deploy.model import INPUT, OUTPUTS, Model

if TYPE_CHECKING:
    import onnxruntime
    from numpy.typing import NDArray

S = TypeVar("S")

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxRuntimeEngine(Engine):
    """Runs the model file itself; any batch and any size within memory."""

    def __init__(self, model: Model, *, cuda_index: int | None = None, threads: int = 0) -> None:
        """Open a session on card `cuda_index`, or on the CPU where it is None.

        `threads` is the number of CPU threads, 0 for one per physical core. Raises
        EnvironmentLacks when ONNX Runtime cannot be imported or would silently run on
        another device, ModelError when it refuses the file.
        """
        ort = load_onnxruntime()
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
            raise ModelError(f"{model.path}: ONNX Runtime refuses it ({first_line(exc)})") from exc
        running = self._session.get_providers()
        if running[0] != provider:
            raise EnvironmentLacks(
                f"asked ONNX Runtime for {provider}, it would run on {running[0]}",
                hint="The CUDA libraries are missing: pip install 'hptl-deploy[cuda]'",
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

    def close(self) -> None:
        """Release the session and its memory; a second call does nothing."""
        super().close()
        self._session = None

    def _infer(self, batch: NDArray[np.uint8]) -> Prediction:
        try:
            classes, confidence = self._session.run(list(OUTPUTS), {INPUT: batch})
        except Exception as exc:
            count, height, width, _ = batch.shape
            raise EngineError(
                f"model {self.model.card.name}: ONNX Runtime failed on {count} x {height} x "
                f"{width} px ({first_line(exc)})"
            ) from exc
        return Prediction(classes, confidence)


def load_onnxruntime() -> ModuleType:
    """The library. Raises EnvironmentLacks when it cannot be imported."""
    try:
        import onnxruntime
    except ImportError as exc:
        raise EnvironmentLacks(
            f"ONNX Runtime cannot be loaded ({exc})",
            hint="Install it: pip install --force-reinstall onnxruntime-gpu",
        ) from exc
    return cast("ModuleType", onnxruntime)


def session_options(ort: ModuleType) -> onnxruntime.SessionOptions:
    """What every session of ours is opened with."""
    options = ort.SessionOptions()
    options.log_severity_level = 4  # its warnings are no help to a metallographer
    # Without the arena, memory for a frame goes back to the system when the frame
    # is done, and the bytes per pixel measured at export are what is really taken.
    options.enable_cpu_mem_arena = False
    return options


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


def first_line(error: Exception) -> str:
    """What another library's error says first; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
