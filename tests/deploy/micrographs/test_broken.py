"""Cut, corrupt and unfinished files, each by hand: what is said about them."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import open_micrograph
from support.broken_micrographs import PIXELS, grey_tiff, patched, sentence, write


def test_circular_pages(tmp_path: Path) -> None:
    path = grey_tiff(tmp_path, np.stack([PIXELS] * 3))
    with tifffile.TiffFile(path) as file:
        offsets = [page.offset for page in file.pages]
    content = bytearray(path.read_bytes())
    (count,) = struct.unpack_from("<H", content, offsets[2])
    struct.pack_into("<I", content, offsets[2] + 2 + 12 * count, offsets[1])
    assert sentence(write(path, bytes(content))) == (
        "is damaged: after page 3 its list of pages runs in a circle; copy it again"
    )


def test_cut_tiff(tmp_path: Path) -> None:
    content = grey_tiff(tmp_path).read_bytes()
    expected = {
        5: "is cut short within its header; copy it again",
        8: "is cut short: page 1 begins at byte 8, the file ends at byte 8; copy it again",
        20: "is cut short within the directory of page 1 at byte 8; copy it again",
        len(content) - 1: (
            f"is cut short: its pixels end at byte {len(content)}, the file at byte "
            f"{len(content) - 1}; copy it again"
        ),
    }
    for length, text in expected.items():
        assert sentence(write(tmp_path / "cut.tif", content[:length])) == text


def test_unfinished_tiff(tmp_path: Path) -> None:
    path = grey_tiff(tmp_path, rowsperstrip=64)
    assert sentence(patched(path, 279, 0)) == (
        "is unfinished: some of its pixels were never written; copy or acquire it again"
    )


@pytest.mark.parametrize("compression", ["lzw", "deflate", "zstd", "packbits"])
def test_corrupt_streams(tmp_path: Path, compression: str) -> None:
    path = grey_tiff(tmp_path, compression=compression)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        start = file.pages.first.dataoffsets[0]
    content[start : start + 40] = bytes(range(200, 240))
    text = sentence(write(path, bytes(content)))
    expected = r"is damaged or of a kind that cannot be decoded \(.+\); copy or export it again"
    if compression == "lzw":
        expected = "is damaged: its LZW data cannot be unpacked; copy it again"
    assert re.fullmatch(expected, text)


def test_cut_jpeg_in_tiff(tmp_path: Path) -> None:
    path = grey_tiff(tmp_path, compression="jpeg", rowsperstrip=64)
    with tifffile.TiffFile(path) as file:
        size = file.pages.first.databytecounts[0]
    assert sentence(patched(path, 279, size // 2)) == (
        "is cut short within its JPEG data; copy it again"
    )


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_cut_rasters(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(PIXELS).save(tmp_path / f"x{suffix}")
    content = (tmp_path / f"x{suffix}").read_bytes()
    text = sentence(write(tmp_path / f"cut{suffix}", content[: len(content) * 2 // 3]))
    assert "cut short" in text or "truncated" in text


def test_cut_run_length_bmp(tmp_path: Path) -> None:
    rows = b"\x08\x07\x00\x00" * 8 + b"\x00\x01"  # 8 rows of 8 pixels of level 7
    palette = b"".join(bytes([v, v, v, 0]) for v in range(256))
    start = 14 + 40 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 8, 1, len(rows), 0, 0, 256, 0)
    whole = struct.pack("<2sIHHI", b"BM", start + len(rows), 0, 0, start) + info + palette + rows
    with open_micrograph(write(tmp_path / "x.bmp", whole)) as micrograph:
        assert np.unique(micrograph.pages[0].read()).tolist() == [7]
    assert sentence(write(tmp_path / "cut.bmp", whole[:-9])) == (
        f"is cut short: its header declares {len(whole)} bytes, {len(whole) - 9} are there; "
        "copy it again"
    )


def test_file_that_shrinks_after_opening(tmp_path: Path) -> None:
    path = grey_tiff(tmp_path)
    with open_micrograph(path) as micrograph:
        os.truncate(path, 200)
        with pytest.raises(MicrographError, match=r"^became shorter while it was read; wait"):
            micrograph.pages[0].read()
