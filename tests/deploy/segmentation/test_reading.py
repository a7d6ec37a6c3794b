"""Inputs that are not there any more, or not what they were, when their turn comes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from hptl_deploy.engines import Engine
from hptl_deploy.micrographs import open_micrograph
from hptl_deploy.micrographs.base import Page
from hptl_deploy.segmentation import RunSummary, SegmentOptions, run, segment
from hptl_deploy.segmentation.inputs.listing import list_inputs
from hptl_deploy.segmentation.memory import MemoryPlan
from hptl_deploy.tiling import Region
from support.drawings import blobs, folder_of, save
from support.patience import within
from support.sinks import Recorder
from support.solving import Watched

# A file that is open cannot be deleted there.
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps open files")


@pytest.fixture(autouse=True)
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """For one frame of 100 x 100 px, so that room which is not given back stops everything."""
    monkeypatch.setattr(run, "plan_memory", lambda *_: MemoryPlan(100 * 100 * 20 * 4, None, 10**9))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """a.png, 60 pages of s.tif, and z.png, which needs all the room there is."""
    folder = tmp_path / "in"
    save(folder / "a.png", blobs(40, 48, seed=1))
    pages = np.stack([blobs(24, 32, seed=page) for page in range(60)])
    tifffile.imwrite(folder / "s.tif", pages, photometric="minisblack")
    save(folder / "z.png", blobs(100, 100, seed=2))
    return folder


def segmented(source: Path, engine: Engine, at_first_page: Callable[[], object]) -> RunSummary:
    """A run that calls `at_first_page` when the engine comes to the first page of s.tif."""
    calls: Iterator[Callable[[], object]] = iter([at_first_page])

    def look(batch: NDArray[np.uint8]) -> None:
        if batch.shape[1:3] == (24, 32):
            next(calls, lambda: None)()

    watched = Watched(engine, look)
    return within(60, lambda: segment(SegmentOptions(source), watched, Recorder()))


def check(summary: RunSummary, reason: str) -> None:
    """s.tif failed for `reason` and left nothing; the others are done."""
    assert [vars(failure) for failure in summary.failures] == [
        {"file": "s.tif", "stage": "read", "reason": reason}
    ]
    assert {path.name for path in summary.out.glob("*_classes.tif")} == {
        "a_classes.tif", "z_classes.tif",
    }  # fmt: skip
    assert summary.exit_code == 1


@posix
def test_deleted_while_it_is_read(source: Path, engine: Engine) -> None:
    summary = segmented(source, engine, (source / "s.tif").unlink)
    check(summary, "was deleted while it was being read")


def test_changed_while_it_is_read(source: Path, engine: Engine) -> None:
    path = source / "s.tif"
    summary = segmented(source, engine, lambda: os.utime(path, (1, 1)))
    check(summary, "was changed while it was being read. Run again when it is complete")


@posix
def test_another_file_in_its_place(source: Path, engine: Engine) -> None:
    save(source.parent / "other.png", blobs(8, 8, seed=1))
    other = source.parent / "other.png"
    summary = segmented(source, engine, lambda: other.replace(source / "s.tif"))
    check(summary, "was changed while it was being read. Run again when it is complete")


def test_deleted_between_listing_and_reading(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder_of(tmp_path / "in", 4, size=(40, 48))

    def then_deleted(*rest: object) -> object:
        found = list_inputs(*rest)  # type: ignore[arg-type]
        (source / "m01.png").unlink()
        (source / "m02.png").unlink()
        (source / "m02.png").mkdir()
        return found

    monkeypatch.setattr(run, "list_inputs", then_deleted)
    summary = within(60, lambda: segment(SegmentOptions(source), engine, Recorder()))
    assert [(f.file, f.stage) for f in summary.failures] == [
        ("m01.png", "read"), ("m02.png", "read"),
    ]  # fmt: skip
    assert summary.failures[0].reason == "No such file or directory"
    assert summary.failures[1].reason in ("Is a directory", "Permission denied")
    assert summary.counts["done"] == 2
    assert summary.exit_code == 1


def test_a_file_that_may_not_be_read(engine: Engine, ordinary_user: Path) -> None:
    source = folder_of(ordinary_user / "in", 2, size=(40, 48))
    (source / "m00.png").chmod(0)
    summary = within(60, lambda: segment(SegmentOptions(source), engine, Recorder()))
    assert [vars(failure) for failure in summary.failures] == [
        {"file": "m00.png", "stage": "read", "reason": "Permission denied"}
    ]
    assert summary.counts["done"] == 1


def test_a_folder_that_may_not_be_listed(engine: Engine, ordinary_user: Path) -> None:
    source = folder_of(ordinary_user / "in", 1, size=(40, 48))
    folder_of(source / "locked", 1, size=(40, 48)).chmod(0)
    try:
        summary = within(60, lambda: segment(SegmentOptions(source), engine, Recorder()))
    finally:
        (source / "locked").chmod(0o700)
    assert [vars(failure) for failure in summary.failures] == [
        {
            "file": "locked",
            "stage": "list",
            "reason": "the folder cannot be read (Permission denied)",
        }
    ]
    assert (summary.counts["done"], summary.exit_code) == (1, 1)


def test_a_reader_that_fails_gives_its_room_back(
    source: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a decoder raises, and out of memory."""
    with open_micrograph(source / "s.tif") as micrograph:
        kind = type(micrograph.pages[0])
    read = kind.read

    def fail(page: Page, region: Region | None = None) -> NDArray[np.uint8]:
        if page.index == 5:
            raise MemoryError
        return read(page, region)

    monkeypatch.setattr(kind, "read", fail)
    check(segmented(source, engine, lambda: None), "needs more memory than there is")
