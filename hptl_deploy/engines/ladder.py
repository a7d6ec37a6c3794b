"""Which engine runs a model here: the fastest that can, every step down said aloud.

    tensorrt -> tensorrt-rtx -> onnxruntime-cuda -> onnxruntime-cpu
    `--device cuda` takes the first three, `--device cpu` the last, `--device auto` all of them
    where there is a card. `--backend` takes one step and no other.

On a card the fp16 file of a model folder runs, where export has verified one, and on the CPU the
fp32 file; `--precision` says otherwise.
"""

from __future__ import annotations

import re
from pathlib import Path

from hptl_deploy.engines.base import Engine
from hptl_deploy.engines.flavour import TENSORRT, TENSORRT_RTX, load_flavour
from hptl_deploy.engines.machine import count_cards, this_machine
from hptl_deploy.engines.proving import check_probe
from hptl_deploy.engines.record import any_profiles
from hptl_deploy.engines.wanted import profiles_for, wanted
from hptl_deploy.errors import EngineError, EnvironmentLacks, HptlError, ModelError, UsageError
from hptl_deploy.model import MODEL_FILE, MODEL_FILES, PRECISIONS, Model, load_model
from hptl_deploy.sink import Silent, Sink

ON_CARD = (TENSORRT, TENSORRT_RTX, "onnxruntime-cuda")
ON_CPU = "onnxruntime-cpu"
BACKENDS = (*ON_CARD, ON_CPU)
"""From the top of the ladder to its foot."""


def open_engine(
    model: Model,
    device: str = "auto",
    precision: str | None = None,
    backend: str = "auto",
    *,
    sink: Sink | None = None,
) -> Engine:
    """Open `model` on `device`: `auto`, `cpu`, `cuda` or `cuda:N`.

    `precision` takes that file of the model's folder; without it see this module. `backend` is
    `auto` or one of BACKENDS. `sink` is told why a step was not taken, and shows how long an
    engine takes that must be built first.

    Raises UsageError for what cannot be meant, ModelError where the model has no file of this
    precision or its file cannot run, and EnvironmentLacks where what was asked for is missing.
    """
    sink = sink or Silent()
    if precision is not None and precision not in PRECISIONS:
        raise UsageError(f"--precision {precision}: expected fp32, fp16 or int8")
    index = _card_for(device, backend)
    if index is None:
        return _on_cpu(model, precision, sink)
    steps = ON_CARD if backend == "auto" else (backend,)
    refused: list[tuple[str, HptlError]] = []
    chosen = _file(model, precision, on_card=True)
    for step in steps:
        try:
            return _on_card(step, chosen, index, sink)
        except (EnvironmentLacks, ModelError, EngineError) as exc:
            if len(steps) == 1:
                raise
            refused.append((step, exc))
            sink.note(f"not {step}: {exc}")
    if device == "auto":
        sink.note("running on the CPU instead")
        return _on_cpu(model, precision, sink)
    _, last = refused[-1]
    if isinstance(last, ModelError):
        raise last  # what no step takes is the file's fault
    reasons = "; ".join(f"{step}: {exc.message}" for step, exc in refused)
    raise EnvironmentLacks(
        f"--device {device}: nothing runs on card {index} ({reasons})",
        hint="`hptl-deploy doctor` says what is missing; --device cpu runs without",
    )


def _card_for(device: str, backend: str) -> int | None:
    """The card that runs, None for the CPU. Raises UsageError and EnvironmentLacks."""
    index = _cuda_index(device)
    if backend not in ("auto", *BACKENDS):
        raise UsageError(f"--backend {backend}: expected auto, {', '.join(ON_CARD)} or {ON_CPU}")
    if backend in ON_CARD and index is None:
        raise UsageError(f"--backend {backend}: runs on an NVIDIA card, not on --device {device}")
    if backend == ON_CPU and device not in ("auto", "cpu"):
        raise UsageError(f"--backend {backend}: runs on the CPU, not on --device {device}")
    if index is None or backend == ON_CPU:
        return None
    lacking = _no_card(index)
    if not lacking:
        return index
    if device == backend == "auto":
        return None
    asked = f"--device {device}" if device != "auto" else f"--backend {backend}"
    raise EnvironmentLacks(f"{asked}: {lacking}", hint="Leave it out, or use --device cpu")


def _on_card(step: str, model: Model, index: int, sink: Sink) -> Engine:
    """One step of the ladder. Raises EnvironmentLacks, ModelError, EngineError."""
    if step == "onnxruntime-cuda":
        from hptl_deploy.engines.onnxruntime import OnnxRuntimeEngine

        return _proven(OnnxRuntimeEngine(model, cuda_index=index))
    from hptl_deploy.engines.memory import open_memory
    from hptl_deploy.engines.tensorrt import open_tensorrt

    _check_form(model)
    flavour = load_flavour(step)
    machine = this_machine(index)
    # Before minutes of building: without a layer the engine could not be run.
    memory = open_memory(index)
    try:
        # Late, because a machine that only runs engines need not be able to build any.
        from hptl_export.engine import ensure_engine

        path = ensure_engine(model, flavour, machine=machine, active=memory.active, sink=sink)
        here = any_profiles(wanted(model, flavour, machine, profiles_for(model.card)), path)
    except BaseException:
        memory.close()
        raise
    return _proven(open_tensorrt(model, path, here, flavour, memory))


def _on_cpu(model: Model, precision: str | None, sink: Sink) -> Engine:
    from hptl_deploy.engines.onnxruntime import OnnxRuntimeEngine

    chosen = _file(model, precision, on_card=False)
    if chosen.card.precision == "fp16":
        sink.note(
            "half precision is computed in fp32 on a CPU: slower than the fp32 file, and no test "
            "of what a card computes"
        )
    return OnnxRuntimeEngine(chosen)


def _proven(engine: Engine) -> Engine:
    """The engine, if it computes the model as the model's probe says. Raises as the probe."""
    try:
        check_probe(engine)
    except BaseException:
        engine.close()
        raise
    return engine


def _check_form(model: Model) -> None:
    """Raise ModelError for an int8 file in the form that only ONNX Runtime takes."""
    if model.card.precision == "int8" and model.card.quantised_for == "cpu":
        raise ModelError(
            f"{model.path}: was quantised for the CPU, and TensorRT takes symmetric int8 alone",
            hint="Export it again with --int8 --int8-for tensorrt, or use fp16",
        )


def _file(model: Model, precision: str | None, *, on_card: bool) -> Model:
    """The file of `model`'s folder that runs. Raises ModelError where it is not there.

    A file that was named itself stays; its precision can only be confirmed.
    """
    whole = model.path.name == MODEL_FILE
    if precision is None:
        half = model.path.with_name(MODEL_FILES["fp16"])
        return _beside(model, half, "fp16") if whole and on_card and half.is_file() else model
    if precision == model.card.precision:
        return model
    if not whole:
        raise UsageError(
            f"{model.path}: asked for {precision}, the file holds {model.card.precision}",
            hint="Leave --precision out, or name the model's folder",
        )
    path = model.path.with_name(MODEL_FILES[precision])
    if not path.is_file():
        raise ModelError(
            f"model {model.card.name}: has no {precision} file ({path} is not there)",
            hint=f"Export it again with --{precision}, or leave --precision out",
        )
    return _beside(model, path, precision)


def _beside(model: Model, path: Path, precision: str) -> Model:
    """The model at `path`, which is `model` in another precision.

    Raises ModelError where it is not.
    """
    other = load_model(path)
    if other.card.precision != precision:
        raise ModelError(
            f"{path}: holds {other.card.precision}, expected {precision} under that name",
            hint="Export the model again",
        )
    if other.card.derived_from != model.sha256:
        raise ModelError(
            f"{path}: was made of another model than the {model.path.name} beside it",
            hint=f"Export the model again with --{precision}, or delete the file",
        )
    return other


def _no_card(index: int) -> str:
    """Why card `index` is not there; empty where it is."""
    cards = count_cards()
    if index < cards:
        return ""
    if cards:
        return f"asked for card {index}, this machine has {cards}"
    return "no NVIDIA card answers on this machine (no driver, or no card)"


def _cuda_index(device: str) -> int | None:
    """The card that `device` means; None for the CPU. Raises UsageError."""
    if device == "cpu":
        return None
    match = re.fullmatch(r"(?:auto|cuda(?::(\d+))?)", device)
    if match is None:
        raise UsageError(f"--device {device}: expected auto, cpu, cuda or cuda:N")
    return int(match.group(1) or 0)
