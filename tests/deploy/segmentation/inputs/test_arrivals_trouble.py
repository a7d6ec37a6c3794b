from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from hptl_deploy.errors import InputError
from hptl_deploy.results import TOOL
from hptl_deploy.segmentation.inputs import looks, seen
from hptl_deploy.segmentation.inputs.arrivals import (
    Healed,
    Note,
)
from hptl_deploy.segmentation.inputs.listing import Failure, Listed
from support.watching import PATIENCE, STABLE, Watch, write

links = pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")


def test_a_file_that_cannot_be_opened_comes_when_it_can(
    folder: Path, watching: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on Windows, where a microscope keeps the file it writes for itself. Tests may run as
    # root, who is denied nothing, so the system's answer is made up.
    held = threading.Event()
    held.set()
    inside = looks.look_inside

    def open_unless_held(path: Path) -> looks.Look:
        if held.is_set():
            raise PermissionError(13, "Permission denied", str(path))
        return inside(path)

    monkeypatch.setattr(seen, "look_inside", open_unless_held)
    began = time.monotonic()
    write(folder / "a.tif")
    moment, event = watching.events.get(timeout=PATIENCE)
    assert event == Failure(
        "a.tif", "list", "cannot be opened (Permission denied); it is tried again"
    )
    assert moment - began >= 10 * STABLE  # it might have been one that is being written
    assert watching.arrivals.remaining() == ("a.tif",)
    assert watching.quiet(Failure, Healed)  # told once
    held.clear()
    assert watching.next(Listed, Healed) == Healed("a.tif")
    assert watching.next(Listed, Healed) == Listed(folder / "a.tif", "a.tif")


def test_a_file_whose_folder_entry_lags_behind_is_not_taken(
    folder: Path, watching: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Windows and network shares answer from memory until the file is opened.
    inside, asked = looks.look_inside, threading.Semaphore(0)
    sizes = iter([10, 20, 30])

    def grown(path: Path) -> looks.Look:
        asked.release()
        size = next(sizes, None)
        return inside(path) if size is None else looks.Look(size, 0, 0)

    monkeypatch.setattr(seen, "look_inside", grown)
    write(folder / "a.tif")
    assert watching.listed() == "a.tif"
    assert all(asked.acquire(blocking=False) for _ in range(4))


def test_a_folder_that_may_not_be_read_is_told_once_and_withdrawn(
    folder: Path, watching: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked, scan = threading.Event(), os.scandir

    def refuse(path: Path) -> object:
        if locked.is_set() and Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    write(folder / "locked" / "b.oir")
    assert watching.next(Failure) == Failure("locked/b.oir", "list", _oir())
    write(folder / "locked" / "a.tif")
    assert watching.listed() == "locked/a.tif"
    write(folder / "b.tif")
    assert watching.listed() == "b.tif"
    locked.set()
    monkeypatch.setattr(os, "scandir", refuse)
    assert watching.next(Failure, Healed) == Failure(
        "locked", "list", "the folder cannot be read (Permission denied)"
    )
    assert watching.quiet(Failure, Healed, Listed)
    locked.clear()
    assert watching.next(Failure, Healed) == Healed("locked")
    assert watching.quiet(Failure, Healed, Listed)
    (folder / "locked" / "b.oir").unlink()
    assert watching.next(Failure, Healed) == Healed("locked/b.oir")


def _oir() -> str:
    from hptl_deploy.micrographs import UNREADABLE_FORMATS

    return UNREADABLE_FORMATS[".oir"]


_EMPTY = "all its micrographs have gone (if it is a share, is it still connected?)"


def test_a_share_that_goes_is_noted_once_and_watched_on(folder: Path) -> None:
    watch = Watch(folder, folder.with_name("out"), auto=False)
    watch.begin()
    write(folder / "d.oir")
    assert watch.next(Failure) == Failure("d.oir", "list", _oir())
    write(folder / "a.tif")
    write(folder / "b.tif")
    assert (watch.listed(), watch.listed()) == ("a.tif", "b.tif")
    away = folder.rename(folder.with_name("away"))
    watch.arrivals.finished("a.tif", failed=False)
    watch.arrivals.finished("b.tif", failed=True)  # it was gone when it was to be read
    gone = watch.next(Note, Failure, Healed)
    assert isinstance(gone, Note)
    assert gone.text in (
        f"{folder}: the folder cannot be read (No such file or directory); watching on",
        # seen while it went
        f"{folder}: {_EMPTY}; watching on",
    )
    assert watch.quiet(Note, Failure, Healed, Listed)
    write(away / "c.tif")
    away.rename(folder)
    back = watch.next(Note, Failure, Healed)
    assert isinstance(back, Note)
    assert back.text.startswith(f"{folder}: ")
    assert back.text.endswith(" again")
    assert {watch.listed(), watch.listed()} == {"b.tif", "c.tif"}
    assert watch.quiet(Note, Failure, Listed)
    watch.end()


def test_an_empty_folder_where_a_share_was_mounted(folder: Path, watching: Watch) -> None:
    write(folder / "a.tif")
    assert watching.listed() == "a.tif"
    away = (folder / "a.tif").rename(folder.with_name("a.tif"))
    assert watching.next(Note, Failure) == Note(f"{folder}: {_EMPTY}; watching on")
    assert watching.quiet()
    away.rename(folder / "a.tif")
    assert watching.next(Note, Failure) == Note(f"{folder}: holds micrographs again")
    assert watching.quiet(Listed, Failure)


@links
def test_loops_end_and_out_within_the_folder_is_no_input(folder: Path) -> None:
    out = folder / "results"
    write(out / "a_classes.tif")
    write(folder / "older" / "a_classes.tif")
    (folder / "older" / "run.json").write_text(json.dumps({"tool": TOOL}))
    write(folder / "sub" / "a.tif")
    (folder / "sub" / "up").symlink_to(folder)
    (folder / "self.tif").symlink_to(folder / "self.tif")
    watch = Watch(folder, out)
    watch.begin()
    failure = watch.next(Failure)
    assert isinstance(failure, Failure)
    assert failure.file == "self.tif"
    assert watch.listed() == "sub/a.tif"
    assert watch.quiet(Failure, Listed)
    watch.end()


def test_a_folder_that_cannot_be_read_at_the_start_is_refused(
    folder: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\), and only"):
        watch.arrivals.start()
