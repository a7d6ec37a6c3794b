"""A mosaic that cannot be done: what is stored of it, and how it goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hptl_deploy.engines import Engine
from hptl_deploy.engines.base import Prediction
from hptl_deploy.errors import EngineError, ResultsError
from hptl_deploy.files import write_bytes
from hptl_deploy.segmentation import SegmentOptions, segment
from hptl_deploy.segmentation.mosaics.mosaic import BANDS_FOLDER
from support.mosaic_runs import (
    FULL,
    KINDS,
    TILES,
    Calls,
    colours,
    full_disk,
    results,
    save_tiff,
    stored,
    tiles,
)
from support.sinks import Recorder

pytestmark = pytest.mark.usefixtures("one_by_one")


def test_an_engine_that_fails_in_the_third_band(
    options: SegmentOptions,
    seeing: Engine,
    calls: Calls,
    unbroken: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    infer = seeing._infer

    def failing(batch: Any) -> Prediction:
        if sum(shape[0] for shape in calls) >= 18:
            raise EngineError("the card fell off the bus")
        return infer(batch)

    with monkeypatch.context() as patch:
        patch.setattr(seeing, "_infer", failing)
        summary = segment(options, seeing)
    (failure,) = summary.failures
    assert (failure.stage, failure.reason) == ("infer", "the card fell off the bus")
    assert not list(summary.out.glob("m_*"))
    assert stored(summary.out) == [f"{number:04d}.{kind}" for number in (0, 1) for kind in KINDS]
    tiles(calls)
    assert results(segment(options, seeing).out) == unbroken
    assert tiles(calls) == sum(TILES[2:])


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_is_full_while_a_band_is_stored(
    options: SegmentOptions,
    seeing: Engine,
    calls: Calls,
    unbroken: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    def write(path: Path, content: bytes) -> None:
        if path.name == f"0002.{kind}":
            full_disk()
        write_bytes(path, content)

    with monkeypatch.context() as patch:
        for module in ("mosaic", "measured"):
            patch.setattr(f"hptl_deploy.segmentation.mosaics.{module}.write_bytes", write)
        patch.setattr("hptl_deploy.files.write_bytes", write)
        with pytest.raises(ResultsError) as caught:
            segment(options, seeing)
    out = options.out_folder
    assert str(caught.value) == FULL.format(out)
    assert not list(out.glob("m_*"))
    tiles(calls)
    assert results(segment(options, seeing).out) == unbroken
    assert tiles(calls) == sum(TILES[2:])
    assert not (out / BANDS_FOLDER).exists()


class Amounts(Recorder):
    """Remembers how far the bar has gone."""

    def __init__(self) -> None:
        super().__init__()
        self.amounts: list[float] = []

    def advance(self, amount: float = 1.0, note: str = "", speed: str = "") -> None:
        self.amounts.append(amount)


def test_the_bar_ends_at_one_where_bands_come_in_behind_a_failure(
    source: Path, seeing: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Bands that were in hand are stored, which is no progress of a run that has given up."""
    monkeypatch.setattr("hptl_deploy.segmentation.memory.MemoryPlan.held", lambda *_: 1)
    infer, failed = seeing._infer, False

    def failing(batch: Any) -> Prediction:
        nonlocal failed
        if not failed:  # first all of a batch, then one of them alone
            failed = len(batch) == 1
            raise EngineError("the card fell off the bus")
        return infer(batch)

    monkeypatch.setattr(seeing, "_infer", failing)
    sink = Amounts()
    summary = segment(SegmentOptions(source, tmp_path / "out"), seeing, sink)
    assert len(summary.failures) == 1
    assert stored(summary.out)  # some did come in
    assert sum(sink.amounts) == pytest.approx(1)


def test_an_input_that_changes_between_bands(
    options: SegmentOptions, seeing: Engine, calls: Calls
) -> None:
    def touch(name: str) -> None:
        if len(sink.advanced) == 2:
            save_tiff(options.input, colours(seed=7))

    sink = Recorder(touch)
    summary = segment(options, seeing, sink)
    (failure,) = summary.failures
    assert failure.stage == "read"
    assert failure.reason == ("was changed while it was being read. Run again when it is complete")
    assert not list(summary.out.glob("m_*"))
    tiles(calls)
    fresh = segment(replace(options, out=summary.out.with_name("fresh")), seeing)
    tiles(calls)
    assert results(segment(options, seeing).out) == results(fresh.out)
    assert tiles(calls) == sum(TILES)  # none of the old content's
