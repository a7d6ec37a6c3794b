"""Regions and masks that the user gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from hptl_deploy.errors import MicrographError, UsageError
from hptl_deploy.left_out.given import LeaveOut, parse_ignore
from hptl_deploy.left_out.marking import left_out_of
from hptl_deploy.left_out.mask import load_mask
from hptl_deploy.tiling import Region


def test_a_region_as_it_is_given() -> None:
    assert parse_ignore("1800,1700, 700,200") == Region(1700, 1900, 1800, 2500)


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5", "-1,2,3,4", "1,2,0,4", "a,b,c,d", "1.5,2,3,4"]
)
def test_what_is_no_region(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_ignore(text)
    assert str(caught.value) == (
        f"--ignore {text}: expected four whole numbers x,y,w,h in px, such as 1800,1700,700,200 "
        "(column and row of the upper left corner, width and height)"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (LeaveOut(scale_bar="off"), "--scale-bar off: expected auto or keep"),
        (LeaveOut(crop_bottom=-3), "--crop-bottom -3: expected 0 rows or more"),
        (LeaveOut(ignore=(Region(0, 0, 4, 8),)), "--ignore 4,0,4,0: expected four whole numbers"),
    ],
)
def test_what_cannot_be_meant(given: LeaveOut, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        given.check()
    assert str(caught.value).startswith(said)


def test_regions_end_where_the_micrograph_does() -> None:
    given = LeaveOut(crop_bottom=500, ignore=(Region(10, 900, 20, 50), Region(0, 5, 600, 700)))
    assert given.regions(400, 600) == [
        ("bottom 400 rows", Region(0, 400, 0, 600)),
        ("region 30 x 390 px at (20, 10)", Region(10, 400, 20, 50)),
        ("region 100 x 5 px at (600, 0): outside", Region(0, 0, 0, 0)),
    ]


def masks(folder: Path, left_out: np.ndarray) -> list[Path]:
    """The same mask as files of many kinds."""
    as_bytes = left_out.astype(np.uint8)
    Image.fromarray(as_bytes).save(folder / "ones.png")
    Image.fromarray(255 * as_bytes).save(folder / "white.bmp")
    Image.fromarray(left_out).save(folder / "bits.png")
    Image.fromarray(np.stack([0 * as_bytes, as_bytes, 0 * as_bytes], -1)).save(folder / "green.png")
    tifffile.imwrite(folder / "deep.tif", left_out.astype(np.uint16))
    palette = Image.fromarray(as_bytes, "P")
    palette.putpalette([0, 0, 0, 0, 0, 0])  # the number counts, not what is shown
    palette.save(folder / "black.png")
    return sorted(folder.iterdir())


def test_masks_of_many_kinds_are_one_and_the_same(tmp_path: Path) -> None:
    left_out = np.random.default_rng(1).random((37, 53)) < 0.3
    read = [load_mask(path) for path in masks(tmp_path, left_out)]
    assert len(read) == 6
    assert len({mask.sha256 for mask in read}) == 1
    for mask in read:
        assert mask.shape == (37, 53)
        for region in (Region(0, 37, 0, 53), Region(3, 30, 7, 41), Region(36, 37, 52, 53)):
            np.testing.assert_array_equal(mask.of(region), left_out[region.slices])


def test_masks_that_differ_are_other_settings(tmp_path: Path) -> None:
    wide, tall = np.zeros((4, 16), np.uint8), np.zeros((8, 8), np.uint8)
    wide[0, 0] = tall[0, 0] = 1
    found = set()
    for number, pixels in enumerate((wide, tall, 1 - tall)):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        found.add(LeaveOut(mask=load_mask(tmp_path / f"{number}.png")).settings()["ignore_mask"])
    assert len(found) == 3


@pytest.mark.parametrize(
    ("level", "said"), [(0, "nothing: every pixel is 0"), (9, "everything: no pixel is 0")]
)
def test_a_mask_that_says_nothing(tmp_path: Path, level: int, said: str) -> None:
    path = tmp_path / "m.png"
    Image.new("L", (5, 4), level).save(path)
    with pytest.raises(UsageError) as caught:
        load_mask(path)
    assert str(caught.value) == (
        f"--ignore-mask {path}: leaves out {said}; expected 0 where the micrograph counts, and "
        "anything else where it does not"
    )


def test_a_mask_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a file"):
        load_mask(tmp_path / "m.png")
    (tmp_path / "m.png").write_bytes(b"not a picture")
    with pytest.raises(UsageError, match=r"--ignore-mask .*the label file cannot be decoded"):
        load_mask(tmp_path / "m.png")


def test_a_mask_of_another_size(tmp_path: Path) -> None:
    Image.fromarray(np.eye(4, 6, dtype=np.uint8)).save(tmp_path / "m.png")
    given = LeaveOut(mask=load_mask(tmp_path / "m.png"))
    given.check_page(4, 6)
    with pytest.raises(MicrographError) as caught:
        given.check_page(6, 4)
    assert str(caught.value) == (
        "is 4 x 6 px, but the mask m.png (--ignore-mask) is 6 x 4 px; they must be the same"
    )


def test_a_rectangle_that_misses_the_micrograph_is_said() -> None:
    given = LeaveOut(scale_bar="keep", ignore=(Region(5000, 5010, 4000, 4020),))
    left_out = left_out_of(given, 40, 60, (), np.zeros((40, 60, 3), np.uint8))
    assert left_out.words() == "region 20 x 10 px at (4000, 5000): outside"
    classes, confidence = np.ones((2, 40, 60), np.uint8)
    left_out.mark(classes, confidence, Region(0, 40, 0, 60))
    assert classes.min() == confidence.min() == 1
