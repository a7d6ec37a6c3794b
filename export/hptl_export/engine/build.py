"""One engine and its record, built from a model file. Needs no torch."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from traceback import clear_frames
from typing import TypeVar

import onnx

from hptl_deploy import __version__
from hptl_deploy.engines.flavour import Flavour, Trt, new_logger, tidy
from hptl_deploy.engines.machine import Card
from hptl_deploy.engines.record import EngineRecord, Fit, record_path
from hptl_deploy.engines.storage import writable_engine_folder
from hptl_deploy.errors import EngineError, EnvironmentLacks
from hptl_deploy.files import TEMPORARY_SUFFIX, atomic_path, write_text
from hptl_deploy.model import Model
from hptl_deploy.sink import Sink
from hptl_export.engine.graph import graph_for_tensorrt
from hptl_export.engine.network import add_profiles, parse, set_target
from hptl_export.engine.progress import PERCENT, Progress, monitor
from hptl_export.engine.timing import attach_timings, keep_timings, timing_file

T = TypeVar("T")
Active = Callable[[], AbstractContextManager[None]]

_LEFTOVER_SECONDS = 3600
"""A file half-written for longer than this is what a killed process left; writing takes seconds,
and another process may be at it."""


def build_engine(
    model: Model, flavour: Flavour, fit: Fit, sink: Sink, active: Active = nullcontext
) -> Path:
    """Build what `fit` says and write it with its record into a folder of the model's engines.

    Inside `with active():` the card to build on is the building thread's own.

    Both files appear whole or not at all, the record last. Raises ModelError where the model
    cannot be built, EngineError where building fails, EnvironmentLacks where the flavour needs
    a card that does not answer or nothing can be written. Ctrl-C ends the build at its next step.
    """
    began = time.monotonic()
    folder = writable_engine_folder(model)  # before minutes of building
    try:
        plan = _planned(model, flavour, fit, sink, active)
        return _write(folder, fit, plan, time.monotonic() - began)
    except BaseException as exc:
        with suppress(OSError):  # it holds engines already
            folder.rmdir()
        if isinstance(exc, OSError):
            raise EnvironmentLacks(
                f"{folder}: the engine cannot be written ({exc.strerror or exc})",
                hint="Make room there",
            ) from exc
        raise


def _planned(model: Model, flavour: Flavour, fit: Fit, sink: Sink, active: Active) -> Trt:
    """The engine's bytes, with progress shown to `sink`."""
    graph = graph_for_tensorrt(model)
    title = f"{model.card.name} {fit.precision} for {flavour.title}"
    with sink.progress(title, PERCENT, "%") as bar:

        def work(stop: threading.Event) -> Trt:
            with active(), _frames_cleared():
                return _serialised(model, flavour, fit, graph, Progress(bar, stop))

        return _interruptible(work)


def _interruptible(work: Callable[[threading.Event], T]) -> T:
    """Run `work(stop)` in a thread and wait for it; an interrupt sets `stop` and waits for it.

    The builder calls back from inside its own code, where an interrupt must not be raised.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="build") as pool:
        future = pool.submit(work, stop)
        try:
            # In turns: a wait without end cannot be interrupted on every system.
            while not future.done():
                wait([future], timeout=0.1)
        except BaseException:
            stop.set()
            raise
        return future.result()


@contextmanager
def _frames_cleared() -> Iterator[None]:
    """An error that leaves this has let go of the library's objects.

    The frames of its traceback would keep them until the garbage collector comes, and that may
    be while a later builder logs something: the library holds a lock then which the end of the
    older builder waits for, in the same thread, for ever.
    """
    try:
        yield
    except BaseException as exc:
        told: BaseException | None = exc
        while told is not None:
            clear_frames(told.__traceback__)
            told = told.__cause__ or told.__context__
        raise


def _serialised(model: Model, flavour: Flavour, fit: Fit, graph: bytes, progress: Progress) -> Trt:
    """The engine's bytes, a buffer of the flavour's own."""
    trt = flavour.trt
    logger, messages = new_logger(flavour)
    try:
        builder = trt.Builder(logger)
    except (TypeError, RuntimeError) as exc:
        raise EnvironmentLacks(
            f"{flavour.title} cannot build on this machine ({messages.cause()})",
            hint="Check the driver with nvidia-smi",
        ) from exc
    network = parse(flavour, builder, logger, messages, graph, model.path)
    config = builder.create_builder_config()
    if config is None:
        raise EngineError(f"{flavour.title} cannot make a configuration ({messages.cause()})")
    if hasattr(trt.BuilderFlag, "TF32"):
        # fp32 means fp32: tensor cores would round every factor to 10 bits.
        config.clear_flag(trt.BuilderFlag.TF32)
    if not isinstance(fit.gpu, Card):
        set_target(flavour, config, fit.gpu)
    add_profiles(flavour, builder, config, fit.profiles)
    watching = monitor(flavour, progress)
    config.progress_monitor = watching
    # A portable engine is built without measuring: its flavour takes a timing cache and warns.
    timings = timing_file(flavour, fit.gpu) if isinstance(fit.gpu, Card) else None
    if timings is not None:
        attach_timings(config, timings)
    messages.forget()
    try:
        plan = builder.build_serialized_network(network, config)
    except RuntimeError as exc:
        raise EngineError(_failed(model, flavour, fit, tidy(str(exc)))) from exc
    if plan is None or plan.nbytes == 0:
        raise EngineError(_failed(model, flavour, fit, messages.cause()))
    if timings is not None:
        keep_timings(config, timings)
    return plan


def _failed(model: Model, flavour: Flavour, fit: Fit, reason: str) -> str:
    return (
        f"{model.path}: {flavour.title} {flavour.version} failed to build it for {fit.profiles} "
        f"({reason})"
    )


def _write(folder: Path, fit: Fit, plan: Trt, seconds: float) -> Path:
    path = folder / fit.file_name()
    _clear_leftovers(folder)
    content = memoryview(plan)
    record = EngineRecord(
        **vars(fit),
        engine_sha256=hashlib.sha256(content).hexdigest(),
        made_with={
            "hptl-deploy": __version__,
            "onnx": onnx.__version__,
            "seconds": f"{seconds:.1f}",
        },
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    write_text(record_path(path), record.to_json())
    return path


def _clear_leftovers(folder: Path) -> None:
    """Delete what killed builds left half-written."""
    for leftover in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        with suppress(OSError):  # another process may be renaming it just now
            if time.time() - leftover.stat().st_mtime > _LEFTOVER_SECONDS:
                leftover.unlink(missing_ok=True)
