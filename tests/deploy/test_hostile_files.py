"""Whatever lies where a model file should: read without waiting, within bounds, never unpickled."""

from __future__ import annotations

import io
import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hptl_deploy.model_file import LARGEST_DESCRIPTION, LARGEST_FILE
from support.hostile_models import length, refusal
from support.threshold_model import write_threshold_model

BROKEN = "is not a whole ONNX file. Copy or export it again"


class Touched:
    """Pickled, it makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def archive(folder: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(Touched(folder / "touched")))
    return content.getvalue()


def picture(_: Path) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (64, 64)).save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        archive,  # as torch saves weights today
        lambda folder: pickle.dumps(Touched(folder / "touched")),  # and did before
        picture,
        lambda _: b"II*\0" + bytes(100),
        lambda _: b"a text and no model",
        lambda _: bytes(1000),
        lambda _: b"\xff" * 1000,
        lambda _: b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # a graph of 2^63 bytes
        lambda _: b"\x0b" * 1000,  # groups in groups
    ],
)
def test_other_files_under_a_models_name(tmp_path: Path, content: Callable[[Path], bytes]) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content(tmp_path))
    assert refusal(path) == BROKEN
    assert sorted(tmp_path.iterdir()) == [path]


def test_what_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.mkdir()
    assert refusal(path) == "cannot be read (it is a folder)"
    path.rmdir()
    path.write_bytes(b"")
    assert refusal(path) == "is empty. Copy or export it again"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_what_would_keep_its_reader_waiting(tmp_path: Path) -> None:
    pipe, loop = tmp_path / "pipe.onnx", tmp_path / "loop.onnx"
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    assert refusal(pipe) == "cannot be read (it is a pipe or a device, no file)"
    assert refusal(Path("/dev/zero")) == "cannot be read (it is a pipe or a device, no file)"
    assert refusal(loop) == f"cannot be read ({os.strerror(40)})"
    assert refusal(tmp_path / "gone" / "m.onnx") == f"cannot be read ({os.strerror(2)})"


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="whoever runs this may read everything"
)
def test_a_file_of_somebody_else(tmp_path: Path) -> None:
    path = write_threshold_model(tmp_path)
    path.chmod(0)
    assert refusal(path) == f"cannot be read ({os.strerror(13)})"


@pytest.mark.skipif(sys.platform == "win32", reason="a file with holes has to be asked for there")
def test_a_file_larger_than_the_format_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(LARGEST_FILE + 2**29)
    assert refusal(path) == (
        "has 2.5 GiB, more than the 2 GiB that an ONNX file can have. Copy or export it again"
    )


@pytest.mark.parametrize(
    ("piece", "wraps"),
    [
        (b"\x0a\x00", (7,)),  # empty nodes of the graph
        (b"\x2a\x00", (7,)),  # empty weights
        (b"\x0a\x00", (7, 5)),  # strings in a weight's place
        (b"\x72\x00", ()),  # empty metadata
        (b"\x0a\x02\x22\x00", (7,)),  # nodes with one empty field
    ],
)
def test_a_file_that_would_unpack_without_end(
    tmp_path: Path, piece: bytes, wraps: tuple[int, ...]
) -> None:
    content = piece * (LARGEST_DESCRIPTION // 32)
    for number in reversed(wraps):
        content = bytes([number << 3 | 2]) + length(len(content)) + content
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert refusal(path) == (
        "describes more than any model (16 MiB without its weights). Export the model again"
    )


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """They would come as bytes where everything else expects a text."""
    path = write_threshold_model(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"Transpose", b"Transpos\xf4"))
    assert refusal(path) == BROKEN


def test_a_file_cut_anywhere(tmp_path: Path) -> None:
    whole = write_threshold_model(tmp_path, smoothing=2).read_bytes()
    path = tmp_path / "cut.onnx"
    for place in np.linspace(0, len(whole) - 1, 200, dtype=int):
        path.write_bytes(whole[:place])
        refusal(path)
