"""Fifty kills at random moments, while somebody else reads the results."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hptl_deploy.results import REPORT_FILE
from hptl_deploy.segmentation.ledger import LEDGER_FILE
from support import results_poller
from support.drawings import folder_of
from support.processes import lines, start, wait_until
from support.threshold_model import write_threshold_model

KILLS = 50
COUNT = 60


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_threshold_model(tmp_path_factory.mktemp("models"), stride=8, smoothing=2)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("in"), COUNT, size=(300, 400))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, source: Path, model: Path) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "out"
    finish(source, model, out)
    return out


@pytest.fixture
def report(tmp_path: Path, unbroken: Path) -> Iterator[Path]:
    """What the other process says in the end; it looks at everything below tmp_path/results."""
    (tmp_path / "results").mkdir()
    (tmp_path / "poller").mkdir()
    path = tmp_path / "poller" / "report.json"
    arguments = [results_poller.__file__, tmp_path / "results", unbroken, path]
    poller = subprocess.Popen([sys.executable, *map(str, arguments)])
    yield path
    poller.kill()
    poller.wait(30)


def finish(source: Path, model: Path, out: Path) -> None:
    process = start("segment", source, "--model", model, "--out", out)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told


def same_results(out: Path, unbroken: Path) -> None:
    """All results are those of the unbroken run, to the byte, and there is nothing else."""
    assert {path.name for path in out.iterdir()} == {path.name for path in unbroken.iterdir()}
    for path in unbroken.iterdir():
        if path.name not in (
            "run.json",
            REPORT_FILE,
            LEDGER_FILE,
        ):  # times, and the order of finishing
            assert (out / path.name).read_bytes() == path.read_bytes(), path.name
    entries, right = (
        {json.loads(line)["file"]: json.loads(line) for line in (folder / LEDGER_FILE).open("rb")}
        for folder in (out, unbroken)
    )
    assert entries == right


def killed(source: Path, model: Path, out: Path, chance: random.Random) -> bool:
    """Start it and kill it, at any moment or soon after a result; False where it ended before."""
    done = lines(out / LEDGER_FILE)
    with start("segment", source, "--model", model, "--out", out) as process:
        if chance.random() < 0.2:
            until = time.monotonic() + chance.uniform(0, 2)
            wait_until(lambda: time.monotonic() > until, process)
        else:
            wait_until(lambda: lines(out / LEDGER_FILE) > done, process)
            until = time.monotonic() + chance.uniform(0, 0.1)
            wait_until(lambda: time.monotonic() > until, process)
        process.kill()
        return process.wait(30) != 0


@pytest.mark.slow
def test_fifty_kills(
    tmp_path: Path, source: Path, model: Path, unbroken: Path, report: Path
) -> None:
    chance, kills, number, unfinished = random.Random(5), 0, 0, 0
    out = tmp_path / "results" / "0"
    for _ in range(4 * KILLS):
        if kills == KILLS:
            break
        kills += killed(source, model, out, chance)
        if lines(out / LEDGER_FILE) < COUNT:
            unfinished += 1
            continue
        # All is done before the kills are: once more from the start.
        finish(source, model, out)
        same_results(out, unbroken)
        number += 1
        out = tmp_path / "results" / f"{number}"
    finish(source, model, out)
    same_results(out, unbroken)
    assert kills == KILLS
    assert unfinished > KILLS // 4
    (report.parent / "over").touch()
    deadline = time.monotonic() + 60
    while not report.exists():
        assert time.monotonic() < deadline, "the other process does not end"
        time.sleep(0.05)
    document = json.loads(report.read_text(encoding="utf-8"))
    assert document["problems"] == []
    read = document["read"]
    # Every result of every folder; what a kill left without its line was made, and read, twice.
    assert min(read[".tif"], read[".jpg"]) >= (number + 1) * COUNT
    assert read[".csv"] > KILLS // 2
    assert read[".json"] > KILLS // 2
