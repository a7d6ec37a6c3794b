"""Which engine `export` builds: the one asked for, or that of the flavour installed."""

from __future__ import annotations

from pathlib import Path

from hptl_deploy.engines.flavour import (
    FLAVOURS,
    TENSORRT_RTX,
    Flavour,
    installed_flavours,
    load_flavour,
)
from hptl_deploy.engines.ladder import open_engine
from hptl_deploy.engines.machine import Machine, this_machine
from hptl_deploy.engines.wanted import TARGETS
from hptl_deploy.errors import HptlError, UsageError
from hptl_deploy.model import Model
from hptl_deploy.sink import Sink
from hptl_export.engine.ensure import ensure_engine

CHOICES = ("auto", *FLAVOURS, "none")


def check_choice(engine: str, target: str | None) -> None:
    """Raise UsageError for what cannot be meant by `build_for_export`'s options.

    EnvironmentLacks where a flavour asked for by name cannot be loaded.
    """
    if engine not in CHOICES:
        raise UsageError(f"--engine {engine}: expected {', '.join(CHOICES)}")
    if target is not None:
        if engine == "none":
            raise UsageError(f"--target {target}: says nothing without an engine")
        if target not in TARGETS:
            raise UsageError(f"--target {target}: expected {' or '.join(TARGETS)}")
    if engine in FLAVOURS:
        load_flavour(engine)


def build_for_export(
    model: Model,
    engine: str,
    target: str | None,
    sink: Sink,
    *,
    frame: tuple[int, int] | None = None,
) -> Path | None:
    """Build an engine for a model that has just been exported; its path, or None.

    Where the card that it is for answers, the engine must reproduce the model's probe there.
    `engine` is one of CHOICES. `auto` takes the flavour that is installed and can build here, the
    preferred one first, and tells `sink` when there is none or when it fails: the model itself
    is published and runs without. A flavour asked for by name must succeed. `target` and
    `frame` are those of `ensure_engine`.

    Raises what `check_choice` raises, and for a flavour asked for by name what `ensure_engine`
    raises.
    """
    check_choice(engine, target)
    if engine == "none":
        return None
    machine = this_machine()

    def built(flavour: Flavour) -> Path:
        path = ensure_engine(model, flavour, machine=machine, frame=frame, target=target, sink=sink)
        if machine.card is not None and target is None:
            # It is for this card, so this card can say whether it computes the model.
            open_engine(model, "cuda", model.card.precision, flavour.key, sink=sink).close()
        return path

    if engine != "auto":
        return built(load_flavour(engine))
    chosen = _first_that_builds(machine, target)
    if chosen is None:
        sink.note(
            "no TensorRT that can build here is installed, so there is no engine; the model runs "
            f'without. One that needs no card to build: pip install "hptl-deploy[{TENSORRT_RTX}]"'
        )
        return None
    try:
        return built(chosen)
    except UsageError:
        raise
    except HptlError as exc:
        sink.note(f"no engine was built, the model runs without: {exc}")
        return None


def _first_that_builds(machine: Machine, target: str | None) -> Flavour | None:
    """The preferred flavour here; a target can only be meant for one that has targets."""
    for flavour in installed_flavours():
        if flavour.portable or (machine.card is not None and target is None):
            return flavour
    return None
