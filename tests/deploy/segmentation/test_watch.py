"""A whole run over a folder that is being filled."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hptl_deploy.csv_text import read_table
from hptl_deploy.engines import Engine
from hptl_deploy.errors import InputError, UsageError
from hptl_deploy.segmentation import RunSummary, SegmentOptions, segment
from hptl_deploy.segmentation.inputs import sources
from support.drawings import blobs, folder_of, save
from support.processes import start, wait_until
from support.sinks import Recorder
from support.threshold_model import write_threshold_model

STABLE = 0.2
PATIENCE = 60.0
"""Seconds: the machine may be busy."""


@pytest.fixture(autouse=True)
def short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "POLL_SECONDS", 0.05)


class Watched:
    """A run in a thread of its own, and what it has written so far."""

    def __init__(self, options: SegmentOptions, engine: Engine, pool: ThreadPoolExecutor) -> None:
        self.out = options.out_folder
        self.sink = Recorder()
        self.stop = threading.Event()
        self.run: Future[RunSummary] = pool.submit(segment, options, engine, self.sink, self.stop)

    def files(self) -> list[str]:
        return [row["file"] for row in rows(self.out)]

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert not self.run.done(), self.run.result()
            assert time.monotonic() < deadline, self.sink.notes
            time.sleep(0.02)

    def end(self) -> RunSummary:
        self.stop.set()
        return self.run.result(PATIENCE)


def rows(out: Path) -> list[dict[str, str]]:
    try:
        with (out / "fields.csv").open(encoding="utf-8", newline="") as handle:
            return list(csv.DictReader(handle))
    except FileNotFoundError:
        return []


def run_json(out: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((out / "run.json").read_text(encoding="utf-8"))
    return document


@contextmanager
def watching(source: Path, engine: Engine, **options: Any) -> Any:
    wanted = SegmentOptions(source, watch=True, stable_seconds=STABLE, **options)
    with ThreadPoolExecutor(1) as pool:
        watched = Watched(wanted, engine, pool)
        try:
            yield watched
        finally:
            watched.stop.set()


def test_what_arrives_is_segmented_and_a_restart_goes_on(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 1)
    with watching(source, engine) as watched:
        watched.until(lambda: watched.files() == ["m00.png"])
        save(source / "sub" / "late.png", blobs(40, 48, seed=7))
        watched.until(lambda: watched.files() == ["m00.png", "sub/late.png"])
        assert run_json(watched.out)["state"] == "running"
        summary = watched.end()
    assert (summary.state, summary.exit_code) == ("finished", 0)
    assert summary.counts["done"] == 2
    assert run_json(summary.out)["state"] == "finished"
    assert (summary.out / "sub" / "late_classes.tif").is_file()
    # What arrived meanwhile is all that is done.
    save(source / "meanwhile.png", blobs(40, 48, seed=8))
    with watching(source, engine) as watched:
        watched.until(lambda: len(watched.files()) == 3)
        summary = watched.end()
    assert (summary.counts["done"], summary.counts["skipped"]) == (1, 2)


def test_a_late_comer_takes_the_longer_name_and_keeps_it(tmp_path: Path, engine: Engine) -> None:
    source = tmp_path / "in"
    save(source / "a.png", blobs(40, 48, seed=1))
    with watching(source, engine) as watched:
        watched.until(lambda: watched.files() == ["a.png"])
        first = (watched.out / "a_classes.tif").read_bytes()
        save(source / "a.bmp", blobs(40, 48, seed=2))
        watched.until(lambda: len(watched.files()) == 2)
        watched.end()
    found = {row["file"]: row["classes_file"] for row in rows(watched.out)}
    assert found == {"a.png": "a_classes.tif", "a.bmp": "a.bmp_classes.tif"}
    assert (watched.out / "a_classes.tif").read_bytes() == first
    with watching(source, engine) as watched:
        watched.until(lambda: any("2 done" in note for note in watched.sink.notes))
        summary = watched.end()
    assert summary.counts["skipped"] == 2
    assert found == {row["file"]: row["classes_file"] for row in rows(watched.out)}


def test_files_that_are_moved_on_keep_their_rows(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 2)
    with watching(source, engine) as watched:
        watched.until(lambda: watched.files() == ["m00.png", "m01.png"])
        (source / "m00.png").unlink()
        save(source / "another.png", blobs(40, 48, seed=9))
        watched.until(lambda: "another.png" in watched.files())
        watched.end()
    assert watched.files() == ["another.png", "m00.png", "m01.png"]
    (source / "another.png").unlink()
    with watching(source, engine) as watched:
        watched.until(lambda: any(": 1 done" in note for note in watched.sink.notes))
        watched.end()
    assert watched.files() == ["another.png", "m00.png", "m01.png"]


def test_a_bad_file_is_told_once_and_done_when_it_is_mended(tmp_path: Path, engine: Engine) -> None:
    source = tmp_path / "in"
    whole = save(tmp_path / "whole.png", blobs(40, 48, seed=1)).read_bytes()
    source.mkdir()
    (source / "a.png").write_bytes(whole[:200])
    with watching(source, engine) as watched:
        watched.until(lambda: any("1 failed" in note for note in watched.sink.notes))
        (source / "a.png").write_bytes(whole)
        watched.until(lambda: watched.files() == ["a.png"])
        summary = watched.end()
    assert (summary.exit_code, summary.failures) == (0, ())
    assert summary.counts == {"done": 1, "skipped": 0, "failed": 0, "remaining": 0, "ignored": 0}
    told = [note for note in watched.sink.notes if note.startswith("a.png: ")]
    assert len(told) == 1


def test_what_is_not_whole_when_it_ends_remains(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 1)
    with watching(source, engine) as watched:
        watched.until(lambda: watched.files() == ["m00.png"])
        growing = source / "growing.png"
        growing.write_bytes(b"\x89PNG")

        def grown() -> bool:
            with growing.open("ab") as handle:
                handle.write(b"more")
            return time.monotonic() > seen

        seen = time.monotonic() + 1  # twenty polls
        watched.until(grown)
        summary = watched.end()
    assert (summary.state, summary.exit_code) == ("interrupted", 130)
    assert summary.counts["remaining"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"stable_seconds": 0.0},
            "--stable 0: expected a number of seconds above 0",
        ),
        (
            {"split": "val"},
            "--watch IN: --split val means a data set, whose images are listed once and for all. "
            "Leave --watch out, or name a folder that is being filled",
        ),
    ],
)
def test_what_cannot_be_watched(
    tmp_path: Path, engine: Engine, options: dict[str, Any], message: str
) -> None:
    source = folder_of(tmp_path / "in", 1)
    with pytest.raises(UsageError) as caught:
        segment(SegmentOptions(source, watch=True, **options), engine)
    assert str(caught.value) == message.replace("IN", str(source))
    assert not (tmp_path / "in-segmented").exists()


def test_a_folder_that_is_not_there(tmp_path: Path, engine: Engine) -> None:
    with pytest.raises(InputError) as caught:
        segment(SegmentOptions(tmp_path / "none", watch=True), engine)
    assert str(caught.value) == (
        f"{tmp_path / 'none'}: does not exist, and only a folder can be watched. Make the folder "
        "first, or name the one that the microscope fills"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_real_process_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    model = write_threshold_model(tmp_path / "models")
    source = folder_of(tmp_path / "in", 1)
    out = tmp_path / "out"
    process = start(
        "segment", source, "--watch", "--stable", "0.2", "--model", model, "--out", out
    )  # fmt: skip
    try:
        wait_until(lambda: len(rows(out)) == 1, process)
        process.send_signal(number)
        said, noted = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0, noted
    assert "micrographs: 1 done" in said
    assert f"watching {source}: 1 done; Ctrl-C ends" in noted
    assert run_json(out)["state"] == "finished"


def test_statistics_are_of_the_newest_lull(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 1)

    def counted(out: Path) -> str:
        try:
            lines = read_table(out / "statistics.csv")
        except FileNotFoundError:
            return ""
        return lines[0]["n_fields"] if lines else "0"

    with watching(source, engine) as watched:
        watched.until(lambda: counted(watched.out) == "1")
        save(source / "sub" / "late.png", blobs(40, 48, seed=7))
        watched.until(lambda: counted(watched.out) == "2")
        summary = watched.end()
    assert counted(summary.out) == "2"
    assert summary.findings.groups() == ["(top)", "sub"]


def test_a_table_that_is_held_open_is_told_and_the_watch_goes_on(
    tmp_path: Path, engine: Engine
) -> None:
    source = folder_of(tmp_path / "in", 1)
    held = tmp_path / "in-segmented" / "summary.xlsx"
    with watching(source, engine) as watched:
        watched.until(held.is_file)
        held.unlink()
        (held / "by" / "Excel").mkdir(parents=True)
        save(source / "late.png", blobs(40, 48, seed=7))
        watched.until(lambda: any("tried again at the next lull" in n for n in watched.sink.notes))
        shutil.rmtree(held)
        save(source / "later.png", blobs(40, 48, seed=8))
        watched.until(lambda: len(watched.files()) == 3 and held.is_file())
        summary = watched.end()
    assert (summary.state, summary.counts["done"]) == ("finished", 3)


def test_a_report_is_of_the_newest_lull(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 1)

    def says(*words: str) -> bool:
        try:
            page = (tmp_path / "in-segmented" / "report.html").read_text(encoding="utf-8")
        except FileNotFoundError:  # it goes before a newer fields.csv comes
            return False
        return all(word in page for word in words)

    with watching(source, engine) as watched:
        watched.until(lambda: says("1 field in 1 file", "The run is not over."))
        save(source / "late.png", blobs(40, 48, seed=7))
        watched.until(lambda: says("2 fields in 2 files", "The run is not over."))
        summary = watched.end()
    assert summary.report is not None
    assert says("2 fields in 2 files")
    assert not says("The run is not over.")
