"""The whole stream with several threads at both ends: equal results, and every way it ends."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.errors import EngineError, ResultsError
from hptl_deploy.model import load_model
from hptl_deploy.results import JOINED_FILES
from hptl_deploy.segmentation import RunSummary, SegmentOptions, pipeline, run, segment
from hptl_deploy.segmentation.items import Job
from hptl_deploy.segmentation.ledger import LEDGER_FILE, Entry, Ledger
from hptl_deploy.segmentation.memory import MemoryPlan
from hptl_deploy.segmentation.pipeline import Shared
from hptl_deploy.segmentation.stages import Stages
from support.drawings import blobs, folder_of, save
from support.patience import within
from support.sinks import Recorder
from support.solving import Watched
from support.threshold_model import write_threshold_model


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture(scope="module")
def smooth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Stride 8, halo 24."""
    path = write_threshold_model(tmp_path_factory.mktemp("models"), smoothing=2)
    with open_engine(load_model(path), "cpu") as opened:
        yield opened


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`threads(4)`: so many read, and so many write."""

    def set_to(number: int) -> None:
        monkeypatch.setattr(run, "threads_per_stage", lambda: number)

    set_to(4)
    return set_to


def hard_folder(path: Path) -> Path:
    """Small and large ones, stacks of pages, and some that cannot be read."""
    folder_of(path, 12, size=(40, 48))
    for number, size in enumerate([(300, 200), (7, 5), (120, 400), (41, 47), (64, 64)]):
        save(path / "sub" / f"s{number}.png", blobs(*size, seed=50 + number))
    for number in range(2):
        pages = np.stack([blobs(40, 48, seed=10 * number + page) for page in range(5)])
        tifffile.imwrite(path / f"stack{number}.tif", pages, photometric="minisblack")
    for name in ("a.png", "m05x.png", "sub/z.png"):
        (path / name).write_bytes((path / "m00.png").read_bytes()[:150])
    return path


def contents(out: Path) -> dict[str, bytes]:
    """Class maps, pictures and tables by name."""
    kinds = {".tif", ".jpg", ".csv"}
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.suffix in kinds
    }


def segmented(source: Path, engine: Engine, out: Path) -> RunSummary:
    return within(60, lambda: segment(SegmentOptions(source, out), engine, Recorder()))


def test_each_item_goes_to_one_thread() -> None:
    busy = threading.Lock()

    def items() -> Iterator[int]:
        for number in range(400):
            assert busy.acquire(blocking=False), "two threads draw at once"
            time.sleep(0)
            busy.release()
            yield number

    shared = Shared(items())
    with ThreadPoolExecutor(4) as pool:
        taken = [pool.submit(list, shared) for _ in range(4)]
        parts = [future.result(timeout=30) for future in taken]
    assert sorted(itertools.chain(*parts)) == list(range(400))
    assert all(part == sorted(part) for part in parts)
    assert list(shared) == []


def test_an_error_of_the_shared_items_reaches_one_thread_and_ends_all() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the share is gone")

    shared = Shared(items())
    assert next(iter(shared)) == 1
    with pytest.raises(OSError, match="the share is gone"):
        list(shared)
    assert list(shared) == []


def test_four_threads_write_what_one_does(
    tmp_path: Path, smooth: Engine, threads: Callable[[int], None]
) -> None:
    source = hard_folder(tmp_path / "in")
    for number in (1, 4, 8):
        threads(number)
        summary = segmented(source, smooth, tmp_path / f"out{number}")
        assert (summary.counts["done"], summary.counts["failed"]) == (19, 3)
    one = contents(tmp_path / "out1")
    tables = [name for name in ("fields.csv", "failures.csv", *JOINED_FILES) if name in one]
    assert len(one) == 2 * (12 + 5 + 10) + len(tables)
    assert len(tables) == 6
    for number in (4, 8):
        assert contents(tmp_path / f"out{number}") == one


def test_room_for_one_frame_is_enough_for_four_threads(
    tmp_path: Path, smooth: Engine, threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate admits a large frame alone, and four batches could be under way."""
    source = hard_folder(tmp_path / "in")
    right = contents(segmented(source, smooth, tmp_path / "right").out)
    # A quarter of it is for frames, 20 bytes a pixel: just enough for 300 x 200.
    plan = MemoryPlan(300 * 200 * 20 * 4, None, 10**9)
    monkeypatch.setattr(run, "plan_memory", lambda *_: plan)
    assert contents(segmented(source, smooth, tmp_path / "out").out) == right


def test_frames_that_fail_in_shared_batches(
    tmp_path: Path, smooth: Engine, threads: Callable[[int], None]
) -> None:
    source = folder_of(tmp_path / "in", 24, size=(40, 48))
    bad = [3, 4, 11, 23]
    for number in bad:
        pixels = blobs(40, 48, seed=number)
        pixels[0, :4] = (250, 1, 250, 1)
        save(source / f"m{number:02d}.png", pixels)

    def look(batch: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
        if (batch[:, 0, :4, 0] == (250, 1, 250, 1)).all(axis=-1).any():
            raise EngineError("this one cannot be done")

    summary = segmented(source, Watched(smooth, look), tmp_path / "out")
    assert [(failure.file, failure.stage, failure.reason) for failure in summary.failures] == [
        (f"m{number:02d}.png", "infer", "this one cannot be done") for number in bad
    ]
    right = segmented(source, smooth, tmp_path / "right").out
    found = contents(summary.out)
    for name, content in contents(right).items():
        if name.endswith((".tif", ".jpg")):
            assert found.get(name) == (None if int(name[1:3]) in bad else content)


def test_a_page_that_fails_takes_its_whole_file(
    tmp_path: Path, smooth: Engine, threads: Callable[[int], None]
) -> None:
    source = hard_folder(tmp_path / "in")
    whole = (source / "stack1.tif").read_bytes()
    with tifffile.TiffFile(source / "stack1.tif") as tiff:
        offset = tiff.pages[4].dataoffsets[0]
    (source / "stack1.tif").write_bytes(whole[: offset + 100])  # its last page is cut short
    summary = segmented(source, smooth, tmp_path / "out")
    assert [f.file for f in summary.failures] == ["a.png", "m05x.png", "stack1.tif", "sub/z.png"]
    assert not list(summary.out.glob("stack1*"))
    assert len(list(summary.out.glob("stack0*_classes.tif"))) == 5


@pytest.mark.parametrize("at", [1, 5, 18])
def test_an_error_of_the_ledger_ends_everything(
    tmp_path: Path, smooth: Engine, threads: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch, at: int,
) -> None:  # fmt: skip
    source, append, calls = hard_folder(tmp_path / "in"), Ledger.append, itertools.count(1)

    def fail(ledger: Ledger, entry: Entry) -> None:
        if next(calls) >= at:
            raise ResultsError("the disk is full")
        append(ledger, entry)

    monkeypatch.setattr(Ledger, "append", fail)
    out = tmp_path / "out"
    with pytest.raises(ResultsError, match=r"^the disk is full$"):
        segmented(source, smooth, out)
    assert len((out / LEDGER_FILE).read_bytes().splitlines()) == at - 1
    monkeypatch.undo()
    assert segmented(source, smooth, out).counts["failed"] == 3
    assert contents(out) == contents(segmented(source, smooth, tmp_path / "right").out)


def test_a_ledger_that_fails_while_a_large_frame_waits_for_room(
    tmp_path: Path, smooth: Engine, threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the writers drop keeps its room; the large one would wait for it for ever."""
    source = folder_of(tmp_path / "in", 6, size=(100, 100))
    save(source / "n.png", blobs(300, 200, seed=1))
    plan = MemoryPlan(300 * 200 * 20 * 4, None, 10**9)
    monkeypatch.setattr(run, "plan_memory", lambda *_: plan)

    def fail(ledger: Ledger, entry: Entry) -> None:
        time.sleep(0.3)  # the others wait to be written by then
        raise ResultsError("the disk is full")

    monkeypatch.setattr(Ledger, "append", fail)
    threads(1)
    with pytest.raises(ResultsError, match=r"^the disk is full$"):
        segmented(source, smooth, tmp_path / "out")


def test_an_error_of_the_jobs_ends_the_run(
    tmp_path: Path, smooth: Engine, threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, stream = folder_of(tmp_path / "in", 9), pipeline.run_stream

    def torn(jobs: Callable[[Stages], Iterable[Job]], *rest: Any) -> None:
        def some(stages: Stages) -> Iterator[Job]:
            yield from jobs(stages)
            raise OSError("the share is gone")

        stream(some, *rest)

    monkeypatch.setattr(run, "run_stream", torn)
    with pytest.raises(OSError, match=r"^the share is gone$"):
        segmented(source, smooth, tmp_path / "out")


def test_a_stop_while_four_threads_read(
    tmp_path: Path, smooth: Engine, threads: Callable[[int], None]
) -> None:
    source, stop, out = hard_folder(tmp_path / "in"), threading.Event(), tmp_path / "out"
    folder_of(source / "more", 150, size=(16, 24))  # more than queues and batches hold
    engine = Watched(smooth, lambda batch: stop.set())
    summary = within(60, lambda: segment(SegmentOptions(source, out), engine, Recorder(), stop))
    counts = summary.counts
    assert counts["done"] + counts["failed"] + counts["remaining"] == 150 + 22
    assert 0 < counts["done"] == len({row["file"] for row in summary.results})
    assert summary.exit_code == 130
    # A stack that was begun is whole.
    assert len(list(out.glob("stack0*_classes.tif"))) in (0, 5)
    segmented(source, smooth, out)
    assert contents(out) == contents(segmented(source, smooth, tmp_path / "right").out)
