"""Real processes, really killed: what is there is whole, and a restart ends as if unbroken."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hptl_deploy.files import TEMPORARY_SUFFIX, files_of
from hptl_deploy.results import REPORT_FILE
from hptl_deploy.segmentation.ledger import LEDGER_FILE
from support.drawings import folder_of
from support.processes import lines, start, wait_until
from support.threshold_model import write_threshold_model

COUNT = 120
"""More than fit into the queues, so that an interrupt leaves some."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return write_threshold_model(folder, stride=8, smoothing=2)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("in"), COUNT, size=(200, 300))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, source: Path, model: Path) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "out"
    process = start("segment", source, "--model", model, "--out", out)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert len(list(out.glob("*_classes.tif"))) == COUNT
    return out


def check_whole(out: Path, unbroken: Path) -> None:
    """Every result that can be seen is the one of the unbroken run, to the byte."""
    for path in [
        *out.glob("*_classes.tif"),
        *out.glob("*_overlay.jpg"),
        *out.glob("*_particles.parquet"),
    ]:
        assert path.read_bytes() == (unbroken / path.name).read_bytes()
    if (out / "fields.csv").exists():
        with (out / "fields.csv").open(encoding="utf-8", newline="") as handle:
            for row in csv.DictReader(handle):
                assert None not in row.values()
                assert (out / row["classes_file"]).exists()
                assert (out / row["particles_file"]).exists()
    if (out / "run.json").exists():
        json.loads((out / "run.json").read_text(encoding="utf-8"))


def wait_for_more(out: Path, done: int, process: subprocess.Popen[str]) -> None:
    wait_until(lambda: lines(out / LEDGER_FILE) > done, process)


@pytest.mark.parametrize("seed", range(2))
def test_killed_and_restarted(
    tmp_path: Path, source: Path, model: Path, unbroken: Path, seed: int
) -> None:
    out = tmp_path / "out"
    moments, unfinished = random.Random(seed), 0
    for _ in range(2):
        done = lines(out / LEDGER_FILE)
        with start("segment", source, "--model", model, "--out", out) as process:
            wait_for_more(out, done, process)
            until = time.monotonic() + moments.uniform(0, 0.25)
            while time.monotonic() < until:
                check_whole(out, unbroken)
            process.kill()
            unfinished += process.wait() != 0
        check_whole(out, unbroken)
    assert unfinished > 0
    process = start("segment", source, "--model", model, "--out", out)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    names = {path.name for path in unbroken.iterdir()}
    assert {path.name for path in out.iterdir()} == names  # no temporary files either
    check_whole(out, unbroken)
    assert (out / "fields.csv").read_bytes() == (unbroken / "fields.csv").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals between processes")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_finishes_what_is_in_hand(
    tmp_path: Path, source: Path, model: Path, unbroken: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    process = start("segment", source, "--model", model, "--out", out, "--json")
    wait_until(lambda: lines(out / LEDGER_FILE) >= 2, process)
    process.send_signal(number)
    printed, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "finishing the micrographs in hand; once more ends at once" in told
    summary = json.loads(printed)
    document = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert document["state"] == summary["state"] == "interrupted"
    assert document["counts"]["done"] + document["counts"]["remaining"] == COUNT
    assert document["counts"]["done"] == len(list(out.glob("*_classes.tif")))
    assert len(document["results"]) == document["counts"]["done"]
    assert not list(out.glob(f"*{TEMPORARY_SUFFIX}"))
    check_whole(out, unbroken)


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals between processes")
def test_a_second_interrupt_ends_at_once(
    tmp_path: Path, source: Path, model: Path, unbroken: Path
) -> None:
    out = tmp_path / "out"
    process = start("segment", source, "--model", model, "--out", out)
    wait_until(lambda: lines(out / LEDGER_FILE) >= 1, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    check_whole(out, unbroken)


@pytest.mark.slow
def test_formats_that_are_folders_are_whole_or_absent(
    tmp_path: Path, source: Path, model: Path
) -> None:
    words = ("--also", "labels,qupath,rois,ome-zarr-0.4", "--overlay", "none")
    whole, out = tmp_path / "whole", tmp_path / "out"
    finish(source, model, whole, *words)
    chance, unfinished = random.Random(3), 0
    for _ in range(8):
        done = lines(out / LEDGER_FILE)
        with start("segment", source, "--model", model, "--out", out, *words) as process:
            wait_for_more(out, done, process)
            time.sleep(chance.uniform(0, 0.05))
            process.kill()
            unfinished += process.wait() != 0
        for path in out.glob("*.ome.zarr"):
            assert contents(path) == contents(whole / path.name)
    assert unfinished > 2
    finish(source, model, out, *words)
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()}
    for path in whole.iterdir():
        if path.name not in ("run.json", REPORT_FILE, LEDGER_FILE):  # times
            assert contents(out / path.name) == contents(path)


def finish(source: Path, model: Path, out: Path, *words: str) -> None:
    process = start("segment", source, "--model", model, "--out", out, *words)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told


def contents(path: Path) -> dict[Path, bytes]:
    return {one.relative_to(path): one.read_bytes() for one in files_of(path)}
