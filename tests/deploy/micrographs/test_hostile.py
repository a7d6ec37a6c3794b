"""Files that cannot be read: each gives one clear sentence, at once."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import tifffile
from PIL import Image

from hptl_deploy.micrographs import MICROGRAPH_SUFFIXES, UNREADABLE_FORMATS, open_micrograph
from support.broken_micrographs import PIXELS, grey_png, grey_tiff, patched, sentence, write


@pytest.mark.parametrize("suffix", MICROGRAPH_SUFFIXES)
def test_empty(tmp_path: Path, suffix: str) -> None:
    assert sentence(write(tmp_path / f"x{suffix}", b"")) == (
        "is empty (0 bytes). Copy it again from the microscope"
    )


@pytest.mark.parametrize("suffix", UNREADABLE_FORMATS)
def test_formats_of_vendors(tmp_path: Path, suffix: str) -> None:
    text = sentence(tmp_path / f"x{suffix.upper()}")
    assert text == UNREADABLE_FORMATS[suffix]
    assert "export it as TIFF from" in text


def test_unknown_suffix(tmp_path: Path) -> None:
    assert sentence(write(tmp_path / "x.gif", b"GIF89a")) == (
        "ends in .gif, which is no micrograph format known here. Expected one of "
        ".tif .tiff .btf .tf8 .png .jpg .jpeg .bmp .czi .lif .nd2 .vsi"
    )


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("x.tif", grey_png(4, 4), "holds a PNG, not a TIFF; rename it to end in .png"),
        ("x.png", b"\xff\xd8\xff" + bytes(9), "holds a JPEG, not a PNG; rename it to end in .jpg"),
        ("x.jpg", b"II*\0" + bytes(9), "holds a TIFF, not a JPEG; rename it to end in .tif"),
        ("x.tif", b"BM" + bytes(60), "holds a BMP, not a TIFF; rename it to end in .bmp"),
        ("x.tif", b"Dear reader,\n", "holds text, not a TIFF"),
        ("x.bmp", b"BMW is a car and no micrograph", "holds text, not a BMP"),
        ("x.tif", b"<!DOCTYPE html><html>", "holds an HTML page, not a TIFF"),
        ("x.tif", b"\n <html><body>404", "holds an HTML page, not a TIFF"),
        ("x.tif", b"ZISRAWFILE" + bytes(9), "holds a CZI, not a TIFF; rename it to end in .czi"),
        ("x.png", b"GIF89a" + bytes(9), "holds a GIF image, not a PNG"),
        ("x.jpg", bytes(600), "holds only zeros, not a JPEG"),
        ("x.tif", b"\x01\x02\x03\x04\x05",
         "holds data that begins with the bytes 01 02 03 04, not a TIFF"),
    ],
)  # fmt: skip
def test_content_against_suffix(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    assert sentence(write(tmp_path / name, content)).removesuffix(
        ". Export it again from the microscope's program"
    ) == expected  # fmt: skip


def test_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.tif").mkdir()
    assert sentence(tmp_path / "x.tif") == "is a folder; expected a micrograph file"
    assert sentence(tmp_path / "gone.tif") == "does not exist (any more)"
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.tif")
        assert sentence(tmp_path / "pipe.tif") == (
            "is a device or a pipe; expected a micrograph file"
        )


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads anything")
def test_permission(tmp_path: Path) -> None:
    path = grey_tiff(tmp_path)
    path.chmod(0)
    assert sentence(path) == (
        "may not be read: permission denied; ask for read access or copy it elsewhere"
    )


@pytest.mark.parametrize(
    ("dtype", "found"),
    [("float32", "float32"), ("float64", "float64"), ("float16", "float16"), ("int16", "int16"),
     ("int8", "int8"), ("uint32", "uint32"), ("complex64", "complex64")],
)  # fmt: skip
def test_sample_types(tmp_path: Path, dtype: str, found: str) -> None:
    path = grey_tiff(tmp_path, PIXELS.astype(dtype))
    assert sentence(path) == (
        f"holds {found} samples; expected 8 or 16 bit unsigned integers. "
        "Save it as 8 bit in Fiji: Image > Type > 8-bit"
    )


def test_channel_counts(tmp_path: Path) -> None:
    path = grey_tiff(tmp_path, np.zeros((8, 8, 5), np.uint8), photometric="rgb")
    assert sentence(path) == (
        "holds 5 channels per pixel as RGB; expected 1 (grey) or 3 (RGB). "
        "Choose the channels and save them in Fiji: Image > Type > RGB Color"
    )
    path = grey_tiff(tmp_path, np.zeros((8, 8, 4), np.uint8), photometric="separated")
    assert sentence(path).startswith("holds 4 channels per pixel as SEPARATED; expected 1 (grey)")


def test_volume(tmp_path: Path) -> None:
    path = grey_tiff(tmp_path, np.zeros((16, 16, 16), np.uint8), tile=(16, 16, 16))
    assert sentence(path) == (
        "holds a volume of 16 layers in one page; expected one picture a page. "
        "Save it as a stack in Fiji"
    )


def test_unknown_compression(tmp_path: Path) -> None:
    assert sentence(patched(grey_tiff(tmp_path), 259, 4242)) == (
        "is compressed in a way that is not known here (TIFF compression 4242). "
        "Export it uncompressed or with LZW"
    )


@pytest.mark.parametrize("code", [256, 257])
def test_zero_sized_tiff(tmp_path: Path, code: int) -> None:
    text = sentence(patched(grey_tiff(tmp_path, tile=(16, 16)), code, 0))
    size = {256: "0 x 64", 257: "80 x 0"}[code]
    assert text == (
        f"declares a picture of {size} pixels; expected at least 1 x 1. "
        "Export it again from the microscope's program"
    )


def test_zero_sized_png_and_bmp(tmp_path: Path) -> None:
    expected = "declares a picture of 0 x 5 pixels; expected at least 1 x 1"
    assert sentence(write(tmp_path / "x.png", grey_png(0, 5))).startswith(expected)
    Image.fromarray(PIXELS).save(tmp_path / "x.bmp")
    content = bytearray((tmp_path / "x.bmp").read_bytes())
    content[18:26] = struct.pack("<ii", 0, 5)
    assert sentence(write(tmp_path / "x.bmp", bytes(content))).startswith(expected)


@pytest.mark.parametrize(("field", "value"), [("type", 2), ("count", 4)])
def test_size_that_is_no_number(tmp_path: Path, field: str, value: int) -> None:
    # A list or text times a number is a very long list or text.
    path = grey_tiff(tmp_path)
    with tifffile.TiffFile(path) as file:
        at = file.pages.first.tags[256].offset
    content = bytearray(path.read_bytes())
    struct.pack_into(
        *(("<H", content, at + 2) if field == "type" else ("<I", content, at + 4)), value
    )
    assert sentence(write(path, bytes(content))) == (
        "is damaged: ImageWidth of page 1 is unreadable; copy it again"
    )


MILLION = r"declares 1000000 x 1000000 pixels, which \d+ bytes of picture data cannot hold: "


@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "packbits", "jpeg"])
def test_enormous_tiff(tmp_path: Path, compression: str | None) -> None:
    path = grey_tiff(tmp_path, compression=compression)
    for code in (256, 257, 278):
        patched(path, code, 1_000_000)
    assert re.match(MILLION, sentence(path))


def test_enormous_tiff_is_refused_by_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its bytes could hold, and this machine cannot."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2**27))
    path = grey_tiff(tmp_path, compression="zstd")
    for code in (256, 257, 278):
        patched(path, code, 6_000)
    assert re.fullmatch(
        r"declares 6000 x 6000 pixels: decoding them needs 0\.2 GiB of memory, "
        r"0\.1 GiB are free\. Close other programs or cut the micrograph into pieces",
        sentence(path),
    )


def test_enormous_png(tmp_path: Path) -> None:
    assert re.match(MILLION, sentence(write(tmp_path / "x.png", grey_png(1_000_000, 1_000_000))))


def test_enormous_bmp(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "x.bmp")
    content = bytearray((tmp_path / "x.bmp").read_bytes())
    content[18:26] = struct.pack("<ii", 1_000_000, 1_000_000)
    assert re.match(MILLION, sentence(write(tmp_path / "x.bmp", bytes(content))))


def test_enormous_jpeg(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "x.jpg")
    content = bytearray((tmp_path / "x.jpg").read_bytes())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = b"\xff\xff\xff\xff"
    text = sentence(write(tmp_path / "x.jpg", bytes(content)))
    assert text.startswith("declares 65535 x 65535 pixels, which ")


def test_large_mosaics_are_not_taken_for_bombs(tmp_path: Path) -> None:
    # 20 000 x 10 000 pixels, above Pillow's own limit of 179 million; nothing is decoded.
    path = write(tmp_path / "x.png", grey_png(20_000, 10_000, bytes(200_000)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_micrograph(path) as micrograph:
            assert (micrograph.pages[0].height, micrograph.pages[0].width) == (10_000, 20_000)


def test_hostile_xml_is_not_expanded(tmp_path: Path) -> None:
    xml = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]><OME>&a;</OME>'
    tifffile.imwrite(tmp_path / "x.tif", PIXELS, description=xml, metadata=None)
    with open_micrograph(tmp_path / "x.tif") as micrograph:
        assert micrograph.pages[0].calibration.source == "OME: the metadata cannot be understood"


def test_handles_are_released_on_failure(tmp_path: Path) -> None:
    proc = Path("/proc/self/fd")
    if not proc.is_dir():
        pytest.skip("needs /proc")
    path = grey_tiff(tmp_path, PIXELS.astype("float32"))
    before = len(list(proc.iterdir()))
    for _ in range(20):
        sentence(path)
    assert len(list(proc.iterdir())) == before


def test_importing_the_package_stays_light() -> None:
    code = (
        "import sys, hptl_deploy.micrographs; "
        "print({'tifffile', 'PIL', 'imagecodecs', 'numpy', 'psutil'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parents[3])  # fmt: skip
    assert done.stdout.strip() == "set()"
