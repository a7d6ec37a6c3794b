"""Leica LIF: against another reader, what is refused, and with which words."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hptl_deploy.micrographs import open_micrograph
from support.broken_micrographs import sentence
from support.lif_samples import LIF_SAMPLES, RGB, Image, lif
from support.micrograph_samples import RED, Sample, ramp
from support.vendor_damage import outlives

liffile = pytest.importorskip("liffile")

XML = 13
"""Bytes before the XML, which is UTF-16."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    lif(Image(RED, tags=RGB, metres=5e-7))(tmp_path / "x.lif")
    return tmp_path / "x.lif"


def replaced(path: Path, old: str, new: str) -> str:
    """What is said when `new`, of the same length, stands in the XML for `old`."""
    content = path.read_bytes()
    assert len(old) == len(new)
    assert content.count(old.encode("utf-16-le")) == 1
    path.write_bytes(content.replace(old.encode("utf-16-le"), new.encode("utf-16-le")))
    return sentence(path)


@pytest.mark.parametrize(
    "sample", [s for s in LIF_SAMPLES if "red" in s.name or "rgb8" in s.name], ids=lambda s: s.name
)
def test_liffile_sees_the_same(sample: Sample, tmp_path: Path) -> None:
    # Colour files only: their samples are what is drawn.
    path = sample.file(tmp_path)
    with liffile.LifFile(path) as other, open_micrograph(path) as micrograph:
        seen = other.images[0].asarray()
        assert np.array_equal(seen // (257 if seen.dtype == np.uint16 else 1), RED)
        assert np.array_equal(micrograph.pages[0].read(), RED)


def test_pages_are_in_the_order_of_positions_times_and_planes(tmp_path: Path) -> None:
    stack = np.stack([ramp(8, start=k) for k in range(12)]).reshape(2, 3, 2, *ramp(8).shape)
    lif(Image(stack, "TZMYX"))(tmp_path / "x.lif")
    with open_micrograph(tmp_path / "x.lif") as micrograph:
        read = [page.read()[..., 0] for page in micrograph.pages]
    expected = [stack[t, z, m] for m in range(2) for t in range(2) for z in range(3)]
    assert all(np.array_equal(a, b) for a, b in zip(read, expected, strict=True))


@pytest.mark.parametrize(
    ("metres", "unit", "size", "source"),
    [
        (5e-7, "m", 0.5, "LIF"),
        (3.3e-7, "m", 0.33, "LIF"),
        (0.25, "µm", 0.25, "LIF"),
        (0.0, "m", None, "not stated"),
        (5e-7, "", None, "not stated"),
        (5e-7, "furlong", None, "LIF: the unit 'furlong' is unknown"),
        (1e-3, "m", None, "LIF: 1000 um per pixel is outside 0.01 to 20"),
    ],
)
def test_pixel_size(
    tmp_path: Path, metres: float, unit: str, size: float | None, source: str
) -> None:
    lif(Image(RED, tags=RGB, metres=metres, unit=unit))(tmp_path / "x.lif")
    with open_micrograph(tmp_path / "x.lif") as micrograph:
        found = micrograph.pages[0].calibration
    assert (found.pixel_size_um, found.source) == (size, source)


def test_cut_short_anywhere(path: Path) -> None:
    content = path.read_bytes()
    for length in (5, 12, 90, len(content) // 3, len(content) - 5000, len(content) - 1):
        path.write_bytes(content[:length])
        assert "is cut short" in sentence(path)


_GREY8 = ramp(8)


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (
            lif(Image(np.stack([_GREY8, _GREY8], -1), tags=(0, 0))),
            "holds the image 'Series001' with 2 channels; expected one, or red, green and blue",
        ),
        (
            lif(Image(np.stack([_GREY8] * 3, -1), tags=(0, 0, 0))),
            "holds the image 'Series001' with 3 channels; expected one, or red, green and blue",
        ),
        (
            lif(Image(np.stack([_GREY8] * 4), "LYX")),
            "with a dimension that is no picture's (LIF dimension 5)",
        ),
        (
            lif(Image(_GREY8.astype(np.float32), depth=32, data_type=1)),
            "with floating-point samples of 32 bits; expected unsigned integers of up to 16 bits",
        ),
        (
            lif(Image(_GREY8.astype(np.uint32), depth=32)),
            "with integer samples of 32 bits; expected unsigned integers of up to 16 bits",
        ),
        (lif(), "holds no image; export it again from LAS X"),
    ],
)
def test_refused(tmp_path: Path, write: Callable[[Path], None], expected: str) -> None:
    write(tmp_path / "x.lif")
    assert expected in sentence(tmp_path / "x.lif")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('NumberOfElements="37"', 'NumberOfElements="99"', "needs 15741 bytes, 5883 are stored"),
        ('BytesInc="159"', 'BytesInc="000"', "is damaged: the image 'Series001' has rows that lie"),
        ('BytesInc="159"', 'BytesInc="-59"', "says '-59' for BytesInc"),
        ('NumberOfElements="37"', 'NumberOfElements="00"', "has 0 elements along dimension 2"),
        ('DimID="2"', 'DimID="3"', "without columns and rows"),
        ('DimID="2"', 'DimID="1"', "has 37 elements along dimension 1"),
        ('BlockID="MemBlock_0"', 'BlockID="MemBlock_1"', "the pixels of the image 'Series001' are"),
        ("</LMSDataContainerHeader>", "</LMSDataContainerHeader ", "is damaged or of a kind"),
        ("<LMSDataContainerHeader", "<!DOCTYPE x [<!ENTITY a", "its XML defines entities"),
    ],
)
def test_altered(path: Path, old: str, new: str, expected: str) -> None:
    assert expected in replaced(path, old, new)


def test_xml_that_is_longer_than_the_file(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[9:13] = struct.pack("<I", 2**32 - 1)
    path.write_bytes(content)
    assert "is cut short: its XML ends at byte 8589934603" in sentence(path)


def test_images_that_share_their_pixels(tmp_path: Path) -> None:
    own, shared = Image(RED, tags=RGB), Image(RED, tags=RGB, block=0)
    lif(own, *(shared,) * 9)(tmp_path / "x.lif")
    assert "is damaged: its 10 pictures take up 58830 bytes" in sentence(tmp_path / "x.lif")


def test_more_pictures_than_a_project_has(tmp_path: Path) -> None:
    lif(Image(np.zeros((100_001, 1, 1), np.uint8), "ZYX"))(tmp_path / "x.lif")
    assert "declares more than 100000 pictures" in sentence(tmp_path / "x.lif")


def test_other_content(tmp_path: Path) -> None:
    (tmp_path / "x.lif").write_bytes(b"Dear reader,\n")
    assert "holds text, not a LIF" in sentence(tmp_path / "x.lif")


def test_without_the_package(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "liffile", None)
    assert sentence(path) == (
        "is a Leica LIF file, and the package that reads these is not installed here. "
        'Install it: pip install "hptl-deploy[lif]"'
    )


def test_damage_does_not_end_the_process(tmp_path: Path) -> None:
    files = [sample.file(tmp_path) for sample in LIF_SAMPLES]
    assert 0 < outlives(files, tmp_path, 300) < 300
