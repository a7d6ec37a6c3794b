"""A folder of frames that is gone on with, and folders that are refused."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from hptl_deploy.datasets import load_data_set
from hptl_deploy.errors import HptlError, InputError, Interrupted, UsageError
from hptl_deploy.files import TEMPORARY_SUFFIX
from hptl_deploy.synthesis import SynthesisRequest, write_data_set
from hptl_deploy.synthesis import data_set as module
from support.sinks import Recorder
from support.synthesis import contents, request


def stopped(folder: Path, images: int, after: int) -> Recorder:
    """Make `images` frames, stopped by the user when the bar has moved `after` times."""
    stop = threading.Event()

    def moved(note: str) -> None:
        if len(sink.advanced) == after:
            stop.set()

    sink = Recorder(moved)
    with pytest.raises(Interrupted) as caught:
        write_data_set(request(folder, images), sink, stop)
    assert str(caught.value) == (
        f"{folder}: interrupted; finished frames are kept. The same command goes on from here"
    )
    return sink


def test_an_interrupted_call_goes_on(tmp_path: Path, whole: Path) -> None:
    folder = tmp_path / "set"
    sink = stopped(folder, 20, after=1)
    held = [path.stem for path in sorted((folder / "images").iterdir())]
    assert 1 <= len(held) < 20
    assert sorted(sink.advanced) == held
    assert not (folder / "frames.csv").exists()
    assert load_data_set(folder).synthetic  # whoever trains on a part is told, too

    again = Recorder()
    write_data_set(request(folder, 20), again)
    assert sorted(again.advanced + held) == [f"frame_{n:04d}" for n in range(1, 21)]
    assert again.notes == [f"{folder}: frames there already: {len(held)}"]
    assert contents(folder) == contents(whole)


def test_a_stop_after_the_last_frame_interrupts_nothing(tmp_path: Path) -> None:
    stop = threading.Event()
    sink = Recorder(lambda note: stop.set() if note == "frame_0001" else None)
    rows = write_data_set(request(tmp_path / "set", 1), sink, stop)
    assert len(rows) == 1


def test_a_stop_before_the_first_makes_none(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        write_data_set(request(tmp_path / "set", 2), stop=stop)
    assert not list((tmp_path / "set" / "images").iterdir())


def test_more_images_later_keep_the_old_ones(tmp_path: Path, whole: Path) -> None:
    folder = tmp_path / "set"
    write_data_set(request(folder, 4))
    stamps = {path: path.stat().st_mtime_ns for path in (folder / "images").iterdir()}
    sink = Recorder()
    rows = write_data_set(request(folder, 20), sink)
    assert len(rows) == 20
    assert len(sink.advanced) == 16
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert contents(folder) == contents(whole)


def test_a_second_call_makes_nothing_new(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    first = write_data_set(request(folder, 3))
    before, sink = contents(folder), Recorder()
    assert write_data_set(request(folder, 3), sink) == first
    assert sink.advanced == []
    assert contents(folder) == before


@pytest.mark.parametrize("lost", ["images/frame_0002.jpg", "labels/frame_0002.png"])
def test_half_a_frame_is_made_again(tmp_path: Path, lost: str) -> None:
    folder = tmp_path / "set"
    write_data_set(request(folder, 3))
    before, sink = contents(folder), Recorder()
    (folder / lost).unlink()
    write_data_set(request(folder, 3), sink)
    assert sink.advanced == ["frame_0002"]
    assert contents(folder) == before


def test_what_a_killed_process_left_is_cleared(tmp_path: Path, whole: Path) -> None:
    """Of frames, and of the very first file in a new folder."""
    folder = tmp_path / "set"
    write_data_set(request(folder, 2))
    for place in ("images", "labels", "."):
        (folder / place / f".0123abcd-99{TEMPORARY_SUFFIX}").write_bytes(b"half")
    write_data_set(request(folder, 20))
    assert contents(folder) == contents(whole)

    young = tmp_path / "young"
    young.mkdir()
    (young / f".0123abcd-99{TEMPORARY_SUFFIX}").write_bytes(b"{")
    write_data_set(request(young, 20))
    assert contents(young) == contents(whole)


def refusal(asked: SynthesisRequest) -> str:
    before = contents(asked.folder) if asked.folder.is_dir() else {}
    with pytest.raises(HptlError) as caught:
        write_data_set(asked)
    assert isinstance(caught.value, InputError)
    if asked.folder.is_dir():
        assert contents(asked.folder) == before
    return str(caught.value)


def test_another_series_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write_data_set(request(folder, 1))
    assert refusal(request(folder, 1, seed=6)) == (
        f"{folder}: holds frames of another series (seed 5, 128x96 px, generator 1), not of "
        "seed 6, 128x96 px, generator 1. Choose another folder"
    )
    assert refusal(request(folder, 1, width=64)) == (
        f"{folder}: holds frames of another series (seed 5, 128x96 px, generator 1), not of "
        "seed 5, 64x96 px, generator 1. Choose another folder"
    )


@pytest.mark.parametrize("damage", [b"{", b"\xff\xfe", b"[]", b""])
def test_a_damaged_record_is_refused(tmp_path: Path, damage: bytes) -> None:
    folder = tmp_path / "set"
    write_data_set(request(folder, 1))
    (folder / "synth.json").write_bytes(damage)
    assert refusal(request(folder, 1)) == (
        f"{folder}: holds frames of another series (synth.json is damaged), not of seed 5, "
        "128x96 px, generator 1. Choose another folder"
    )


def test_frames_of_another_generator_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "set"
    write_data_set(request(folder, 1))
    recorded = json.loads((folder / "synth.json").read_text(encoding="utf-8"))
    assert recorded == {"generator": 1, "seed": 5, "width_px": 128, "height_px": 96}
    monkeypatch.setattr(module, "GENERATOR", 2)
    assert "(seed 5, 128x96 px, generator 1), not of seed 5, 128x96 px, generator 2" in refusal(
        request(folder, 1)
    )


def test_fewer_than_there_are_is_refused(tmp_path: Path) -> None:
    """Its table and its description would not be the folder's."""
    folder = tmp_path / "set"
    write_data_set(request(folder, 3))
    assert refusal(request(folder, 2)) == (
        f"{folder}: holds frame 3 of this series already, more than the 2 asked for. Ask for 3 "
        "or more, or choose another folder"
    )


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.jpg").write_bytes(b"x")
    assert refusal(request(tmp_path, 1)) == (
        f"{tmp_path}: is not empty and holds no synthetic data set. Choose another folder, or a "
        "new one"
    )


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set").write_bytes(b"x")
    assert refusal(request(tmp_path / "set", 1)) == (
        f"{tmp_path / 'set'}: is a file; expected a folder. Choose another"
    )
    assert (tmp_path / "set").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("images", "changes", "sentence"),
    [
        (1, {"height": 10}, "a frame of 128 x 10 px: expected sides of 64 to 16384 px"),
        (0, {}, "--images 0: expected 1 or more"),
        (1, {"seed": -1}, "--seed -1: expected 0 or more"),
    ],
)
def test_requests_that_cannot_be(
    tmp_path: Path, images: int, changes: dict[str, int], sentence: str
) -> None:
    with pytest.raises(UsageError) as caught:
        write_data_set(request(tmp_path / "set", images, **changes))
    assert str(caught.value) == sentence
    assert not (tmp_path / "set").exists()


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    assert len(write_data_set(request(tmp_path, 1))) == 1
