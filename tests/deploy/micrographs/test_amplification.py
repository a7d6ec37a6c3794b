"""Few bytes that stand for much: refused before they take the time and the memory."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile

from hptl_deploy.micrographs import open_micrograph
from hptl_deploy.micrographs.ome import ome_images
from support.broken_micrographs import grey_png, grey_tiff, sentence, write

SQUARE = np.arange(4, dtype=np.uint8).reshape(2, 2)
DIGITS = "9" * 4000


def _sharing(pages: int, strips: int) -> bytes:
    """Pages of one column, all of whose lists of strips are the same bytes."""
    body = bytearray(b"II*\0" + bytes(4))
    places = [len(body), len(body) + 4 * strips]
    body += struct.pack("<I", 8) * strips + struct.pack("<I", 1) * strips
    struct.pack_into("<I", body, 4, len(body))
    for page in range(pages):
        tags = (
            *((256, 4, 1, 1), (257, 4, 1, strips), (258, 3, 1, 8), (262, 3, 1, 1)),
            *((273, 4, strips, places[0]), (278, 4, 1, 1), (279, 4, strips, places[1])),
        )
        body += struct.pack("<H", len(tags))
        body += b"".join(struct.pack("<HHII", *tag) for tag in tags)
        body += struct.pack("<I", len(body) + 4 if page < pages - 1 else 0)
    return bytes(body)


def test_pages_that_share_their_lists(tmp_path: Path) -> None:
    text = sentence(write(tmp_path / "x.tif", _sharing(50, 2000)))
    assert text.startswith("is damaged: the directories of its first ")
    assert text.endswith("; copy it again")


def test_pages_that_share_a_colour_map(tmp_path: Path) -> None:
    """As sound files may: the pages' own bytes are more."""
    with open_micrograph(write(tmp_path / "x.tif", _sharing(3, 2))) as micrograph:
        assert len(micrograph.pages) == 3


def test_directories_within_one_another(tmp_path: Path) -> None:
    """One begins every six bytes and has a hundred entries, in which the next ones begin."""
    first, entries = 1000, 100
    body = bytearray(b"II*\0" + struct.pack("<I", first)).ljust(first, b"\0")
    for place in range(4000):
        page = place - 2 * entries  # whose entries end here
        body += struct.pack("<HI", entries, first + 6 * (page + 1) if page >= 0 else 2000)
    text = sentence(write(tmp_path / "x.tif", bytes(body)))
    assert text.startswith("is damaged: the directories of its first 84 pages take 100800 bytes")


@pytest.mark.parametrize("shape", [f"[{DIGITS}0000, 2, 2]", f"[2, {DIGITS}]"])
def test_shapes_of_thousands_of_digits(tmp_path: Path, shape: str) -> None:
    """What a description claims beyond all bounds is no layout."""
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, SQUARE, description=f'{{"shape": {shape}}}', metadata=None)
    with open_micrograph(path) as micrograph:
        assert len(micrograph.pages) == 1


def _ome(channels: str, blocks: str = "", frames: str = "1") -> str:
    return (
        '<OME><Image><Pixels DimensionOrder="XYCZT" SizeX="2" SizeY="2" SizeZ="1" '
        f'SizeC="{channels}" SizeT="{frames}">{blocks}</Pixels></Image></OME>'
    )


def test_ome_of_thousands_of_digits(tmp_path: Path) -> None:
    path = grey_tiff(tmp_path, SQUARE, description=_ome(DIGITS))
    with open_micrograph(path) as micrograph:
        assert micrograph.pages[0].calibration.source == "OME: the metadata cannot be understood"


def test_ome_that_mentions_its_pages_again_and_again() -> None:
    block = '<TiffData IFD="0" PlaneCount="1000"/>'
    found = ome_images(_ome("1", block * 16, "1000"), 1000, "x.tif")
    assert found is not None
    assert len(found[0].directories) == 1000
    assert ome_images(_ome("1", block * 17, "1000"), 1000, "x.tif") is None


def test_a_png_with_two_headers(tmp_path: Path) -> None:
    """The first is small, and Pillow goes by the second."""
    small, large = grey_png(8, 8), grey_png(30_000, 30_000)
    content = small[:33] + large[8:33] + small[33:]
    assert sentence(write(tmp_path / "x.png", content)) == (
        "is damaged: it has two PNG headers; copy it again"
    )


def test_a_run_length_bmp_that_is_mostly_missing(tmp_path: Path) -> None:
    info = struct.pack("<IiiHHIIiiII", 40, 20_000, 20_000, 1, 8, 1, 6, 0, 0, 256, 0)
    start = 14 + len(info) + 1024
    head = struct.pack("<2sIHHI", b"BM", start + 6, 0, 0, start)
    content = head + info + bytes(1024) + b"\x08\x07\0\0\0\1"
    assert sentence(write(tmp_path / "x.bmp", content)).startswith(
        "declares 20000 x 20000 pixels, which 1084 bytes of picture data cannot hold: "
    )


def test_many_small_pages_open_quickly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system is not asked for its memory for every one of them."""
    asked: list[None] = []
    monkeypatch.setattr("psutil.virtual_memory", lambda: asked.append(None))
    description = "ImageJ=1.53\nimages=5000\n"
    path = grey_tiff(tmp_path, SQUARE, description=description)
    path.write_bytes(path.read_bytes() + bytes(4 * 5000))
    with open_micrograph(path) as micrograph:
        assert len(micrograph.pages) == 5000
        assert micrograph.pages[0].read().shape == (2, 2, 3)
    assert not asked
