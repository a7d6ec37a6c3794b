"""What each part is asked, in a process of its own: `python -m hptl_deploy.doctor.probes PART`.

A probe yields what it adds to its entry of `findings.EMPTY`, each fact as soon as it is known, and
may raise anything: what it knew before it failed, or took the process with it, is kept. `main`
writes each as a line of JSON, and END behind the last.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hptl_deploy.doctor.findings import END, INSTALL, TITLES
from hptl_deploy.errors import DeviceError, EnvironmentLacks, HptlError

if TYPE_CHECKING:
    from hptl_deploy.doctor.findings import CardFacts, Trouble
    from hptl_deploy.engines.machine import Driver

Facts = Iterator[dict[str, Any]]

BASE = (
    "numpy", "scipy", "psutil", "onnx", "tifffile", "imagecodecs", "PIL.Image", "skimage",
    "roifile", "pyarrow", "xlsxwriter", "shapely", "jinja2",
)  # fmt: skip
"""Modules that the program cannot do without; ONNX Runtime has a probe of its own."""
TRAINING = (
    "torch", "lightning-fabric", "onnxscript", "safetensors", "kornia", "scikit-learn",
    "matplotlib", "pydantic", "tomli-w",
)  # fmt: skip
"""Distributions of the extra `train`."""


def host() -> Facts:
    """System, processor, memory."""
    yield {"system": platform.platform()}
    import psutil

    from hptl_deploy.doctor.processor import processor
    from hptl_deploy.segmentation.memory import free_bytes

    yield {"processor": processor()}
    total = psutil.virtual_memory().total
    yield {"memory": {"total_bytes": total, "free_bytes": free_bytes()}}


def libraries() -> Facts:
    """Whether every library of the base loads."""
    versions, broken = {}, []
    for name in BASE:
        top = name.partition(".")[0]
        try:
            importlib.import_module(name)
            versions[top] = str(sys.modules[top].__version__)
        except Exception as exc:
            broken.append(f"{top} cannot be loaded ({_first_line(exc)})")
        yield {"versions": versions}
    if broken:
        raise EnvironmentLacks(
            "; ".join(broken),
            hint="Install it again: pip install --force-reinstall and its name",
        )


def driver() -> Facts:
    """The driver and its cards."""
    yield {"visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES")}
    from hptl_deploy.engines.machine import Driver, driver_version

    yield {"version": driver_version(), "hardware": nvidia_hardware()}
    try:
        library = Driver()
        yield {"cuda": library.cuda()}
        cards = [_card(library, index) for index in range(library.count())]
    except DeviceError as exc:
        raise EnvironmentLacks(
            f"the NVIDIA driver fails ({exc.message})",
            hint="Check it with nvidia-smi; after an update of the driver, restart the machine",
        ) from exc
    except EnvironmentLacks as exc:
        if nvidia_hardware():
            raise EnvironmentLacks(
                f"an NVIDIA card is there, but {exc.message}",
                hint="Install its driver, 580 or newer; a container must be started with its cards",
            ) from exc
        raise
    if not cards:
        raise EnvironmentLacks("an NVIDIA driver is installed, but it shows no card")
    yield {"cards": cards}


def nvidia_hardware(devices: Path = Path("/sys/bus/pci/devices")) -> bool | None:
    """Whether the system lists a graphics card of NVIDIA's; None where it has no such list."""
    if not devices.is_dir():
        return None
    for device in devices.iterdir():
        with suppress(OSError):
            vendor, kind = ((device / name).read_text() for name in ("vendor", "class"))
            # Class 3 is a display controller, with a screen or without.
            if vendor.startswith("0x10de") and kind.startswith("0x03"):
                return True
    return False


def _card(library: Driver, index: int) -> CardFacts:
    card = library.card(index)
    free = None
    with suppress(DeviceError):
        free, _ = library.memory(index)
    return {
        "index": index,
        "name": card.name,
        "capability": card.capability,
        "total_bytes": library.total_bytes(index),
        "free_bytes": free,
    }


def onnxruntime() -> Facts:
    """ONNX Runtime, run on the CPU."""
    packages = ("onnxruntime-gpu", "onnxruntime")
    yield {"packages": [name for name in packages if _version(name)]}
    yield {"version": _version(*packages)}
    from hptl_deploy.engines.onnxruntime import load_onnxruntime

    library = load_onnxruntime()
    yield {"version": str(library.__version__), "built_with": library.get_available_providers()}
    _segment_a_frame(None)


def onnxruntime_cuda() -> Facts:
    """ONNX Runtime, run on the first card."""
    from hptl_deploy.engines.onnxruntime import load_onnxruntime

    if "CUDAExecutionProvider" not in load_onnxruntime().get_available_providers():
        raise EnvironmentLacks("this ONNX Runtime is built without CUDA")
    try:
        with _overheard() as said:
            _segment_a_frame(0)
    except EnvironmentLacks as exc:
        # Its log names the library that is missing, its exception does not.
        cause = re.search(r"with error: (.+)", said[0])
        more = f": {cause[1].strip()}" if cause else ""
        raise EnvironmentLacks(exc.message + more, hint=exc.hint) from exc
    yield from ()


def _segment_a_frame(cuda_index: int | None) -> None:
    """Run the bundled model, opened as `segment` would."""
    import numpy as np

    from hptl_deploy.bundled import BUNDLED, bundled_models_folder
    from hptl_deploy.engines.onnxruntime import OnnxRuntimeEngine
    from hptl_deploy.model import MODEL_FILE, load_model

    folder = bundled_models_folder()
    if folder is None:
        raise EnvironmentLacks(
            "ONNX Runtime cannot be tried, because this copy lacks the bundled model"
        )
    model = load_model(folder / BUNDLED / MODEL_FILE)
    side = 2 * model.card.stride
    with OnnxRuntimeEngine(model, cuda_index=cuda_index) as engine:
        engine.infer(np.zeros((1, side, side, 3), np.uint8))


def flavour(key: str) -> Facts:
    """A flavour of TensorRT, and whether it makes a builder."""
    yield {"version": _version(key)}
    from hptl_deploy.engines.flavour import TENSORRT_RTX, load_flavour, new_logger
    from hptl_deploy.engines.machine import this_machine
    from hptl_deploy.engines.wanted import PORTABLE_SYSTEMS, TARGETS

    if key == TENSORRT_RTX:
        here = this_machine().os in PORTABLE_SYSTEMS
        yield {"serves": [card for cards in TARGETS.values() for card in cards] if here else []}
    loaded = load_flavour(key)
    yield {"version": loaded.version}
    logger, messages = new_logger(loaded)
    try:
        yield {"builds": bool(loaded.trt.Builder(logger))}
    except (TypeError, RuntimeError):
        yield {"builds_trouble": messages.cause()}


def layer(key: str, *distributions: str) -> Facts:
    """A layer of device memory, opened on the first card."""
    yield {"version": _version(*distributions)}
    from hptl_deploy.engines.memory import open_memory

    with open_memory(0, key) as memory:
        yield {"version": memory.version}
        memory.properties()


def training() -> Facts:
    """Torch, loaded, and whether the rest of the extra is installed."""
    version, missing = _version("torch"), [name for name in TRAINING if not _version(name)]
    yield {"version": version, "missing": missing}
    if version is None:
        raise EnvironmentLacks("torch is not installed", hint=f"To train: {INSTALL['train']}")
    torch = importlib.import_module("torch")
    yield {"version": str(torch.__version__), "cuda": torch.version.cuda}
    if missing:
        lacking = ", ".join(missing)
        raise EnvironmentLacks(f"training lacks {lacking}", hint=f"To train: {INSTALL['train']}")


def reader(name: str, module: str) -> Facts:
    """The reader of a vendor's files, called after their ending."""
    version = _version(TITLES[name])
    yield {"version": version}
    if version is None:
        hint = f"To read {name.upper()}: {INSTALL[name]}"
        raise EnvironmentLacks(f"{TITLES[name]} is not installed", hint=hint)
    importlib.import_module(module)


PROBES: dict[str, Callable[[], Facts]] = {
    "host": host,
    "libraries": libraries,
    "driver": driver,
    "onnxruntime": onnxruntime,
    "onnxruntime-cuda": onnxruntime_cuda,
    "tensorrt": partial(flavour, "tensorrt"),
    "tensorrt-rtx": partial(flavour, "tensorrt-rtx"),
    "pycuda": partial(layer, "pycuda", "pycuda"),
    "cuda-python": partial(layer, "cuda-python", "cuda-bindings", "cuda-python"),
    "training": training,
    "czi": partial(reader, "czi", "pylibCZIrw.czi"),
    **{name: partial(reader, name, TITLES[name]) for name in ("lif", "nd2")},
}


def _version(*distributions: str) -> str | None:
    """Of the first that is installed; None where none is."""
    for name in distributions:
        with suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return None


def _trouble(name: str, error: Exception) -> Trouble:
    if isinstance(error, HptlError):
        return {"trouble": error.message, "hint": error.hint}
    words = f"{type(error).__name__}: {_first_line(error)}"
    return {"trouble": f"{TITLES[name]} cannot be used ({words})", "hint": None}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """What libraries write to standard error inside the block; filled in at its end."""
    heard: list[str] = []
    with tempfile.TemporaryFile() as file:
        screen = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield heard
        finally:
            os.dup2(screen, 2)
            os.close(screen)
            file.seek(0)
            heard.append(file.read().decode("utf-8", "replace"))


def main(name: str) -> None:
    """Ask part `name` and end the process."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints is not the answer

    def write(facts: object) -> None:
        os.write(answers, json.dumps(facts).encode() + b"\n")

    try:
        for facts in PROBES[name]():
            write(facts)
    except Exception as exc:
        write(_trouble(name, exc))
    write(END)
    # At once: a broken library may fail once more when it is unloaded.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
