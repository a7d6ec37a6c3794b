"""`hptl-deploy synth` as it is typed."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hptl_deploy.cli.main import run
from hptl_deploy.cli.synth import parse_size
from hptl_deploy.files import TEMPORARY_SUFFIX
from hptl_deploy.synthesis import make_frame
from support.processes import start, wait_until

Capture = pytest.CaptureFixture[str]


def synth(folder: Path, *options: str) -> int:
    return run(["synth", str(folder), "--images", "3", "--size", "128x96", *options])


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def mean_fractions(folder: Path) -> list[float]:
    """Per class, over the label files."""
    labels = [np.asarray(Image.open(path)) for path in sorted((folder / "labels").iterdir())]
    return [float(np.mean([(label == k).mean() for label in labels])) for k in range(3)]


def test_it_says_what_was_made(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "alloy"
    assert synth(folder, "--seed", "2") == 0
    said, noted = capsys.readouterr()
    al, mg2si, fe = (f"{100 * share:.2f}" for share in mean_fractions(folder))
    assert said.splitlines() == [
        f"3 frames of 128 x 96 px in {folder}",
        "area fraction, mean over the frames",
        "  phase                    %",
        f"  aluminium matrix     {al:>5}",
        f"  Mg2Si                {mg2si:>5}",
        f"  Fe-containing phase  {fe:>5}",
        f"train on it: hptl-deploy train {folder} --recipe aluminium-demo",
    ]
    assert noted == ""
    assert (folder / "images" / "frame_0002.jpg").read_bytes() == make_frame(2, 1, 96, 128).jpeg


def test_json_is_one_document(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "alloy"
    assert synth(folder, "--json") == 0
    said, noted = capsys.readouterr()
    document = json.loads(said)
    assert {key: document[key] for key in ("folder", "seed", "width_px", "height_px")} == {
        "folder": str(folder), "seed": 0, "width_px": 128, "height_px": 96,
    }  # fmt: skip
    assert document["generator"] == 1
    assert [row["file"] for row in document["frames"]] == [
        f"images/frame_000{number}.jpg" for number in (1, 2, 3)
    ]
    assert list(document["mean_area_fractions"]) == ["al", "mg2si", "fe"]
    found = list(document["mean_area_fractions"].values())
    assert found == pytest.approx(mean_fractions(folder), abs=1e-6)
    assert f"3 frames of 128 x 96 px in {folder}" in noted


def test_the_seed_makes_the_difference(tmp_path: Path) -> None:
    assert [synth(tmp_path / name, "--seed", seed) for name, seed in
            (("a", "4"), ("b", "4"), ("c", "5"))] == [0, 0, 0]  # fmt: skip
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    a, c = (contents(tmp_path / name / "images") for name in ("a", "c"))
    assert not {*a.values()} & {*c.values()}


def test_a_second_call_takes_over_what_is_there(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "alloy"
    assert synth(folder) == 0
    first = capsys.readouterr().out
    before = contents(folder)
    assert synth(folder) == 0
    said, noted = capsys.readouterr()
    assert said == first
    assert noted == f"{folder}: frames there already: 3\n"
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("size", "sentence"),
    [
        ("2560", "--size 2560: expected WIDTHxHEIGHT in px, such as 2560x1920"),
        ("large", "--size large: expected WIDTHxHEIGHT in px, such as 2560x1920"),
        ("12.5x90", "--size 12.5x90: expected WIDTHxHEIGHT in px, such as 2560x1920"),
        ("-128x96", "--size -128x96: expected WIDTHxHEIGHT in px, such as 2560x1920"),
        ("9999999x96", "--size 9999999x96: expected WIDTHxHEIGHT in px, such as 2560x1920"),
        ("0x10", "a frame of 0 x 10 px: expected sides of 64 to 16384 px"),
        ("20000x100", "a frame of 20000 x 100 px: expected sides of 64 to 16384 px"),
    ],
)
def test_sizes_that_are_none(tmp_path: Path, size: str, sentence: str, capsys: Capture) -> None:
    assert synth(tmp_path / "alloy", f"--size={size}") == 2
    assert capsys.readouterr() == ("", f"hptl-deploy: {sentence}\n")
    assert not (tmp_path / "alloy").exists()


@pytest.mark.parametrize("text", ["128x96", "128X96", "128×96", " 128x96 "])
def test_sizes_are_width_by_height(text: str) -> None:
    assert parse_size(text) == (96, 128)


@pytest.mark.parametrize("option", [["--images", "0"], ["--images", "10000"], ["--seed", "-1"]])
def test_numbers_out_of_range(tmp_path: Path, option: list[str], capsys: Capture) -> None:
    assert synth(tmp_path / "alloy", *option) == 2
    assert f"Invalid value for '{option[0]}'" in capsys.readouterr().err
    assert not (tmp_path / "alloy").exists()


def test_another_series_is_refused(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "alloy"
    assert synth(folder) == 0
    capsys.readouterr()
    assert synth(folder, "--seed", "1", "--json") == 2
    said, noted = capsys.readouterr()
    sentence = (
        f"{folder}: holds frames of another series (seed 0, 128x96 px, generator 1), not of "
        "seed 1, 128x96 px, generator 1. Choose another folder"
    )
    assert noted == f"hptl-deploy: {sentence}\n"
    assert json.loads(said) == {"error": sentence, "exit_code": 2}


def test_a_folder_below_a_file_is_a_sentence(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert synth(tmp_path / "file" / "alloy") == 3
    below = re.escape(str(tmp_path / "file"))
    noted = capsys.readouterr().err
    # Windows does not tell this case from others.
    said = (
        r"the file system refuses it \(.+\)"
        if os.name == "nt"
        else "expected a folder's path, but a part of it is a file. Name another place"
    )
    assert re.fullmatch(rf"hptl-deploy: {below}\S*: {said}\n", noted)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_an_unwritable_folder_is_a_sentence(tmp_path: Path, capsys: Capture) -> None:
    tmp_path.chmod(0o500)
    try:
        assert synth(tmp_path / "alloy") == 3
    finally:
        tmp_path.chmod(0o700)
    noted = capsys.readouterr().err
    assert "the file system refuses it (Permission denied)" in noted
    assert "Traceback" not in noted


def test_the_help_names_the_defaults(capsys: Capture) -> None:
    assert run(["synth", "--help"]) == 0
    said = capsys.readouterr().out
    assert "2560x1920" in said
    assert "The same seed gives the same frames" in re.sub(r"\s+", " ", said)


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals between processes")
def test_interrupted_then_killed_it_ends_as_if_unbroken(tmp_path: Path) -> None:
    """First asked to stop, then killed outright, then left alone."""
    arguments = ("--images", "40", "--size", "320x240", "--seed", "8")
    folder, unbroken = tmp_path / "broken", tmp_path / "unbroken"

    def made() -> int:
        return len(list(folder.glob("images/*.jpg")))

    process = start("synth", folder, *arguments)
    wait_until(lambda: made() >= 2, process)
    process.send_signal(signal.SIGINT)
    said, noted = process.communicate(timeout=60)
    assert process.returncode == 130, noted
    assert said == ""
    assert noted.splitlines() == [
        "",
        "finishing the frames in hand; once more ends at once",
        f"hptl-deploy: {folder}: interrupted; finished frames are kept. The same command goes on "
        "from here",
    ]
    held = made()
    assert 2 <= held < 40
    assert not list(folder.rglob(f".*{TEMPORARY_SUFFIX}"))

    process = start("synth", folder, *arguments)
    wait_until(lambda: made() > held, process)
    process.kill()
    process.communicate(timeout=60)
    assert made() < 40

    assert run(["synth", str(folder), *arguments]) == 0
    assert run(["synth", str(unbroken), *arguments]) == 0
    assert contents(folder) == contents(unbroken)
