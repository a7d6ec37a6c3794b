"""The whole of a bench run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from hptl_deploy.bench.contenders import (
    Absent,
    Contender,
    EngineContender,
    engine_contenders,
    listed,
)
from hptl_deploy.bench.files import FILES, FileRun, file_run, write_inputs
from hptl_deploy.bench.frames import Frames
from hptl_deploy.bench.machine import busy_share, describe_machine, versions
from hptl_deploy.bench.peak import MatrixProduct
from hptl_deploy.bench.result import Peak, Result, Row
from hptl_deploy.bench.rounds import CardMemory, Timed, run_rounds, warm_up
from hptl_deploy.bench.work import operations
from hptl_deploy.engines.ladder import ON_CPU
from hptl_deploy.errors import EngineError, EnvironmentLacks
from hptl_deploy.model import Model
from hptl_deploy.sink import Sink

Others = Callable[[Model, str, tuple[int, int]], Iterator[Contender | Absent]]
"""Who takes part besides the engines: of a model, `--device`, and frames (height, width)."""

_STREAM_SECONDS, _LEAST_FRAMES, _MOST_FRAMES = 3.0, 8, 500
_BUSY = 0.1
"""Share of the processors that others may have before it is said."""


def bench(
    model: Model,
    frames: Frames,
    device: str,
    repeats: int,
    sink: Sink,
    others: Iterable[Others] = (),
) -> Result:
    """Every engine of `model` that runs on `device`, and `others`, on the same `frames`.

    `device` is `auto` (cards and CPU), `cpu`, `cuda` or `cuda:N`; `repeats` rounds are timed.
    Raises UsageError for another device, EnvironmentLacks where nothing runs, EngineError where an
    engine fails that had run before.
    """
    busy = busy_share()
    if busy > _BUSY:
        sink.note(
            f"other programs keep {100 * busy:.0f} % of the processors at work, so times will be "
            "longer than this machine's own and ratios uncertain"
        )
    with ExitStack() as opened:
        timed, absent = _admitted(model, frames, device, sink, others, opened)
        if not timed:
            raise EnvironmentLacks(
                f"{model.path}: nothing runs it on --device {device} ({'; '.join(listed(absent))})"
            )
        place = _reference(timed)
        reference = timed[place]
        products = list(_products(timed, sink, opened))
        with sink.progress("bench", repeats * len(timed), "frames") as bar:
            of_products = run_rounds(timed, products, frames, repeats, bar)
        streams = [_streamed(one, frames, sink) for one in timed]
        runs = _file_runs(timed, frames, sink)
        height, width = reference.contender.traits.plan.padded.shape
        return Result(
            model=_model_json(model),
            frames={
                "what": frames.what,
                "height_px": frames.size[0],
                "width_px": frames.size[1],
                "count": len(frames.pictures),
            },
            operations=operations(model.path, height, width),
            rows=tuple(
                replace(_row(one, reference), streamed=stream, files=run)
                for one, stream, run in zip(timed, streams, runs, strict=True)
            ),
            absent=tuple(absent),
            peaks=tuple(
                Peak(product.precision, product.device, product.operations, tuple(seconds))
                for product, seconds in zip(products, of_products, strict=True)
            ),
            reference=place,
            machine=describe_machine(device, busy),
            versions=versions(),
        )


def _admitted(
    model: Model,
    frames: Frames,
    device: str,
    sink: Sink,
    others: Iterable[Others],
    opened: ExitStack,
) -> tuple[list[Timed], list[Absent]]:
    """Who has gone through the warm-up, and who could not; one after the other.

    What claims to compute the same as the fp32 reference and does not is among the absent.
    """
    timed: list[Timed] = []
    absent: list[Absent] = []
    memory = CardMemory(device)
    for source in (_engines(sink), *others):
        for candidate in source(model, device, frames.size):
            if isinstance(candidate, Absent):
                absent.append(candidate)
                continue
            traits = candidate.traits
            with sink.progress(f"warming up {traits.name}", 1, "engines"), ExitStack() as trial:
                trial.callback(candidate.close)
                try:
                    one = warm_up(candidate, frames)
                except EngineError as exc:
                    absent.append(Absent(traits.backend, traits.precision, str(exc)))
                    continue
                if wrong := _stranger(one, timed):
                    absent.append(wrong)
                    continue
                opened.push(trial.pop_all())
            taken = memory.taken()
            timed.append(replace(one, card_bytes=None if traits.device == "cpu" else taken))
    return timed, absent


def _engines(sink: Sink) -> Others:
    return lambda model, device, size: engine_contenders(model, device, size, sink)


def _stranger(one: Timed, before: list[Timed]) -> Absent | None:
    """Why `one` is not the network that it claims to be; None where it is, or claims nothing."""
    traits = one.contender.traits
    if traits.tolerated_ppm is None or not before:
        return None
    reference = before[_reference(before)]
    differing = one.differing_ppm(reference)
    if differing <= traits.tolerated_ppm:
        return None
    return Absent(
        traits.backend,
        traits.precision,
        f"gives {differing:.0f} ppm of the pixels another class than "
        f"{reference.contender.traits.name} (at most {traits.tolerated_ppm:g} may tie), so it is "
        "another network and was not timed",
    )


def _reference(timed: list[Timed]) -> int:
    """ONNX Runtime in fp32 on the CPU; where it does not take part, the first."""
    names = [one.contender.traits.name for one in timed]
    wanted = f"{ON_CPU} fp32"
    return names.index(wanted) if wanted in names else 0


def _products(timed: list[Timed], sink: Sink, opened: ExitStack) -> Iterator[MatrixProduct]:
    """A matrix product for every device and precision that takes part."""
    traits = (one.contender.traits for one in timed)
    for precision, device in dict.fromkeys((one.precision, one.device) for one in traits):
        try:
            yield opened.enter_context(MatrixProduct(precision, device))
        except EnvironmentLacks as exc:
            sink.note(f"{exc}: the share of its peak is not measured")


def _file_runs(timed: list[Timed], frames: Frames, sink: Sink) -> list[FileRun | None]:
    """One of every engine; None for who is none."""
    # On Windows a file that a scanner holds cannot be removed at once.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        inputs = write_inputs(frames, Path(folder) / "in")
        found: list[FileRun | None] = []
        with sink.progress("from file to file", FILES * len(timed), "files") as bar:
            for number, one in enumerate(timed):
                contender = one.contender
                if isinstance(contender, EngineContender):
                    out = Path(folder) / f"out-{number}"
                    found.append(_file_run(contender, inputs, out, sink))
                else:
                    found.append(None)
                bar.advance(FILES, contender.traits.name)
    return found


def _file_run(contender: EngineContender, inputs: Path, out: Path, sink: Sink) -> FileRun | None:
    """None where it fails, which is said: what was timed before is worth keeping."""
    try:
        return file_run(contender.engine, inputs, out)
    except EngineError as exc:
        sink.note(f"{exc}: the way from file to file is not measured")
        return None


def _streamed(one: Timed, frames: Frames, sink: Sink) -> float | None:
    """Frames per second of some seconds with several frames in flight; None where it fails."""
    count = int(min(_MOST_FRAMES, max(_LEAST_FRAMES, _STREAM_SECONDS / median(one.seconds))))
    try:
        return one.contender.streamed(frames.pictures, count)
    except EngineError as exc:
        sink.note(f"{exc}: several frames in flight are not measured")
        return None


def _row(one: Timed, reference: Timed) -> Row:
    stages = {name: median(entry[name] for entry in one.stages) for name in (one.stages or [{}])[0]}
    return Row(
        traits=one.contender.traits,
        seconds=tuple(one.seconds),
        classes_ppm=one.differing_ppm(reference),
        stages=stages,
        card_bytes=one.card_bytes,
    )


def _model_json(model: Model) -> dict[str, Any]:
    card = model.card
    return {
        "name": card.name,
        "path": str(model.path),
        "sha256": model.sha256,
        "network": card.network,
        "channels": list(card.channels),
        "fc": card.fc,
        "input_scale": card.input_scale,
    }
