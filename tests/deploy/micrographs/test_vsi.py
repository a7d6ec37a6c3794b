"""Olympus VSI: what is read, what is refused, and with which words."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from hptl_deploy.micrographs import open_micrograph
from hptl_deploy.micrographs.companions import companions, content_sha256, is_companion
from support.broken_micrographs import sentence
from support.micrograph_samples import RED, grey, ramp
from support.vendor_damage import outlives
from support.vsi_samples import CHANNEL, JPEG, VSI_SAMPLES, Picture, T, Z, ets_of, vsi

_GREY8 = ramp(8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    vsi(Picture(RED, um=0.5))(tmp_path / "x.vsi")
    return tmp_path / "x.vsi"


@pytest.mark.parametrize(
    ("um", "unit", "size", "source"),
    [
        (0.33, "10^-6m^1", 0.33, "VSI"),
        (330.0, "10^-9m^1", 0.33, "VSI"),
        (None, "", None, "not stated"),
        (0.33, "10^-6m^2", None, "VSI: the unit '10^-6m^2' is unknown"),
        (1000.0, "10^-6m^1", None, "VSI: 1000 um per pixel is outside 0.01 to 20"),
    ],
)
def test_pixel_size(
    tmp_path: Path, um: float | None, unit: str, size: float | None, source: str
) -> None:
    vsi(Picture(_GREY8, um=um, unit=unit))(tmp_path / "x.vsi")
    with open_micrograph(tmp_path / "x.vsi") as micrograph:
        found = micrograph.pages[0].calibration
    assert found.pixel_size_um == (None if size is None else pytest.approx(size, rel=1e-12))
    assert found.source == source


@pytest.mark.parametrize("colour", [False, True])
def test_slideio_sees_the_same(tmp_path: Path, colour: bool) -> None:
    """Uncompressed colour is white to it, so colours are compared as JPEG."""
    slideio = pytest.importorskip("slideio")
    pixels = ramp(8, 3) if colour else _GREY8
    whole = np.kron(pixels, np.ones((8, 8, 1)[: pixels.ndim], np.uint8))
    picture = Picture(whole, tile=(128, 128), um=0.25, compression=JPEG if colour else 0)
    vsi(picture)(tmp_path / "x.vsi")
    scene = slideio.open_slide(str(tmp_path / "x.vsi"), "VSI").get_scene(0)
    with open_micrograph(tmp_path / "x.vsi") as micrograph:
        (page,) = micrograph.pages
        read = page.read()
    seen = scene.read_block()
    assert np.array_equal(read, seen if colour else grey(seen))
    assert page.calibration.pixel_size_um == pytest.approx(1e6 * scene.resolution[0])


def test_a_name_of_any_letters(tmp_path: Path) -> None:
    path = tmp_path / "Gefüge 1.2 µm.vsi"
    vsi(Picture(RED))(path)
    with open_micrograph(path) as micrograph:
        assert np.array_equal(micrograph.pages[0].read(), RED)


def test_without_its_folder_the_file_says_what_to_copy(path: Path) -> None:
    shutil.rmtree(path.parent / "_x_")
    assert sentence(path) == (
        "keeps the pixels of the picture '20x' in _x_/stack1/frame_t.ets, which is not there. "
        "Copy the folder _x_ along, to beside this file"
    )


def test_a_renamed_file_does_not_find_its_folder(path: Path) -> None:
    renamed = path.rename(path.with_name("y.vsi"))
    assert "Copy the folder _y_ along" in sentence(renamed)


def test_gaps_are_named_and_black(tmp_path: Path) -> None:
    pixels = np.full((48, 64, 3), 200, np.uint8)
    vsi(Picture(pixels, without=[(1, 2)]))(tmp_path / "x.vsi")
    with open_micrograph(tmp_path / "x.vsi") as micrograph:
        page = micrograph.pages[0]
        read, gaps = page.read(), page.gaps
    black = (read == 0).all(-1)
    assert black.sum() == 16 * 16
    assert black[32:48, 16:32].all()
    assert [(gap.y0, gap.y1, gap.x0, gap.x1) for gap in gaps] == [(32, 48, 16, 32)]


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (
            Picture(np.stack([_GREY8] * 2), (CHANNEL,)),
            "holds the picture '20x' with 2 channels; expected one, grey or colour",
        ),
        (Picture(RED, space=1), "holds pixels of 3 samples in the colour space 1; expected grey"),
        (Picture(RED, compression=5), "is compressed in a way that is not known here (lossless"),
        (Picture(RED, external=0), "whose pixels do not lie in a folder of their own"),
        (Picture(RED, kind=256, name="macro"), "holds no micrograph, only the picture 'macro' (a"),
        (Picture(RED, kind=3), "of a kind that is not known here (3)"),
        (Picture(np.stack([_GREY8] * 2), (9999,)), "a dimension that is not known here (9999)"),
    ],
)
def test_refused(tmp_path: Path, picture: Picture, expected: str) -> None:
    vsi(picture)(tmp_path / "x.vsi")
    assert expected in sentence(tmp_path / "x.vsi")


def test_two_files_of_pixels_in_one_folder(path: Path) -> None:
    shutil.copy(ets_of(path), ets_of(path).with_name("frame_t_1.ets"))
    assert "has 2 files of pixels in _x_/stack1; expected one" in sentence(path)


@pytest.mark.parametrize("length", [5, 60, 300, 700, -1])
def test_pixels_that_are_cut_short(path: Path, length: int) -> None:
    file = ets_of(path)
    file.write_bytes(file.read_bytes()[:length])
    assert "is cut short" in sentence(path)
    assert "copy it again" in sentence(path)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_a_description_that_is_cut_short(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content) * 0.6)])
    assert "is cut short" in sentence(path)


@pytest.mark.parametrize(
    ("at", "form", "value", "expected"),
    [
        (64 + 28, "<I", 2**31, "has tiles of 2147483648 x 16 x 1 pixels"),
        (64 + 28, "<I", 4096, "declares 4096 x 16 pixels, which"),
        (64 + 8, "<I", 6, "holds samples of kind 6; expected 8 or 16 bit"),
        (0, "<4s", b"XIS\0", "is damaged: its file of pixels does not begin as its kind does"),
        (32, "<Q", 2**40, "is cut short: a part of its file of pixels ends at byte 10995116"),
        (40, "<I", 2**32 - 1, "is cut short: a part of its file of pixels ends at byte"),
    ],
)
def test_altered_pixels(path: Path, at: int, form: str, value: object, expected: str) -> None:
    content = bytearray(ets_of(path).read_bytes())
    struct.pack_into(form, content, at, value)
    ets_of(path).write_bytes(content)
    assert expected in sentence(path)


def test_tiles_that_lie_upon_each_other(path: Path) -> None:
    """Each of them says where it is, so a small file could stand for many pixels."""
    content = bytearray(ets_of(path).read_bytes())
    directory, tiles = struct.unpack_from("<QI", content, 32)
    for tile in range(tiles):
        struct.pack_into("<QI", content, directory + tile * 32 + 16, 0, len(content))
    ets_of(path).write_bytes(content)
    assert "bytes together, and itself" in sentence(path)


def test_a_jpeg_tile_of_another_size(tmp_path: Path) -> None:
    vsi(Picture(RED, compression=JPEG))(tmp_path / "x.vsi")
    content = bytearray(ets_of(tmp_path / "x.vsi").read_bytes())
    at = content.index(b"\xff\xc0")
    struct.pack_into(">HH", content, at + 5, 8, 8)
    ets_of(tmp_path / "x.vsi").write_bytes(content)
    assert "is damaged" in sentence(tmp_path / "x.vsi")


def test_fields_that_run_in_a_circle(path: Path) -> None:
    """The first of the root's fields says that it is followed by itself."""
    content = bytearray(path.read_bytes())
    root, first, count = 8, 8 + 24, 8 + 16
    struct.pack_into("<I", content, count, 2)
    struct.pack_into("<I", content, first + 8, first - root)
    path.write_bytes(content)
    assert sentence(path) == (
        "is damaged: its fields run in a circle, or are too many; copy it again"
    )


def test_which_files_belong_to_it(tmp_path: Path) -> None:
    path = tmp_path / "x.vsi"
    vsi(Picture(_GREY8, kind=1), Picture(RED))(path)
    files = companions(path)
    assert files == (ets_of(path, 0), ets_of(path, 1))
    assert all(map(is_companion, files))
    assert not is_companion(path)
    assert not is_companion(tmp_path / "frame_t.ets")
    assert companions(tmp_path / "x.tif") == ()


def test_the_hash_is_of_all_of_it(path: Path) -> None:
    before = content_sha256(path)
    content = bytearray(ets_of(path).read_bytes())
    content[600] ^= 1
    ets_of(path).write_bytes(content)
    assert content_sha256(path) != before
    content[600] ^= 1
    ets_of(path).write_bytes(content)
    assert content_sha256(path) == before


def test_planes_are_in_the_order_of_times_and_then_of_planes(tmp_path: Path) -> None:
    planes = np.stack([np.full((20, 30), 10 * k, np.uint8) for k in range(6)]).reshape(2, 3, 20, 30)
    vsi(Picture(planes, (T, Z)))(tmp_path / "x.vsi")
    with open_micrograph(tmp_path / "x.vsi") as micrograph:
        levels = [int(page.read()[0, 0, 0]) for page in micrograph.pages]
    assert levels == [0, 10, 20, 30, 40, 50]


def test_grey_is_read_alike_however_the_region_is_cut(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (75, 90), np.uint8)
    vsi(Picture(pixels, origin=(-3, -9)))(tmp_path / "x.vsi")
    with open_micrograph(tmp_path / "x.vsi") as micrograph:
        assert np.array_equal(micrograph.pages[0].read(), grey(pixels))


def test_damage_does_not_end_the_process(tmp_path: Path) -> None:
    files = [sample.file(tmp_path) for sample in VSI_SAMPLES]
    assert 0 < outlives(files, tmp_path, 300) < 300
