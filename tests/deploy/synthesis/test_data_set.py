"""What the folder holds, however it was made."""

from __future__ import annotations

import csv
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from hptl_deploy import __version__
from hptl_deploy.datasets import load_data_set
from hptl_deploy.micrographs import open_micrograph
from hptl_deploy.phases import PAPER_PHASES, palette
from hptl_deploy.synthesis import SyntheticFrame, make_frame, write_data_set
from hptl_deploy.synthesis import data_set as module
from support.synthesis import HEIGHT, SEED, WIDTH, contents, request


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Two threads at a time; the names of those that made a frame."""
    seen: set[str] = set()
    together = threading.Barrier(2, timeout=20)
    first = iter(range(2))

    def noted(seed: int, number: int, height: int, width: int) -> SyntheticFrame:
        seen.add(threading.current_thread().name)
        if next(first, None) is not None:
            together.wait()  # the first two frames are in hand at the same time
        return make_frame(seed, number, height, width)

    monkeypatch.setattr(module, "_threads", lambda request: 2)
    monkeypatch.setattr(module, "make_frame", noted)
    yield seen


def test_it_holds_what_make_frame_gives(tmp_path: Path, two_threads: set[str]) -> None:
    """Two threads, and each frame as it is made alone."""
    folder = tmp_path / "set"
    rows = write_data_set(request(folder, 5))
    assert len(two_threads) == 2
    for number in range(5):
        frame = make_frame(SEED, number, HEIGHT, WIDTH)
        stem = f"frame_{number + 1:04d}"
        assert (folder / "images" / f"{stem}.jpg").read_bytes() == frame.jpeg
        with Image.open(folder / "labels" / f"{stem}.png") as stored:
            assert (stored.format, stored.mode) == ("PNG", "P")
            np.testing.assert_array_equal(np.asarray(stored), frame.labels)
            coloured = np.asarray(stored.convert("RGB"))
        np.testing.assert_array_equal(coloured, palette(PAPER_PHASES)[frame.labels])
        with open_micrograph(folder / "images" / f"{stem}.jpg") as micrograph:
            (page,) = micrograph.pages
            assert page.calibration.pixel_size_um == pytest.approx(
                frame.camera.pixel_size_um, rel=1e-6
            )
            np.testing.assert_array_equal(page.read(), frame.pixels())
        assert rows[number]["pixel_size_um"] == frame.camera.pixel_size_um


def test_how_many_are_made_changes_no_frame(tmp_path: Path, whole: Path) -> None:
    write_data_set(request(tmp_path / "set", 3))
    few, many = contents(tmp_path / "set"), contents(whole)
    frames = [name for name in few if name.startswith(("images/", "labels/"))]
    assert len(frames) == 6
    assert all(few[name] == many[name] for name in frames)


def test_it_is_a_data_set(whole: Path) -> None:
    data_set = load_data_set(whole, verify=True)
    assert data_set.synthetic
    assert data_set.phases == PAPER_PHASES
    assert data_set.name == f"synthetic aluminium {SEED}"
    assert data_set.licence == "CC0-1.0"
    assert data_set.notes == ()
    assert data_set.pixel_size_um is None  # every file states its own
    assert [len(data_set.split(s)) for s in ("train", "val", "test")] == [16, 2, 2]
    pixels, labels = data_set.read(data_set.samples[3])
    frame = make_frame(SEED, 3, HEIGHT, WIDTH)
    np.testing.assert_array_equal(pixels, frame.pixels())
    np.testing.assert_array_equal(labels, frame.labels)


def test_the_description_names_the_command_that_made_it(whole: Path) -> None:
    assert load_data_set(whole).origin == (
        f"hptl-deploy synth DIR --images 20 --size {WIDTH}x{HEIGHT} --seed {SEED} "
        f"(hptl-deploy {__version__}, generator 1)"
    )


def test_the_table_says_what_each_frame_is_made_of(whole: Path) -> None:
    with (whole / "frames.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["file"] for row in rows] == [f"images/frame_{n:04d}.jpg" for n in range(1, 21)]
    for number, row in enumerate(rows):
        with Image.open(whole / "labels" / f"frame_{number + 1:04d}.png") as stored:
            labels = np.asarray(stored)
        for value, phase in enumerate(PAPER_PHASES):
            share = float(row[f"{phase.key}_area_fraction"])
            assert share == pytest.approx((labels == value).mean(), abs=1e-6)
        camera = make_frame(SEED, number, 64, 64).camera
        assert float(row["pixel_size_um"]) == camera.pixel_size_um
        assert float(row["matrix_grey"]) == pytest.approx(np.mean(camera.matrix), abs=0.06)
        assert float(row["mg2si_relative_grey"]) == pytest.approx(np.mean(camera.mg2si), abs=6e-4)
        assert float(row["fe_relative_grey"]) == pytest.approx(np.mean(camera.fe), abs=6e-4)
        assert float(row["blur_sigma_px"]) == pytest.approx(camera.blur[1], abs=6e-3)
        assert int(row["jpeg_quality"]) == camera.jpeg_quality


def test_an_error_in_a_thread_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is finished stays, to go on from."""
    folder = tmp_path / "set"

    def fails(seed: int, number: int, height: int, width: int) -> SyntheticFrame:
        if number == 2:
            raise OSError(28, "No space left on device", str(folder / "images"))
        return make_frame(seed, number, height, width)

    with monkeypatch.context() as patched:
        patched.setattr(module, "make_frame", fails)
        with pytest.raises(OSError, match="No space left"):
            write_data_set(request(folder, 6))
    assert not list(folder.rglob("frame_0003.*"))
    write_data_set(request(folder, 6))
    load_data_set(folder, verify=True)


@pytest.mark.parametrize(
    ("free", "cores", "threads"),
    [(0, 4, 1), (20 << 20, 4, 3), (1 << 40, 4, 4), (1 << 40, 64, 8)],
)
def test_threads_keep_to_the_memory_that_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, cores: int, threads: int
) -> None:
    """A frame of 192 x 128 px takes 2.8 MiB: three fit into half of 20 MiB."""

    class Memory:
        available = free

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert module._threads(request(tmp_path, 1, height=192)) == threads
