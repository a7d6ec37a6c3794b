"""An engine that fits, found or built."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

from hptl_deploy.engines.flavour import Flavour
from hptl_deploy.engines.machine import Machine, this_machine
from hptl_deploy.engines.record import (
    differences,
    read_record,
    record_path,
)
from hptl_deploy.engines.runtime_cache import kept_for
from hptl_deploy.engines.storage import engine_folders
from hptl_deploy.engines.wanted import profiles_for, wanted
from hptl_deploy.errors import ModelError
from hptl_deploy.files import sha256_file
from hptl_deploy.model import Model
from hptl_deploy.sink import Silent, Sink
from hptl_export.engine.build import Active, build_engine

_OLD_SECONDS = 30 * 86400


def ensure_engine(
    model: Model,
    flavour: Flavour,
    *,
    machine: Machine | None = None,
    frame: tuple[int, int] | None = None,
    target: str | None = None,
    active: Active = nullcontext,
    sink: Sink | None = None,
) -> Path:
    """The path of an engine of `model` that fits this machine, built where there is none.

    `frame` is (rows, columns) of the frame profile; without it an engine for any frame will do,
    and one that must be built is for the paper's. `machine` is this one unless given, `target` as
    in `hptl_deploy.engines.wanted`. `active` is `Memory.active` of the card to build on, where it
    is not the first. `sink` is told what an engine there does not fit for, and
    shows the build's progress. Engines that the new one replaces are deleted.

    Raises what `wanted` and `build_engine` raise. The file's bytes come from
    `hptl_deploy.engines.record.read_engine`, which checks them once more; without `frame`, what
    it checks against is `any_profiles`.
    """
    sink = sink or Silent()
    machine = machine or this_machine()
    fit = wanted(
        model,
        flavour,
        machine,
        profiles_for(model.card, frame) if frame else profiles_for(model.card),
        target,
    )
    stale: list[tuple[Path, dict[str, str]]] = []
    damaged: list[str] = []
    for engine in _engines(model, fit.precision):
        try:
            record = read_record(engine)
            changed = differences(record, fit)
            if not changed.keys() - ({"profiles"} if frame is None else set()):
                if _is_whole(engine, record.engine_sha256):
                    return engine
                damaged.append(f"{engine}: is not the file that was built")
            else:
                stale.append((engine, changed))
        except ModelError as exc:
            damaged.append(exc.message)
    sink.note(_why(model, flavour, stale, damaged))
    built = build_engine(model, flavour, fit, sink, active)
    for engine, changed in stale:
        # The new one may have taken the old one's name.
        if engine != built and _has_had_its_day(engine, changed):
            _delete(engine)
    return built


def _engines(model: Model, precision: str) -> Iterator[Path]:
    """Engines of this precision with a record, the newest first."""
    found = (
        path for folder in engine_folders(model) for path in folder.glob(f"{precision}-*.json")
    )
    records = [path for path in found if path.is_file()]
    for path in sorted(records, key=lambda path: (-_written(path), path.name)):
        yield path.with_suffix(".engine")


def _written(path: Path) -> int:
    """When, in nanoseconds; 0 for what another process has deleted since."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _is_whole(engine: Path, sha256: str) -> bool:
    try:
        return sha256_file(engine) == sha256
    except OSError:
        return False


def _why(
    model: Model, flavour: Flavour, stale: list[tuple[Path, dict[str, str]]], damaged: list[str]
) -> str:
    """One sentence: what is built, and what is wrong with the engine that comes closest."""
    what = f"{model.card.precision} engine of {model.card.name} for {flavour.title}"
    if damaged:
        return f"{damaged[0]}; building the {what} again"
    same = [entry for entry in stale if "flavour" not in entry[1]]
    if same:
        engine, changed = min(same, key=lambda entry: len(entry[1]))
        return f"{engine}: does not fit ({'; '.join(changed.values())}); building the {what} again"
    return f"building the {what} {flavour.version}"


def _has_had_its_day(engine: Path, changed: dict[str, str]) -> bool:
    """Whether an engine that does not fit can be deleted.

    Nobody can use one of another model file. One of another version or driver may be another
    machine's that shares the folder, until it has lain there for long; any other may be needed.
    """
    if "onnx_sha256" in changed:
        return True
    age = time.time() - 1e-9 * _written(engine)
    return changed.keys() <= {"version", "driver"} and age > _OLD_SECONDS


def _delete(engine: Path) -> None:
    # On Windows a file in use stays. The record goes last, so that the next build finds it again.
    with suppress(OSError):
        for path in (engine, *kept_for(engine), record_path(engine)):
            path.unlink(missing_ok=True)
