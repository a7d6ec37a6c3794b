from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from hptl_deploy.datasets import LabelCode, read_labels
from hptl_deploy.errors import DataSetError
from hptl_deploy.phases import Phase
from support.data_sets import COLOURS, indices

PHASES = tuple(Phase(f"p{index}", f"phase {index}", colour) for index, colour in enumerate(COLOURS))
CODE = LabelCode(PHASES, (0, 1, 2))
RGB = np.array(COLOURS, np.uint8)

Writer = Callable[[Path, NDArray[np.uint8]], None]


def grey_png(bits: int) -> Writer:
    """Written chunk by chunk: the libraries at hand stretch what is below 8 bits."""

    def write(path: Path, stored: NDArray[np.uint8]) -> None:
        height, width = stored.shape
        rows = b""
        for row in stored.tolist():
            text = "".join(f"{value:0{bits}b}" for value in row)
            text += "0" * (-len(text) % 8)
            rows += b"\0" + int(text, 2).to_bytes(len(text) // 8, "big")

        def chunk(kind: bytes, content: bytes) -> bytes:
            check = zlib.crc32(kind + content)
            return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

        path.write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b"")
        )

    return write


def palette_picture(path: Path, stored: NDArray[np.uint8]) -> None:
    picture = Image.frombytes("P", stored.shape[::-1], stored.tobytes())
    picture.putpalette([200, 10, 10, 10, 200, 10, 10, 10, 200])  # not the phases' colours
    picture.save(path)


def palette_tiff(path: Path, stored: NDArray[np.uint8]) -> None:
    table = np.zeros((3, 256), np.uint16)
    table[:, :3] = 40000, 20000, 100
    tifffile.imwrite(path, stored, photometric="palette", colormap=table)


def tiff(path: Path, stored: NDArray[np.uint8]) -> None:
    tifffile.imwrite(path, stored)


def white_is_zero_tiff(path: Path, stored: NDArray[np.uint8]) -> None:
    tifffile.imwrite(path, stored, photometric="miniswhite")


def tiff_16(path: Path, stored: NDArray[np.uint8]) -> None:
    tifffile.imwrite(path, stored.astype(np.uint16), compression="deflate")


def png_16(path: Path, stored: NDArray[np.uint8]) -> None:
    path.write_bytes(imagecodecs.png_encode(stored.astype(np.uint16)))


def grey_alpha_png(path: Path, stored: NDArray[np.uint8]) -> None:
    Image.fromarray(np.stack([stored, np.full_like(stored, 7)], axis=-1), mode=None).save(path)


def rgb(path: Path, stored: NDArray[np.uint8]) -> None:
    Image.fromarray(RGB[stored]).save(path)


def rgba(path: Path, stored: NDArray[np.uint8]) -> None:
    alpha = (stored[..., None] * 100).astype(np.uint8)
    Image.fromarray(np.concatenate([RGB[stored], alpha], axis=-1)).save(path)


def rgb_tiff(path: Path, stored: NDArray[np.uint8]) -> None:
    tifffile.imwrite(path, RGB[stored], photometric="rgb")


def planar_tiff(path: Path, stored: NDArray[np.uint8]) -> None:
    planes = np.ascontiguousarray(RGB[stored].transpose(2, 0, 1))
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")


@pytest.mark.parametrize(
    ("name", "write", "kinds"),
    [
        ("1 bit.png", grey_png(1), 2),
        ("2 bit.png", grey_png(2), 3),
        ("4 bit.png", grey_png(4), 3),
        ("8 bit.png", grey_png(8), 3),
        ("16 bit.png", png_16, 3),
        ("palette.png", palette_picture, 3),
        ("palette.gif", palette_picture, 3),
        ("palette.bmp", palette_picture, 3),
        ("grey alpha.png", grey_alpha_png, 3),
        ("8 bit.tif", tiff, 3),
        ("white is zero.tif", white_is_zero_tiff, 3),
        ("16 bit.tiff", tiff_16, 3),
        ("palette.tif", palette_tiff, 3),
        ("colours.png", rgb, 3),
        ("colours.bmp", rgb, 3),
        ("colours.tif", rgb_tiff, 3),
        ("planes.tif", planar_tiff, 3),
        ("alpha.png", rgba, 3),
        ("UPPER µ日.PNG", rgb, 3),
    ],
)
def test_every_kind_of_label_file(tmp_path: Path, name: str, write: Writer, kinds: int) -> None:
    wanted = indices(7, 13, kinds)  # odd sizes: packed rows end within a byte
    write(tmp_path / name, wanted)
    found = read_labels(tmp_path / name, CODE)
    assert found.dtype == np.uint8
    assert np.array_equal(found, wanted)


def test_a_class_index_is_the_place_whatever_the_value(tmp_path: Path) -> None:
    code = LabelCode(PHASES, (128, 40000, 7), ignore=3)
    stored = np.array([[7, 128, 40000, 3]], np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stored)
    assert read_labels(tmp_path / "a.tif", code).tolist() == [[2, 0, 1, 255]]
    # An 8-bit file cannot hold 40000, and need not.
    tifffile.imwrite(tmp_path / "b.tif", stored[:, [0, 1, 3]].astype(np.uint8))
    assert read_labels(tmp_path / "b.tif", code).tolist() == [[2, 0, 255]]


def test_ignored_values_and_colours(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 255, 2]], np.uint8)).save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png", CODE).tolist() == [[0, 255, 2]]
    code = LabelCode(PHASES, (0, 1, 2), ignore_colour=(9, 9, 9))
    Image.fromarray(np.array([[(9, 9, 9), (0, 0, 255)]], np.uint8)).save(tmp_path / "b.png")
    assert read_labels(tmp_path / "b.png", code).tolist() == [[255, 2]]


def problem(path: Path, code: LabelCode = CODE) -> str:
    with pytest.raises(DataSetError) as caught:
        read_labels(path, code)
    return str(caught.value)


def test_unknown_values_are_counted(tmp_path: Path) -> None:
    stored = np.zeros((4, 5), np.uint8)
    stored[0], stored[1, :2] = 9, 77
    Image.fromarray(stored).save(tmp_path / "a.png")
    assert problem(tmp_path / "a.png") == (
        "a.png: unknown label values 9 (5 px), 77 (2 px); expected 0, 1, 2, or 255 to ignore"
    )


def test_unknown_colours_are_counted_and_the_list_is_short(tmp_path: Path) -> None:
    stored = np.zeros((1, 40, 3), np.uint8)
    stored[0, :9, 1] = [1, 1, 2, 3, 4, 5, 6, 7, 8]
    Image.fromarray(stored).save(tmp_path / "a.png")
    code = LabelCode(PHASES, (0, 1, 2), ignore_colour=(9, 9, 9))
    assert problem(tmp_path / "a.png", code) == (
        "a.png: unknown colours (0, 1, 0) (2 px), (0, 2, 0) (1 px), (0, 3, 0) (1 px), "
        "(0, 4, 0) (1 px), (0, 5, 0) (1 px), (0, 6, 0) (1 px) and 2 more; expected "
        "phase 0 (0, 0, 0), phase 1 (255, 0, 0), phase 2 (0, 0, 255), or (9, 9, 9) to ignore"
    )


@pytest.mark.parametrize("colours", [True, False])
def test_a_jpeg_mask_gets_advice(tmp_path: Path, colours: bool) -> None:
    stored = indices(32, 32)
    Image.fromarray(RGB[stored] if colours else stored * np.uint8(100)).save(tmp_path / "a.jpg")
    assert problem(tmp_path / "a.jpg").endswith(
        " (JPEG changes values at every edge: save masks as PNG)"
    )


def test_what_is_no_label_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    assert problem(tmp_path / "a.png").startswith("a.png: the label file cannot be decoded (")
    (tmp_path / "a.tif").write_bytes(b"")
    assert problem(tmp_path / "a.tif").startswith("a.tif: the label file cannot be decoded (")
    tifffile.imwrite(tmp_path / "f.tif", np.zeros((2, 3), np.float32))
    assert problem(tmp_path / "f.tif") == (
        "f.tif: expected a label of one channel (8 or 16 bit) or 8-bit RGB, found float32 [2, 3]"
    )
    (tmp_path / "w.png").write_bytes(imagecodecs.png_encode(np.ones((2, 3, 2), np.uint16)))
    assert problem(tmp_path / "w.png") == (
        "w.png: is 16-bit grey with alpha, of which only 8 bits can be read; save it without alpha"
    )
