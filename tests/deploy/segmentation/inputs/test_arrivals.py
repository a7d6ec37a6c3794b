from __future__ import annotations

import os
import shutil
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from hptl_deploy.segmentation.inputs import looks
from hptl_deploy.segmentation.inputs.arrivals import (
    Arrivals,
    CaughtUp,
    Event,
    Healed,
    Note,
    watched_jobs,
)
from hptl_deploy.segmentation.inputs.late_names import LateNames
from hptl_deploy.segmentation.inputs.listing import Failure, Listed
from hptl_deploy.segmentation.stages import Stages
from support.watching import LULL, PATIENCE, POLL, STABLE, Watch, age, write


def test_what_was_there_comes_at_once_and_in_order(folder: Path) -> None:
    for name in ("b.tif", "a/z.png", "a.jpg"):
        write(folder / name)
    age(folder)
    watch = Watch(folder, folder.with_name("out"), poll=60)  # nothing needs a second look
    watch.begin()
    assert [watch.listed() for _ in range(3)] == ["a/z.png", "a.jpg", "b.tif"]
    assert watch.next() == CaughtUp(())
    watch.end()


def test_what_has_just_been_written_waits_for_a_second_look(folder: Path, watch: Watch) -> None:
    write(folder / "old.tif")
    age(folder)
    time.sleep(0.02)
    written = time.monotonic()
    write(folder / "new.tif")
    watch.begin()
    assert watch.listed() == "old.tif"
    assert watch.next() == CaughtUp(("new.tif",))
    moment, event = watch.events.get(timeout=PATIENCE)
    assert isinstance(event, Listed)
    assert event.relative == "new.tif"
    assert moment - written >= STABLE


_TIME = "hptl_deploy.segmentation.inputs.looks.time.time_ns"
_HOUR = 3600 * 10**9


def test_a_share_whose_clock_is_behind_lets_nothing_through_early(
    folder: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns
    monkeypatch.setattr(_TIME, lambda: now() + _HOUR)
    write(folder / "new.tif")
    watch.begin()
    assert watch.next() == CaughtUp(("new.tif",))
    assert watch.listed() == "new.tif"


def test_a_share_whose_clock_is_ahead_costs_a_second_look(
    folder: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns
    monkeypatch.setattr(_TIME, lambda: now() - _HOUR)
    write(folder / "old.tif")
    age(folder)
    watch.begin()
    assert watch.next() == CaughtUp(("old.tif",))
    assert watch.listed() == "old.tif"


def test_a_time_in_the_future_makes_no_other_file_old(folder: Path, watch: Watch) -> None:
    path = write(folder / "future.tif")
    os.utime(path, (time.time() + 3600, time.time() + 3600))
    write(folder / "new.tif")
    watch.begin()
    assert watch.next() == CaughtUp(("future.tif", "new.tif"))


def test_a_file_is_as_old_as_its_last_change() -> None:
    second = 10**9
    for mtime, ctime in ((7, 1), (1, 7)):  # Windows has the time of creation for a ctime
        look = looks.Look(1, mtime * second, ctime * second)
        assert looks.is_old(look, 10 * second, 2.5)
        assert not looks.is_old(look, 10 * second, 3)


def test_the_time_of_a_file_system(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = folder.with_name("out")
    newest = out.stat().st_mtime_ns
    assert looks.file_system_time(folder, out, 5) == newest
    assert looks.file_system_time(folder, folder / "none", 5) == 5
    monkeypatch.setattr(_TIME, lambda: 3)
    assert looks.file_system_time(folder, out, 5) == 3


def test_a_copy_that_keeps_the_time_of_its_original_is_not_old(folder: Path, watch: Watch) -> None:
    age(folder)
    path = write(folder / "copy.tif")
    os.utime(path, (1e9, 1e9))
    watch.begin()
    assert watch.next() == CaughtUp(("copy.tif",))
    assert watch.listed() == "copy.tif"


def test_a_file_that_grows_comes_when_it_has_stopped(folder: Path, watching: Watch) -> None:
    writes = []
    with (folder / "a.tif").open("wb", buffering=0) as handle:
        for _ in range(20):
            handle.write(b"x" * 100)
            writes.append(time.monotonic())
            time.sleep(STABLE / 4)
    moment, event = watching.events.get(timeout=PATIENCE)
    assert isinstance(event, Listed)
    # A writer whom a busy machine holds up for the stable time is one that has stopped.
    if max(b - a for a, b in pairwise(writes)) < STABLE * 0.8:
        assert moment - writes[-1] >= STABLE
        assert watching.quiet(Listed)


def test_a_writer_that_pauses_makes_it_come_again(folder: Path, watching: Watch) -> None:
    path = write(folder / "a.tif", b"page 1")
    assert watching.listed() == "a.tif"
    with path.open("r+b") as handle:
        handle.write(b"PAGE 1")  # in place: the size stays
    assert watching.listed() == "a.tif"
    assert watching.quiet(Listed)


def test_a_file_that_is_replaced_comes_again(folder: Path, watching: Watch) -> None:
    write(folder / "a.tif", b"one")
    assert watching.listed() == "a.tif"
    write(folder / "next.part", b"three").replace(folder / "a.tif")
    assert watching.listed() == "a.tif"
    assert watching.quiet(Listed)


def test_temporary_hidden_and_other_files_never_come(folder: Path, watching: Watch) -> None:
    names = ("a.tif.tmp", ".a.tif", ".x/a.tif", "a.tif.hptl-part", "notes.txt", "out.tif.part")
    for name in names:
        write(folder / name)
    assert watching.quiet()
    assert watching.arrivals.listing.ignored == 3
    (folder / "a.tif.tmp").rename(folder / "a.tif")
    renamed = time.monotonic()
    moment, event = watching.events.get(timeout=PATIENCE)
    assert event == Listed(folder / "a.tif", "a.tif")
    assert moment - renamed >= STABLE


def test_empty_files_wait(folder: Path, watching: Watch) -> None:
    write(folder / "a.tif", b"")
    assert watching.quiet()
    assert watching.arrivals.remaining() == ("a.tif",)
    write(folder / "a.tif", b"x")
    assert watching.listed() == "a.tif"
    assert watching.arrivals.remaining() == ()


def test_folders_come_and_go(folder: Path, watching: Watch) -> None:
    write(folder.with_name("elsewhere") / "deep" / "a.tif")
    folder.with_name("elsewhere").rename(folder / "series")
    assert watching.listed() == "series/deep/a.tif"
    shutil.rmtree(folder / "series")
    assert isinstance(watching.next(Note, Failure, Healed), Note)  # everything is gone
    write(folder / "b.tif")
    assert watching.listed() == "b.tif"


def test_what_goes_before_it_is_whole_is_forgotten(folder: Path, watching: Watch) -> None:
    end = time.monotonic() + LULL
    while time.monotonic() < end:
        write(folder / "a.tif").unlink()
    assert watching.quiet()
    assert watching.arrivals.remaining() == ()


def test_what_goes_while_its_folder_is_read_is_no_failure(
    folder: Path, watching: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_of, looked = looks.look_of, threading.Event()

    def gone_at_first(state: os.stat_result) -> looks.Look:
        if not looked.is_set():
            looked.set()
            raise FileNotFoundError(2, "No such file or directory")
        return look_of(state)

    monkeypatch.setattr(looks, "look_of", gone_at_first)
    write(folder / "a.tif")
    assert watching.next() == Listed(folder / "a.tif", "a.tif")
    assert looked.is_set()


def test_one_that_goes_and_returns_as_it_was_comes_again_only_if_it_had_failed(
    folder: Path,
) -> None:
    watch = Watch(folder, folder.with_name("out"), auto=False)
    watch.begin()
    for name in ("bad.tif", "good.tif", "stays.tif"):
        write(folder / name)
    assert [watch.listed() for _ in range(3)] == ["bad.tif", "good.tif", "stays.tif"]
    for name in ("bad.tif", "good.tif", "stays.tif"):
        watch.arrivals.finished(name, failed=name == "bad.tif")
    assert watch.next() == CaughtUp(())
    assert watch.quiet()  # a failure alone is no reason
    for name in ("bad.tif", "good.tif"):
        (folder / name).rename(folder / f".{name}")
    watch.until(lambda: watch.arrivals.listing.names == ["stays.tif"])
    for name in ("bad.tif", "good.tif"):
        (folder / f".{name}").rename(folder / name)
    assert watch.listed() == "bad.tif"
    assert watch.quiet(Listed)
    watch.end()


def test_a_failed_one_comes_again_when_it_has_changed(folder: Path) -> None:
    watch = Watch(folder, folder.with_name("out"), auto=False)
    watch.begin()
    write(folder / "a.tif", b"cut sh")
    assert watch.listed() == "a.tif"
    write(folder / "a.tif", b"cut short")
    assert watch.quiet(Listed)  # it is still in hand
    watch.arrivals.finished("a.tif", failed=True)
    assert watch.listed() == "a.tif"
    watch.end()


def test_a_lull_is_told_once_when_all_is_finished(folder: Path) -> None:
    watch = Watch(folder, folder.with_name("out"), auto=False)
    watch.begin()
    assert watch.next() == CaughtUp(())
    write(folder / "a.tif")
    assert watch.listed() == "a.tif"
    assert watch.quiet()
    watch.arrivals.finished("a.tif", failed=False)
    assert watch.next() == CaughtUp(())
    assert watch.quiet()
    watch.end()


@pytest.mark.parametrize("poll", [POLL, 60.0])
def test_stopping_takes_no_time(folder: Path, poll: float) -> None:
    watch = Watch(folder, folder.with_name("out"), poll=poll)
    watch.begin()
    write(folder / "a.tif", b"")
    assert watch.next() is not None
    assert watch.end() < 2  # 0.2 is promised, but the machine may be busy


def test_a_long_walk_and_a_long_list_are_left_when_stopped(folder: Path) -> None:
    for number in range(50):
        write(folder / f"{number}.tif")
    age(folder)
    stop = threading.Event()
    arrivals = Arrivals(folder, folder.with_name("out"), stop, poll=POLL, stable=STABLE)
    events = iter(arrivals)
    assert isinstance(next(events), Listed)
    stop.set()
    assert next(events, None) is None
    assert len(arrivals.remaining()) == 50  # one of them in hand
    arrivals.finished("0.tif", failed=False)
    assert len(arrivals.remaining()) == 49
    late = Arrivals(folder, folder.with_name("out"), stop)
    assert late.start().names == []
    assert list(late) == []


def test_a_stream_that_breaks_wakes_the_watch(folder: Path) -> None:
    stop = threading.Event()
    write(folder / "a.tif")
    age(folder)
    arrivals = Arrivals(folder, folder.with_name("out"), stop, poll=60, stable=STABLE)
    names = LateNames({}, arrivals.start().names)
    told: list[Event] = []
    rescue = threading.Timer(PATIENCE, stop.set)
    rescue.start()
    with pytest.raises(KeyError), Stages() as stages:
        stages.guard(arrivals)
        for job in stages.source("read", lambda: watched_jobs(arrivals, names, told.append), 1):
            assert (job.listed.relative, job.base) == ("a.tif", "a")
            raise KeyError("the engine is gone")
    assert not stop.is_set()  # it needed no rescue
    rescue.cancel()


def test_jobs_are_named_as_they_come_and_the_rest_is_told(folder: Path) -> None:
    stop = threading.Event()
    told: list[Event] = []
    write(folder / "a.tif")
    arrivals = Arrivals(folder, folder.with_name("out"), stop, poll=POLL, stable=STABLE)
    names = LateNames({}, arrivals.start().names)
    bases = []
    timer = threading.Timer(PATIENCE, stop.set)
    timer.start()
    for job in watched_jobs(arrivals, names, told.append):
        bases.append(job.base)
        arrivals.finished(job.listed.relative, failed=False)
        write(folder / "a.png")
        if len(bases) == 2:
            stop.set()
    timer.cancel()
    assert bases == ["a", "a.png"]
    assert told
    assert all(isinstance(event, CaughtUp) for event in told)


def test_a_walk_over_thousands_of_files_is_quick(folder: Path) -> None:
    for number in range(5000):
        path = folder / f"{number % 20}" / f"{number}.tif"
        if number < 20:
            path.parent.mkdir()
        path.touch()
    arrivals = Arrivals(folder, folder.with_name("out"), threading.Event())
    began = time.process_time()
    assert len(arrivals.start().names) == 5000
    assert time.process_time() - began < 2  # 0.25 s on two busy cores
