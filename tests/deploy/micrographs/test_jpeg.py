"""The pixel size of a JPEG: EXIF before JFIF, and damaged EXIF blocks do no harm."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from hptl_deploy.micrographs import Calibration, open_micrograph
from hptl_deploy.model import load_model
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.segmentation.classmap import describe
from hptl_deploy.segmentation.overlay import write_overlay
from support.threshold_model import write_threshold_model

GREY = np.full((8, 9), 77, np.uint8)

X, Y, UNIT = 0x011A, 0x011B, 0x0128
ASCII, SHORT, LONG, RATIONAL, FLOAT, DOUBLE = 2, 3, 4, 5, 11, 12

Entry = tuple[int, int, int, bytes]
"""Tag, type, count, value."""


def directory(*entries: Entry, order: str = "<") -> bytes:
    """An EXIF block with these entries; values of more than four bytes lie behind them."""
    behind = 8 + 2 + 12 * len(entries) + 4
    head, values = struct.pack(f"{order}H", len(entries)), b""
    for tag, kind, count, value in entries:
        head += struct.pack(f"{order}HHI", tag, kind, count)
        if len(value) > 4:
            head += struct.pack(f"{order}I", behind + len(values))
            values += value
        else:
            head += value.ljust(4, b"\0")
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    return b"Exif\0\0" + mark + struct.pack(f"{order}I", 8) + head + bytes(4) + values


def ratio(tag: int, above: int, below: int = 1, order: str = "<") -> Entry:
    return tag, RATIONAL, 1, struct.pack(f"{order}II", above, below)


def unit(value: int, order: str = "<") -> Entry:
    return UNIT, SHORT, 1, struct.pack(f"{order}H", value)


def both(above: int, below: int = 1) -> tuple[Entry, Entry]:
    return ratio(X, above, below), ratio(Y, above, below)


HALF_UM = directory(*both(20000), unit(3))


def of(folder: Path, exif: bytes, dpi: tuple[int, int] = (0, 0)) -> Calibration:
    """What is read of a picture with that block; its pixels must come through, too."""
    path = folder / "x.jpg"
    Image.fromarray(GREY).save(path, quality=100, exif=exif, dpi=dpi)
    with open_micrograph(path) as micrograph:
        (page,) = micrograph.pages
        assert np.abs(page.read().astype(int) - 77).max() <= 1
        return page.calibration


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("code", "density"), [(2, 50800), (3, 20000)])
def test_units_and_byte_orders(tmp_path: Path, order: str, code: int, density: int) -> None:
    entries = (ratio(X, density, 1, order), ratio(Y, density, 1, order), unit(code, order))
    assert of(tmp_path, directory(*entries, order=order)) == Calibration(0.5, "JPEG EXIF")


def test_pillows_own_blocks_are_understood(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "µ" * 300
    exif[X] = exif[Y] = 1e4 / 0.088
    exif[UNIT] = 3
    found = of(tmp_path, exif.tobytes())
    assert found.source == "JPEG EXIF"
    assert found.pixel_size_um == pytest.approx(0.088, rel=1e-6)


def test_an_overlay_is_read_back_with_its_pixel_size(tmp_path: Path) -> None:
    path = tmp_path / "a_overlay.jpg"
    about = describe(load_model(write_threshold_model(tmp_path)), "fp32", 0.088)
    pixels = np.stack([GREY] * 3, axis=2)
    write_overlay(path, pixels, np.zeros(GREY.shape, np.uint8), PAPER_PHASES, "jpg", about)
    with open_micrograph(path) as micrograph:
        found = micrograph.pages[0].calibration
    assert found.source == "JPEG EXIF"
    assert found.pixel_size_um == pytest.approx(0.088, rel=1e-3)


@pytest.mark.parametrize(
    ("exif", "dpi", "expected"),
    [
        (HALF_UM, (25400, 25400), Calibration(0.5, "JPEG EXIF")),
        # What cameras and programs write without thinking does not hide a stated size.
        (directory(*both(72), unit(2)), (25400, 25400), Calibration(1.0, "JPEG")),
        (HALF_UM, (72, 72), Calibration(0.5, "JPEG EXIF")),
        (directory(*both(96), unit(2)), (72, 72),
         Calibration(None, "JPEG EXIF: 96 dpi is a screen's")),
        (directory(*both(300), unit(2)), (0, 0),
         Calibration(None, "JPEG EXIF: 300 dpi is a printer's")),
        (directory(*both(1)), (72, 72), Calibration(None, "JPEG: 72 dpi is a screen's")),
        (directory(ratio(X, 20000), ratio(Y, 10000), unit(3)), (0, 0),
         Calibration(None, "JPEG EXIF: pixels are not square (0.5 x 1 um)")),
        (directory(*both(50_000_000, 10), unit(3)), (0, 0),
         Calibration(None, "JPEG EXIF: 0.002 um per pixel is outside 0.01 to 20")),
    ],
)  # fmt: skip
def test_exif_beside_jfif(
    tmp_path: Path, exif: bytes, dpi: tuple[int, int], expected: Calibration
) -> None:
    assert of(tmp_path, exif, dpi) == expected


@pytest.mark.parametrize(
    "entries",
    [
        both(20000),
        (*both(20000), unit(1)),
        (*both(20000), unit(4)),
        (*both(20000), (UNIT, ASCII, 1, b"3\0")),
        (*both(20000), (UNIT, SHORT, 2, b"\3\0\3\0")),
    ],
    ids=["none", "none by its code", "unknown", "text", "two"],
)
def test_without_a_unit_nothing_is_guessed(tmp_path: Path, entries: tuple[Entry, ...]) -> None:
    found = of(tmp_path, directory(*entries))
    assert found == Calibration(None, "JPEG EXIF: a resolution without a unit")


INF, NAN = struct.pack("<d", float("inf")), struct.pack("<d", float("nan"))

BROKEN = {
    "nothing": b"Exif\0\0",
    "garbage": b"Exif\0\0" + bytes(range(256)),
    "only a mark": HALF_UM[:10],
    "directory elsewhere": HALF_UM[:10] + b"\xff\xff\xff\xff" + HALF_UM[14:],
    "more entries than there are": HALF_UM[:14] + b"\xff\xff" + HALF_UM[16:28],
    "values elsewhere": directory(
        (X, RATIONAL, 1, b"\xf0\xff\xff\xff"), (Y, RATIONAL, 1, b"\0\0\0\0"), unit(3)
    ),
    "over zero": directory(*both(20000, 0), unit(3)),
    "zero over zero": directory(*both(0, 0), unit(3)),
    "zero": directory(*both(0), unit(3)),
    "no Y": directory(ratio(X, 20000), unit(3)),
    "no X": directory(ratio(Y, 20000), unit(3)),
    "one letter": directory((X, ASCII, 2, b"2\0"), (Y, ASCII, 2, b"2\0"), unit(3)),
    "text": directory((X, ASCII, 6, b"20000\0"), (Y, ASCII, 6, b"20000\0"), unit(3)),
    "infinite": directory((X, DOUBLE, 1, INF), (Y, DOUBLE, 1, INF), unit(3)),
    "not a number": directory((X, DOUBLE, 1, NAN), (Y, FLOAT, 1, b"\0\0\xc0\x7f"), unit(3)),
    "two of each": directory((X, RATIONAL, 2, bytes(16)), (Y, RATIONAL, 2, bytes(16)), unit(3)),
    "none of each": directory((X, RATIONAL, 0, b""), (Y, RATIONAL, 0, b""), unit(3)),
    "unknown type": directory((X, 99, 1, bytes(8)), (Y, LONG, 1, bytes(4)), unit(3)),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_block_states_nothing(tmp_path: Path, kind: str) -> None:
    assert of(tmp_path, BROKEN[kind]) == Calibration(None, "not stated")
    assert of(tmp_path, BROKEN[kind], (25400, 25400)) == Calibration(1.0, "JPEG")


def test_pillow_alone_would_not_open_one_of_them(tmp_path: Path) -> None:
    """Why `JpegPicture` exists; when this fails, it may go."""
    of(tmp_path, BROKEN["one letter"])
    with (tmp_path / "x.jpg").open("rb") as handle, pytest.raises(SyntaxError):
        JpegImageFile(handle)


def test_blocks_cut_and_altered_anywhere(tmp_path: Path) -> None:
    for length in range(6, len(HALF_UM)):
        found = of(tmp_path, HALF_UM[:length])
        assert found.pixel_size_um is None, length
    draw = random.Random(0)
    for _ in range(300):
        altered = bytearray(HALF_UM)
        for _ in range(draw.randint(1, 4)):
            altered[draw.randrange(6, len(altered))] = draw.randrange(256)
        of(tmp_path, bytes(altered))


def test_a_block_of_two_segments(tmp_path: Path) -> None:
    """The first one begins the directory."""
    of(tmp_path, HALF_UM)
    content = (tmp_path / "x.jpg").read_bytes()
    at = content.index(HALF_UM) - 4  # marker and length
    segment = content[at : at + 4 + len(HALF_UM)]
    other = b"\xff\xe1" + struct.pack(">H", 2 + 6 + 3) + b"Exif\0\0abc"
    (tmp_path / "two.jpg").write_bytes(content.replace(segment, segment + other))
    with open_micrograph(tmp_path / "two.jpg") as micrograph:
        assert micrograph.pages[0].calibration == Calibration(0.5, "JPEG EXIF")
