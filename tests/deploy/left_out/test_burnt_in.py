"""Scale bars and info bands in drawn layouts, and micrographs without any."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from benchmarks.left_out_data import Annotated, banded, block_round, printed
from hptl_deploy.left_out.burnt_in import MARGIN, find_burnt_in
from hptl_deploy.synthesis.frame import BareFrame, make_bare_frame
from support.real_data import uhcs

TALL, WIDE = 600, 800

LAYOUTS = [
    # ink, box, ticks, place, corner, length, thick, size, grey, resized, jpeg
    ("white", "black", "none", "below", "lower right", 80, 3, 24, False, 1.0, 75),
    ("white", "black", "ends", "beside", "upper left", 240, 6, 30, False, 0.8, 85),
    ("black", "white", "tall ends", "above", "lower left", 320, 4, 36, False, 1.0, 0),
    ("black", "white", "none", "beside", "lower middle", 120, 8, 16, True, 0.5, 95),
    ("white", "none", "tall ends", "above", "lower right", 160, 3, 20, False, 1.0, 80),
    ("white", "none", "none", "below", "upper right", 100, 8, 34, True, 0.8, 90),
    ("black", "none", "ends", "above", "lower left", 200, 5, 28, False, 1.0, 75),
    ("black", "none", "none", "beside", "upper left", 300, 2, 18, True, 1.0, 95),
    ("red", "none", "tall ends", "below", "lower middle", 140, 4, 26, True, 1.0, 0),
    ("red", "none", "none", "above", "upper left", 90, 9, 40, False, 0.8, 85),
    ("yellow", "none", "ends", "beside", "lower right", 180, 6, 32, False, 1.0, 90),
    ("yellow", "none", "none", "above", "lower left", 260, 7, 24, True, 0.5, 80),
    ("green", "none", "none", "below", "upper right", 220, 3, 22, False, 1.0, 95),
    ("blue", "none", "tall ends", "above", "lower right", 130, 5, 30, False, 1.0, 85),
]
NAMES = ("ink", "box", "ticks", "place", "corner", "length", "thick", "size", "grey", "resized")


@cache
def bare(number: int) -> BareFrame:
    return make_bare_frame(31, number, TALL, WIDE)


def annotated(number: int) -> Annotated:
    return drawn(bare(number % 3), number)


def drawn(frame: BareFrame, number: int) -> Annotated:
    """`frame` with the bar of layout `number`."""
    *layout, jpeg = LAYOUTS[number]
    texts, fonts = ("20 µm", "500 nm", "1 mm"), ("DejaVuSans-Bold.ttf", "STIXGeneral.ttf")
    others: dict[str, Any] = {
        "jpeg": jpeg, "subsampling": number % 2 * 2, "gap": 8, "margin": 20,
        "text": texts[number % 3], "font": fonts[number % 2],
    }  # fmt: skip
    return printed(frame, dict(zip(NAMES, layout, strict=True)) | others)


def left_out(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    found = np.zeros(pixels.shape[:2], bool)
    for one in find_burnt_in(pixels):
        found[one.region.slices] = True
    return found


@pytest.mark.parametrize("number", range(len(LAYOUTS)))
def test_all_of_a_scale_bar_is_left_out_and_little_else(number: int) -> None:
    frame = annotated(number)
    (found,) = find_burnt_in(frame.pixels)
    assert found.what == "scale bar"
    inside = np.zeros_like(frame.ink)
    inside[found.region.slices] = True
    assert inside[frame.ink].mean() > 0.99
    # The rectangle round it, its margin, and a few px of what touches a letter.
    assert not (inside & ~block_round(frame.ink, 2 * MARGIN)).any()


def camera_frame(**changes: object) -> Annotated:
    """A camera's frame of 2560 x 1920 px with a bar, full of particles that are nearly as black.

    Two touch what is printed farthest to the right, and one of them hangs down from it.
    """
    layout = {
        "ink": "black", "box": "none", "ticks": "ends", "place": "above", "corner": "lower right",
        "length": 114, "thick": 2, "font": "DejaVuSans.ttf", "size": 60, "text": "20 µm",
        "gap": 9, "margin": 60, "grey": True, "resized": 1.0, "jpeg": 95, "subsampling": 0,
    } | changes  # fmt: skip
    rng = np.random.default_rng(12)
    frame = Image.new("L", (2560, 1920), 150)
    draw = ImageDraw.Draw(frame)
    for x, y in rng.integers(0, (2560, 1700), (300, 2)):
        draw.ellipse((x, y, x + 40, y + 25), fill=24)
    labels = np.zeros((1920, 2560), np.uint8)
    empty = replace(bare(0), pixels=np.zeros((*labels.shape, 3), np.uint8), labels=labels)
    ink = printed(empty, layout).ink
    rows, columns = (np.flatnonzero(ink.any(axis)) for axis in (1, 0))
    draw.ellipse((columns[-1] - 30, rows[-1] - 40, columns[-1] + 12, rows[-1] + 60), fill=24)
    draw.ellipse((columns[-1] - 14, rows[0] + 20, columns[-1] + 12, rows[0] + 60), fill=24)
    levels = np.asarray(frame, np.float32) + rng.normal(0, 4, labels.shape)
    grey = ndimage.gaussian_filter(levels, 1).clip(0, 255).astype(np.uint8)
    return printed(replace(empty, pixels=np.repeat(grey[..., None], 3, -1)), layout)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"length": 228, "thick": 3, "place": "beside", "ticks": "tall ends"},
        {"length": 228, "thick": 6, "place": "below", "ticks": "none", "jpeg": 75},
        {"length": 180, "ink": "red", "grey": False, "subsampling": 2, "jpeg": 85},
        {"thick": 20, "box": "white", "ticks": "ends", "jpeg": 75},
    ],
    ids=["thin and short", "beside", "thick", "red", "wide ticks in a box"],
)
def test_short_and_thin_bars_of_a_camera_are_left_out_without_their_neighbours(
    changes: dict[str, object],
) -> None:
    frame = camera_frame(**changes)
    (found,) = find_burnt_in(frame.pixels)
    inside = np.zeros_like(frame.ink)
    inside[found.region.slices] = True
    assert inside[frame.ink].all()
    assert not (inside & ~block_round(frame.ink, MARGIN + 4)).any()


@pytest.mark.parametrize("number", range(6))
def test_info_bands_are_left_out_whole(number: int) -> None:
    frame = banded(np.random.default_rng(number), bare(number % 3))
    assert find_burnt_in(frame.pixels)[0].what == "info band"
    found = left_out(frame.pixels)
    assert found[frame.ink].all()
    assert found.sum() <= frame.ink.sum() + (MARGIN + 1) * frame.ink.shape[1]


@pytest.mark.parametrize("number", range(3))
def test_a_micrograph_without_any_loses_nothing(number: int) -> None:
    assert find_burnt_in(bare(number).pixels) == ()


def needle(*, rough: float, blur: float, length: int = 240) -> NDArray[np.uint8]:
    """A black needle that lies level, among others that are like letters beside it."""
    rng = np.random.default_rng(4)
    picture = Image.new("L", (WIDE, TALL), 150)
    draw = ImageDraw.Draw(picture)
    edges = 300 + rng.normal(0, rough, length)
    for x, y in enumerate(edges, 200):
        draw.line((x, y, x, y + 5), fill=0)
    for x in range(230, 330, 22):
        draw.line((x, 270, x + 4, 290), fill=0, width=4)
    levels = ndimage.gaussian_filter(np.asarray(picture, np.float32), blur)
    levels += rng.normal(0, 2, levels.shape)
    return np.repeat(levels.clip(0, 255).astype(np.uint8)[..., None], 3, -1)


@pytest.mark.parametrize(("rough", "blur"), [(0.8, 1.0), (1.2, 1.5), (0.8, 2.5)])
def test_a_level_needle_is_no_bar(rough: float, blur: float) -> None:
    assert find_burnt_in(needle(rough=rough, blur=blur)) == ()


def test_the_same_needle_would_be_a_bar_if_it_were_straight_and_sharp() -> None:
    assert [found.what for found in find_burnt_in(needle(rough=0, blur=0.3))] == ["scale bar"]


def striped(period: int) -> NDArray[np.uint8]:
    rows = np.arange(TALL) // period % 2 * 200
    return np.broadcast_to(rows[:, None, None], (TALL, WIDE, 3)).astype(np.uint8)


def dashes() -> NDArray[np.uint8]:
    """Hundreds of bars: a drawing, no micrograph with a scale bar."""
    pixels = np.full((TALL, WIDE, 3), 150, np.uint8)
    for y in range(5, TALL - 20, 12):
        for x in range(5, WIDE - 100, 120):
            pixels[y : y + 4, x : x + 90] = 0
    return pixels


def half_black() -> NDArray[np.uint8]:
    """Mounting resin below the specimen, with an edge that is not quite level."""
    rng = np.random.default_rng(5)
    pixels = rng.normal(150, 4, (TALL, WIDE, 1)).clip(0, 255).astype(np.uint8)
    edge = 520 + np.linspace(0, 12, WIDE)
    pixels[np.arange(TALL)[:, None] > edge] = 0
    return np.repeat(pixels, 3, -1)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((TALL, WIDE, 3), np.uint8),
        np.full((TALL, WIDE, 3), 255, np.uint8),
        striped(3),
        striped(7),
        half_black(),
        dashes(),
        np.random.default_rng(1).integers(0, 256, (TALL, WIDE, 3), np.uint8),
    ],
    ids=["black", "white", "3", "7", "resin", "dashes", "noise"],
)
def test_odd_pictures_lose_nothing(pixels: NDArray[np.uint8]) -> None:
    assert find_burnt_in(pixels) == ()


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (17, 33), (40, 40)])
def test_small_pictures(size: tuple[int, int]) -> None:
    assert find_burnt_in(np.zeros((*size, 3), np.uint8)) == ()


def test_what_is_found_lies_in_the_frame() -> None:
    """A box in the very corner."""
    frame = annotated(0)
    rows, columns = (np.flatnonzero(frame.ink.any(axis)) for axis in (1, 0))
    bottom, right = int(rows[-1]) + 1, int(columns[-1]) + 1
    (found,) = find_burnt_in(frame.pixels[:bottom, :right])
    region = found.region
    assert (region.y1, region.x1) == (bottom, right)
    assert abs(region.y0 - (int(rows[0]) - MARGIN)) <= 2
    assert abs(region.x0 - (int(columns[0]) - MARGIN)) <= 2
    size = f"{region.width} x {region.height} px"
    assert str(found) == f"scale bar {size} at ({region.x0}, {region.y0})"


def real_micrographs(scale: int) -> list[NDArray[np.uint8]]:
    """Electron micrographs of steel, full of pale particles and needles, without any print."""
    found = []
    for path in sorted((uhcs() / "images").iterdir()):
        picture = Image.open(path).convert("RGB")
        size = (picture.width * scale, picture.height * scale)
        found.append(np.asarray(picture.resize(size, Image.Resampling.BICUBIC)))
    return found


@pytest.mark.parametrize("scale", [1, 3, 4])
def test_real_micrographs_lose_nothing(scale: int) -> None:
    assert [find_burnt_in(pixels) for pixels in real_micrographs(scale)] == [()] * 24


def test_scale_bars_on_real_micrographs_are_found() -> None:
    """Nine in ten: in the others letters of their colour are lost among particles of it."""
    found = 0
    for number, pixels in enumerate(real_micrographs(1)):
        labels = np.zeros(pixels.shape[:2], np.uint8)
        for layout in (number % len(LAYOUTS), (number + 5) % len(LAYOUTS)):
            frame = drawn(replace(bare(0), pixels=pixels, labels=labels), layout)
            found += left_out(frame.pixels)[frame.ink].mean() > 0.98
    assert found >= 0.9 * 48
