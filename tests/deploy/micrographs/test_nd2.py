"""Nikon ND2: against another reader, what is refused, and with which words."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hptl_deploy.micrographs import open_micrograph
from support.broken_micrographs import sentence
from support.micrograph_samples import RED, Sample, grey, ramp, scaled
from support.nd2_samples import ND2_SAMPLES, Nd2, packed_text
from support.vendor_damage import outlives

nd2 = pytest.importorskip("nd2")

_GREY8 = ramp(8)
_BLUE_GREEN_RED = RED[..., ::-1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Nd2((_BLUE_GREEN_RED,), um=0.5)(tmp_path / "x.nd2")
    return tmp_path / "x.nd2"


@pytest.mark.parametrize("sample", ND2_SAMPLES, ids=lambda sample: sample.name)
def test_nd2_sees_the_same(sample: Sample, tmp_path: Path) -> None:
    path = sample.file(tmp_path)
    with nd2.ND2File(path) as other, open_micrograph(path) as micrograph:
        bits = other.attributes.bitsPerComponentSignificant
        for page in micrograph.pages:
            seen = scaled(other.read_frame(page.index), bits)
            expected = grey(seen) if seen.ndim == 2 else seen[..., ::-1]
            assert np.array_equal(page.read(), expected)
        assert other.voxel_size().x == (micrograph.pages[0].calibration.pixel_size_um or 1.0)


def test_a_picture_that_was_never_taken_is_no_page(tmp_path: Path) -> None:
    Nd2(tuple(ramp(8, start=k) for k in range(3)))(tmp_path / "x.nd2")
    content = (tmp_path / "x.nd2").read_bytes()
    at = content.rindex(b"ImageDataSeq|1!")
    (tmp_path / "x.nd2").write_bytes(content[:at] + b"NoMoreImages|1!" + content[at + 15 :])
    with open_micrograph(tmp_path / "x.nd2") as micrograph:
        read = [page.read() for page in micrograph.pages]
    assert len(read) == 2
    for pixels, start in zip(read, (0, 2), strict=True):
        assert np.array_equal(pixels, grey(ramp(8, start=start)))


@pytest.mark.parametrize(
    ("um", "aspect", "size", "source"),
    [
        (0.33, 1.0, 0.33, "ND2"),
        (0.33, 0.0, 0.33, "ND2"),
        (None, 1.0, None, "not stated"),
        (0.33, 2.0, None, "ND2: pixels are not square (0.33 x 0.66 um)"),
        (1000.0, 1.0, None, "ND2: 1000 um per pixel is outside 0.01 to 20"),
    ],
)
def test_pixel_size(
    tmp_path: Path, um: float | None, aspect: float, size: float | None, source: str
) -> None:
    Nd2((_GREY8,), um=um, aspect=aspect)(tmp_path / "x.nd2")
    with open_micrograph(tmp_path / "x.nd2") as micrograph:
        found = micrograph.pages[0].calibration
    assert (found.pixel_size_um, found.source) == (size, source)


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (Nd2((np.stack([_GREY8] * 2, -1),), channels=2), "holds 2 channels; expected one, grey or"),
        (Nd2((np.stack([_GREY8] * 3, -1),), channels=3), "holds 3 channels; expected one, grey or"),
        (Nd2((np.stack([_GREY8] * 4, -1),)), "holds 4 channels; expected one, grey or colour"),
        (Nd2((_GREY8.astype(np.float32),)), "holds samples of 32 bits; expected unsigned"),
        (Nd2((_GREY8,), attributes={"eCompression": 1}), "that are compressed with losses"),
        (Nd2((_GREY8,), attributes={"uiTileWidth": 16}), "that are divided into tiles"),
        (Nd2((_GREY8,), attributes={"uiHeight": 99}), "declares 53 x 99 pixels, which"),
        (
            Nd2((_GREY8,), packed=True, attributes={"uiHeight": 38}),
            "is damaged: a picture unpacks to 1961 bytes, expected 2014",
        ),
        (
            Nd2((_GREY8,), packed=True, attributes={"uiHeight": 2**31 - 1}),
            "declares 53 x 2147483647 pixels, which",
        ),
        (Nd2((_GREY8,), attributes={"uiHeight": 0}), "declares a picture of 53 x 0 pixels"),
        (Nd2((_GREY8,), attributes={"uiWidthBytes": 52}), "a row of 53 pixels has 52 bytes"),
    ],
)
def test_refused(tmp_path: Path, write: Callable[[Path], None], expected: str) -> None:
    write(tmp_path / "x.nd2")
    assert expected in sentence(tmp_path / "x.nd2")


def test_cut_short_anywhere(path: Path) -> None:
    content = path.read_bytes()
    for length in (5, 39, 90, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert "is cut short" in sentence(path)


def altered(path: Path, old: bytes, new: bytes) -> str:
    """What is said when `new`, of the same length, stands for the first `old`."""
    content = path.read_bytes()
    assert len(old) == len(new)
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    return sentence(path)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"Ver3", b"Ver1", "is an ND2 file of version '1'; expected 2 or 3"),
        (b"ImageAttributesLV!", b"SomeAttributesLV!!", "is no 'ImageAttributesLV!'"),
        (b"ND2 FILEMAP", b"XD2 FILEMAP", "is no 'ND2 FILEMAP SIGNATURE NAME 0001!'"),
        (b"ImageDataSeq|0!", b"ImageDataSeq|7!", "is no 'ImageDataSeq|0!'"),
    ],
)
def test_altered(path: Path, old: bytes, new: bytes, expected: str) -> None:
    assert expected in altered(path, old, new)


def test_a_part_beyond_the_end(path: Path) -> None:
    content = path.read_bytes()
    at = content.rindex(b"ImageDataSeq|0!") + 15
    path.write_bytes(content[:at] + struct.pack("<Q", 2**63) + content[at + 8 :])
    assert "is cut short: a part of it begins at byte 9223372036854775808" in sentence(path)


def test_pictures_that_lie_upon_each_other(tmp_path: Path) -> None:
    Nd2((_GREY8,) * 3)(tmp_path / "x.nd2")
    content = bytearray((tmp_path / "x.nd2").read_bytes())
    for number in range(3):
        start = content.index(b"ImageDataSeq|%d!" % number)
        struct.pack_into("<Q", content, start - 8, len(content) - start - 4072)
    (tmp_path / "x.nd2").write_bytes(content)
    assert "is damaged: its 3 pictures take up" in sentence(tmp_path / "x.nd2")


def test_a_list_without_the_metadata(path: Path) -> None:
    content = path.read_bytes()
    at = content.rindex(b"ImageAttributesLV!")
    path.write_bytes(content[:at] + b"SomeAttributesLV!!"[:18] + content[at + 18 :])
    assert "it has no part 'ImageAttributesLV!'" in sentence(path)


@pytest.mark.parametrize("nested", [False, True])
def test_metadata_that_unpack_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nested: bool
) -> None:
    from support import nd2_samples

    bomb = packed_text(bytes(5 * 2**20))
    monkeypatch.setattr(
        nd2_samples, "_level", lambda *_: packed_text(b"\x0b\2A\0\0\0" + bomb) if nested else bomb
    )
    Nd2((_GREY8,))(tmp_path / "x.nd2")
    assert "its metadata unpack to more than 4194304 bytes" in sentence(tmp_path / "x.nd2")


def test_packed_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from support import nd2_samples

    level = nd2_samples._level

    def packed(name: str, values: dict[str, Any]) -> bytes:
        data = level(name, values)
        return packed_text(data) if name.startswith("SLx") else data

    monkeypatch.setattr(nd2_samples, "_level", packed)
    Nd2((_GREY8,), um=0.5)(tmp_path / "x.nd2")
    with open_micrograph(tmp_path / "x.nd2") as micrograph:
        assert micrograph.pages[0].calibration.pixel_size_um == 0.5


def test_xml_with_entities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from support import nd2_samples

    monkeypatch.setattr(nd2_samples, "_xml", lambda *_: b'<!DOCTYPE x [<!ENTITY a "b">]><x/>')
    Nd2((_GREY8,), version=2)(tmp_path / "x.nd2")
    assert "its metadata define entities" in sentence(tmp_path / "x.nd2")


def test_packed_pixels_of_another_length(path: Path) -> None:
    Nd2((_GREY8,), packed=True)(path)
    content = path.read_bytes()
    stream = zlib.compress(_GREY8.tobytes())
    at = content.index(stream)
    path.write_bytes(content[:at] + bytes(len(stream)) + content[at + len(stream) :])
    assert "is damaged" in sentence(path)


def test_other_content(tmp_path: Path) -> None:
    (tmp_path / "x.nd2").write_bytes(b"Dear reader,\n")
    assert "holds text, not an ND2" in sentence(tmp_path / "x.nd2")
    # Before 2006 ND2 files were JPEG 2000.
    (tmp_path / "x.nd2").write_bytes(b"\x00\x00\x00\x0cjP  \r\n\x87\n")
    assert "holds a JPEG 2000 image, not an ND2" in sentence(tmp_path / "x.nd2")


def test_without_the_package(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nd2", None)
    assert sentence(path) == (
        "is a Nikon ND2 file, and the package that reads these is not installed here. "
        'Install it: pip install "hptl-deploy[nd2]"'
    )


def test_damage_does_not_end_the_process(tmp_path: Path) -> None:
    files = [sample.file(tmp_path) for sample in ND2_SAMPLES]
    assert 0 < outlives(files, tmp_path, 300) < 300
