"""A mosaic that was stopped, killed or failed goes on behind its last whole band."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.errors import ResultsError
from hptl_deploy.model import load_model
from hptl_deploy.segmentation import RunSummary, SegmentOptions, segment
from hptl_deploy.segmentation.inputs.listing import Listed
from hptl_deploy.segmentation.items import Job
from hptl_deploy.segmentation.ledger import read_entries
from hptl_deploy.segmentation.mosaics.mosaic import BANDS_FOLDER, Mosaics
from support.mosaic_runs import (
    BANDS,
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
from support.processes import wait_until
from support.sinks import Recorder
from support.threshold_model import write_threshold_model

pytestmark = pytest.mark.usefixtures("one_by_one")


def stopped(options: SegmentOptions, engine: Engine, bands: int) -> RunSummary:
    """A run that is stopped when so many bands are stored."""
    stop = threading.Event()

    def advanced(name: str) -> None:
        if len(sink.advanced) == bands:
            stop.set()

    sink = Recorder(advanced)
    summary = segment(options, engine, sink, stop)
    assert summary.state == "interrupted"
    return summary


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_stopped_and_gone_on_with(
    options: SegmentOptions, seeing: Engine, calls: Calls, unbroken: dict[str, bytes], bands: int
) -> None:
    first = stopped(options, seeing, bands)
    assert (first.exit_code, first.counts["remaining"]) == (130, 1)
    assert not list(first.out.glob("m_*"))
    assert stored(first.out) == [
        f"{number:04d}.{kind}" for number in range(bands) for kind in KINDS
    ]
    assert tiles(calls) == sum(TILES[:bands])
    sink = Recorder()
    second = segment(options, seeing, sink)
    assert tiles(calls) == sum(TILES[bands:])
    assert (second.exit_code, second.counts["done"]) == (0, 1)
    assert len(sink.advanced) == BANDS + 1
    assert results(second.out) == unbroken
    assert not (second.out / BANDS_FOLDER).exists()
    assert segment(options, seeing).counts["skipped"] == 1


def test_fields_of_a_mosaic_that_was_stopped(
    options: SegmentOptions, seeing: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What crosses from a band of the first run into one of the second counts, too."""
    monkeypatch.setattr("hptl_deploy.measurement.particle_fields.FIELD_HEIGHT", 350)
    options = replace(options, pixel_size_um=0.5)
    stopped(options, seeing, 3)
    (resumed,) = read_entries(segment(options, seeing).out)
    fresh = replace(options, out=options.out_folder.with_name("fresh"))
    (whole,) = read_entries(segment(fresh, seeing).out)
    assert resumed.rows == whole.rows
    assert all(field["fe_mean_free_path_um"] for field in resumed.rows[0]["mosaic_fields"])


def test_all_bands_are_there_and_nothing_else(
    options: SegmentOptions,
    seeing: Engine,
    calls: Calls,
    unbroken: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The maps could not be written, say, and now they can."""
    with monkeypatch.context() as patch:
        patch.setattr("hptl_deploy.segmentation.mosaics.mosaic.write_class_mosaic", full_disk)
        with pytest.raises(ResultsError) as caught:
            segment(options, seeing)
    assert str(caught.value) == FULL.format(options.out_folder)
    assert len(stored(options.out_folder)) == BANDS * len(KINDS)
    tiles(calls)
    assert results(segment(options, seeing).out) == unbroken
    assert tiles(calls) == 0


def flipped(content: bytes) -> bytes:
    altered = bytearray(content)
    altered[-100] ^= 1
    return bytes(altered)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "flipped": flipped,
    "cut": lambda content: content[:-3],
    "empty": lambda content: b"",
    "no JSON of ours": lambda content: b"[1, 2]",
}


@pytest.mark.parametrize("kinds", [KINDS[:4], KINDS[4:]])
@pytest.mark.parametrize("damage", [*DAMAGE, "missing", "another band's"])
def test_damaged_bands_are_made_again(
    options: SegmentOptions,
    seeing: Engine,
    calls: Calls,
    unbroken: dict[str, bytes],
    damage: str,
    kinds: Sequence[str],
) -> None:
    """Another file in each of the bands; all are found, or fewer tiles would be done again."""
    (folder,) = (stopped(options, seeing, 4).out / BANDS_FOLDER).iterdir()
    for number, kind in enumerate(kinds):
        path = folder / f"{number:04d}.{kind}"
        if damage in DAMAGE:
            path.write_bytes(DAMAGE[damage](path.read_bytes()))
        elif damage == "another band's":
            shutil.copy(folder / f"{(number + 1) % 4:04d}.{kind}", path)
        else:
            path.unlink()
    tiles(calls)
    assert results(segment(options, seeing).out) == unbroken
    assert tiles(calls) == sum(TILES[: len(kinds)]) + TILES[-1]


def test_figures_of_another_band_are_not_taken(
    options: SegmentOptions, seeing: Engine, calls: Calls
) -> None:
    options = replace(options, overlay="none")  # which would tell
    (folder,) = (stopped(options, seeing, 2).out / BANDS_FOLDER).iterdir()
    shutil.copy(folder / "0000.json", folder / "0001.json")
    tiles(calls)
    segment(options, seeing)
    assert tiles(calls) == sum(TILES[1:])


def test_figures_that_were_altered_are_not_believed(
    options: SegmentOptions, seeing: Engine, calls: Calls, unbroken: dict[str, bytes]
) -> None:
    (folder,) = (stopped(options, seeing, 2).out / BANDS_FOLDER).iterdir()
    path = folder / "0000.json"
    document = json.loads(path.read_text())
    document["tally"]["pixels"]["0"] += 1
    path.write_text(json.dumps(document))
    tiles(calls)
    assert results(segment(options, seeing).out) == unbroken
    assert tiles(calls) == TILES[0] + sum(TILES[2:])


@pytest.mark.parametrize(
    "change",
    [{"overlay": "png"}, {"pixel_size_um": 0.5}, {"confidence": False}, {"overwrite": True}],
)
def test_other_settings_do_not_take_the_bands(
    options: SegmentOptions, seeing: Engine, calls: Calls, change: dict[str, Any]
) -> None:
    stopped(options, seeing, 3)
    tiles(calls)
    summary = segment(replace(options, **change), seeing)
    assert tiles(calls) == sum(TILES)
    assert not (summary.out / BANDS_FOLDER).exists()


def test_another_model_or_content_does_not_take_the_bands(
    options: SegmentOptions, seeing: Engine, calls: Calls, tmp_path: Path
) -> None:
    stopped(options, seeing, 3)
    path = write_threshold_model(tmp_path / "models", thresholds=(100, 50), smoothing=2)
    with open_engine(load_model(path), "cpu") as other:
        found = results(segment(options, other).out)
        assert found == results(segment(replace(options, out=tmp_path / "f"), other).out)
    stopped(options, seeing, 3)
    save_tiff(options.input, colours(seed=7))
    tiles(calls)
    segment(options, seeing)
    assert tiles(calls) == sum(TILES)


def test_the_pages_of_a_stack_are_kept_until_all_are_there(
    seeing: Engine, calls: Calls, tmp_path: Path
) -> None:
    pages = np.stack([colours(seed=seed) for seed in (1, 5)])
    source = save_tiff(tmp_path / "in" / "s.tif", pages, photometric="rgb")
    options = SegmentOptions(source, tmp_path / "out")
    first = stopped(options, seeing, BANDS + 2)
    assert not list(first.out.glob("s_*"))  # half of the pages would pass for all of them
    tiles(calls)
    summary = segment(options, seeing)
    assert tiles(calls) == sum(TILES[2:])
    assert summary.fields == 2
    fresh = segment(replace(options, out=tmp_path / "fresh"), seeing)
    assert results(summary.out) == results(fresh.out)
    assert not (summary.out / BANDS_FOLDER).exists()


def test_what_a_kill_behind_the_ledger_left_is_cleared(
    options: SegmentOptions, seeing: Engine
) -> None:
    out = segment(options, seeing).out
    stale = out / BANDS_FOLDER / "0" / "0000.classes"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"x")
    assert segment(options, seeing).counts["skipped"] == 1
    assert not (out / BANDS_FOLDER).exists()


def test_another_files_failure_leaves_no_empty_folder(
    options: SegmentOptions, seeing: Engine
) -> None:
    (options.input.with_name("bad.tif")).write_bytes(b"II*\0")
    summary = segment(replace(options, input=options.input.parent), seeing)
    assert (summary.counts["done"], summary.counts["failed"]) == (1, 1)
    assert not (summary.out / BANDS_FOLDER).exists()


def test_the_folder_of_all_bands_stays_while_the_run_goes_on(tmp_path: Path) -> None:
    """Another thread may be about to make a folder in it."""
    folder = tmp_path / BANDS_FOLDER
    folder.mkdir()
    mosaics = Mosaics(tmp_path, "m", "s", confidence=False, overlay="none", particles=True)
    mosaics.close(Job(Listed(tmp_path / "a.tif", "a.tif"), "a"))
    assert folder.is_dir()
    (folder / "kept").mkdir()
    mosaics.end(complete=False)
    assert (folder / "kept").is_dir()
    mosaics.end(complete=True)
    assert not folder.exists()


@pytest.mark.parametrize("band", [0, 2])
def test_killed_in_the_middle(
    options: SegmentOptions,
    seeing: Engine,
    calls: Calls,
    model_path: Path,
    unbroken: dict[str, bytes],
    band: int,
) -> None:
    out = options.out_folder
    process = subprocess.Popen(
        [sys.executable, "-m", "support.mosaic_runs", model_path, options.input, out],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        wait_until(lambda: bool(list(out.glob(f"{BANDS_FOLDER}/*/{band:04d}.json"))), process)
        process.kill()
        _, told = process.communicate()
    assert not list(out.glob("m_*")), told
    whole = sum(name.endswith(".json") for name in stored(out))
    assert band < whole < BANDS, told
    tiles(calls)
    summary = segment(options, seeing)
    assert results(summary.out) == unbroken
    assert tiles(calls) == sum(TILES[whole:])
    assert not (out / BANDS_FOLDER).exists()
    assert not list(out.rglob("*.hptl-part"))
