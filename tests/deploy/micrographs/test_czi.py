"""Zeiss CZI: what is refused, and with which words."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import open_micrograph
from hptl_deploy.micrographs.czi_metadata import UNKNOWN, parse
from support.broken_micrographs import sentence
from support.czi_samples import CZI_SAMPLES, DIRECTORY, METADATA, SUBBLOCK, Piece, czi, jpeg_xr
from support.micrograph_samples import RED, ramp

pytest.importorskip("pylibCZIrw")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    czi(Piece(RED), metres=5e-7)(tmp_path / "x.czi")
    return tmp_path / "x.czi"


def altered(path: Path, name: bytes, at: int, value: bytes) -> str:
    """What is said when `value` stands `at` bytes behind the name of a segment."""
    content = bytearray(path.read_bytes())
    start = content.index(name) + at
    content[start : start + len(value)] = value
    path.write_bytes(content)
    return sentence(path)


@pytest.mark.parametrize("name", ["text", "zeros"])
def test_other_content(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.czi").write_bytes(b"Dear reader,\n" if name == "text" else bytes(4000))
    assert f"holds {'text' if name == 'text' else 'only zeros'}, not a CZI" in sentence(
        tmp_path / "x.czi"
    )


def test_cut_short_anywhere(path: Path) -> None:
    content = path.read_bytes()
    for length in (12, 90, 540, len(content) // 2, len(content) - 200):
        path.write_bytes(content[:length])
        assert "is cut short" in sentence(path)


@pytest.mark.parametrize(
    ("name", "at", "value", "expected"),
    [
        (b"ZISRAWFILE", 80, b"\1", "is one part of a CZI that is spread over several files"),
        (DIRECTORY, 0, b"X", "is no ZISRAWDIRECTORY"),
        (DIRECTORY, 32, b"\xff\xff", "lists 65535 tiles"),
        (DIRECTORY, 162, b"\2", "holds Gray32Float; expected 8 or 16 bit unsigned integers"),
        (DIRECTORY, 178, b"\1", "is compressed in a way that is not known here (CZI compression 1"),
        (DIRECTORY, 188, b"\x7f", "an entry of its directory has 127 dimensions"),
        (SUBBLOCK, 50, b"\1", "a tile and its entry of the directory contradict each other"),
        (SUBBLOCK, 40, b"\xff\xff\xff\x7f", "a tile is larger than the room it takes up"),
        (SUBBLOCK, 40, b"\1\0\0\0", "which 1 bytes of picture data cannot hold"),
        (METADATA, 32, b"\xff\xff\xff\x7f", "its metadata of"),
    ],
)
def test_altered(path: Path, name: bytes, at: int, value: bytes, expected: str) -> None:
    assert expected in altered(path, name, at, value)


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (czi(Piece(ramp(8)), Piece(ramp(8), plane={"C": 1})), "holds 2 channels; expected one"),
        (czi(Piece(ramp(8)), Piece(RED, (60, 0))), "tiles of different pixel types"),
        (czi(Piece(ramp(8)), Piece(ramp(8), (90_000, 90_000))), "of which its tiles cover"),
    ],
)
def test_refused(tmp_path: Path, write: Callable[[Path], None], expected: str) -> None:
    write(tmp_path / "x.czi")
    assert expected in sentence(tmp_path / "x.czi")


def test_jpeg_xr_of_another_size(tmp_path: Path) -> None:
    jpeg_xr(tmp_path / "x.czi")
    content = bytearray((tmp_path / "x.czi").read_bytes())
    start = content.index(b"II\xbc")
    stream = imagecodecs.jpegxr_encode(np.zeros((2000, 2000), np.uint8), level=1.0)
    content[start : start + len(stream)] = stream
    start = content.index(SUBBLOCK) + 40
    content[start : start + 8] = len(stream).to_bytes(8, "little")
    (tmp_path / "x.czi").write_bytes(content)
    assert "a tile of 128 x 128 pixels says of itself that it has 2000 x 2000" in sentence(
        tmp_path / "x.czi"
    )


@pytest.mark.parametrize("at", [2, 7, 39, 45, 88, 145, 150])
def test_jpeg_xr_that_points_beyond_itself(tmp_path: Path, at: int) -> None:
    jpeg_xr(tmp_path / "x.czi")
    assert "a tile" in altered(tmp_path / "x.czi", b"II\xbc", at, b"\x7f")


def test_without_the_package(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pylibCZIrw.czi", None)
    assert sentence(path) == (
        "is a Zeiss CZI file, and the package that reads these is not installed here. "
        'Install it: pip install "hptl-deploy[czi]"'
    )


def test_metadata_that_say_nothing() -> None:
    for xml in (b"", b"<a", b"<!DOCTYPE a><a/>", b"<a/>"):
        assert parse(xml).calibration == UNKNOWN.calibration
        assert parse(xml).significant_bits(0, 16) == 16


def fuzz(folder: Path, count: int) -> None:
    """Open and read files with changed bytes; any other error than MicrographError passes on."""
    files = [sample.file(folder).read_bytes() for sample in CZI_SAMPLES if "xr" not in sample.name]
    for number in range(count):
        chance = random.Random(number)
        content = bytearray(files[number % len(files)])
        for _ in range(chance.choice((1, 2, 8))):
            segment = chance.choice((SUBBLOCK, DIRECTORY, METADATA, b"ZISRAWFILE"))
            at = content.index(segment) + chance.randrange(16, 250)
            content[min(at, len(content) - 1)] = chance.choice((0, 1, 4, 127, 255))
        cut = len(content) if chance.random() < 0.8 else chance.randrange(len(content))
        (folder / "fuzz.czi").write_bytes(content[:cut])
        try:
            with open_micrograph(folder / "fuzz.czi") as micrograph:
                for page in micrograph.pages:
                    page.read()
        except MicrographError:
            pass


def test_damage_does_not_end_the_process(tmp_path: Path) -> None:
    program = "import sys, runpy; from pathlib import Path; sys.path[:0] = sys.argv[3:]; "
    program += "runpy.run_path(sys.argv[1])['fuzz'](Path(sys.argv[2]), 200)"
    tests = Path(__file__).parents[2]
    arguments = [__file__, str(tmp_path), str(tests), str(tests.parent)]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
