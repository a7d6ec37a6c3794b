"""Scale bars and info bands of pages of which only the outer rows are searched."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.left_out_data import banded, draw_layout, printed
from hptl_deploy.left_out.burnt_in import find_burnt_in, search_strips
from hptl_deploy.left_out.given import LeaveOut
from hptl_deploy.left_out.marking import BurntIn, LeftOut, Searched
from hptl_deploy.left_out.strips import (
    SEARCH_BYTES,
    Strip,
    looked_at,
    search_bytes,
    strip_rows,
    strips_of,
)
from hptl_deploy.synthesis.frame import BareFrame, make_bare_frame
from hptl_deploy.tiling import Region
from support.left_out_pages import with_bar

TALL, WIDE = 600, 800
QUARTER = TALL // 4


@pytest.fixture(scope="module")
def bare() -> BareFrame:
    return make_bare_frame(53, 1, TALL, WIDE)


def rows_of(pixels: NDArray[np.uint8]) -> Callable[[int, int], NDArray[np.uint8]]:
    return lambda top, bottom: pixels[top:bottom]


def searched(pixels: NDArray[np.uint8]) -> Searched:
    """Of the upper and the lower quarter."""
    height, width = pixels.shape[:2]
    return search_strips(rows_of(pixels), height, width, height * width - 1)


def lies_within(one: BurntIn, height: int, rows: int) -> bool:
    return one.region.y1 < rows or one.region.y0 > height - rows


@pytest.mark.parametrize("seed", range(24))
def test_what_lies_in_the_strips_is_found_as_on_the_whole_page(bare: BareFrame, seed: int) -> None:
    """Layouts of many kinds, info bands too; nothing else is found."""
    rng = np.random.default_rng([8, seed])
    frame = banded(rng, bare) if seed % 6 == 0 else printed(bare, draw_layout(rng, WIDE))
    found, height = searched(frame.pixels), len(frame.pixels)
    assert found.rows == height // 4
    whole = find_burnt_in(frame.pixels)
    assert found.found == tuple(one for one in whole if lies_within(one, height, height // 4))


def test_most_layouts_lie_in_the_strips(bare: BareFrame) -> None:
    """Else the test above would say little."""
    frames = [printed(bare, draw_layout(np.random.default_rng([8, s]), WIDE)) for s in range(24)]
    assert sum(bool(searched(frame.pixels).found) for frame in frames) >= 20


def test_a_page_of_no_more_pixels_is_searched_whole(bare: BareFrame) -> None:
    pixels, _ = with_bar(bare.pixels, TALL // 2)
    found = search_strips(rows_of(pixels), TALL, WIDE, TALL * WIDE)
    assert found == Searched(find_burnt_in(pixels), None)
    assert len(found.found) == 1


def test_what_is_printed_in_the_middle_is_not_found(bare: BareFrame) -> None:
    pixels, _ = with_bar(bare.pixels, TALL // 2)
    assert searched(pixels) == Searched((), QUARTER)


@pytest.mark.parametrize("bottom", range(QUARTER - 20, QUARTER + 40, 3))
def test_a_bar_at_the_inner_edge_is_the_whole_pages_or_none(bottom: int) -> None:
    """A level bar, alone, of 6 rows: what the edge may cut is not judged."""
    levels = np.random.default_rng(3).normal(150, 4, (TALL, WIDE, 1))
    pixels = np.repeat(levels.clip(0, 255).astype(np.uint8), 3, -1)
    pixels[bottom - 6 : bottom, 100:300] = 255
    (whole,) = find_burnt_in(pixels)
    assert searched(pixels).found == ((whole,) if bottom + 4 <= QUARTER else ())


def test_a_colour_is_looked_for_on_all_of_the_page(bare: BareFrame) -> None:
    """White particles between the strips make white letters uncertain, as on the whole page."""
    pixels, _ = with_bar(bare.pixels, TALL)
    assert len(searched(pixels).found) == 1
    pixels[QUARTER : TALL - QUARTER] = 255
    assert searched(pixels).found == find_burnt_in(pixels)


def test_rows_are_read_once_more_only_where_something_may_be_a_bar(bare: BareFrame) -> None:
    def asked_for(pixels: NDArray[np.uint8]) -> list[tuple[int, int]]:
        asked: list[tuple[int, int]] = []

        def read(top: int, bottom: int) -> NDArray[np.uint8]:
            asked.append((top, bottom))
            return pixels[top:bottom]

        search_strips(read, TALL, WIDE, TALL * WIDE - 1)
        return asked

    strips = [(0, QUARTER), (TALL - QUARTER, TALL)]
    assert asked_for(bare.pixels) == strips
    printed_on, _ = with_bar(bare.pixels, TALL)
    assert asked_for(printed_on) == [*strips, (0, 256), (256, 512), (512, TALL)]


@pytest.mark.parametrize("most", [TALL * 2400, TALL * 2400 - 1])
def test_a_search_takes_the_memory_that_is_planned(most: int) -> None:
    """Stripes: printed colours and edges everywhere."""
    rows = np.arange(TALL) // 7 % 2 * 200
    pixels = np.broadcast_to(rows[:, None, None], (TALL, 2400, 3)).astype(np.uint8)
    tracemalloc.start()
    try:
        search_strips(lambda top, bottom: pixels[top:bottom].copy(), TALL, 2400, most)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.5 * search_bytes(TALL, 2400, most) < peak <= search_bytes(TALL, 2400, most)


def test_every_fourth_row_and_column_in_pieces() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (601, 31, 3), np.uint8)
    pieces = list(looked_at(rows_of(pixels), 601))
    np.testing.assert_array_equal(np.concatenate(pieces), pixels[::4, ::4])


@pytest.mark.parametrize(
    ("height", "width", "most", "rows"),
    [
        (100, 100, 10_000, 100),  # all of it
        (100, 100, 9_999, 25),  # a quarter
        (1000, 100, 10_000, 50),  # both together 10 000 px
        (1000, 100, 100, 1),
    ],
)
def test_rows_of_a_strip(height: int, width: int, most: int, rows: int) -> None:
    assert strip_rows(height, width, most) == rows
    share = 1 if rows == height else 2
    assert search_bytes(height, width, most) == share * rows * width * SEARCH_BYTES
    pixels = np.zeros((height, width, 3), np.uint8)
    strips = strips_of(rows_of(pixels), height, rows)
    assert [len(strip.pixels) for strip in strips] == [rows] * share
    assert [strip.on_page(strip.page) for strip in strips] == [Region(0, height, 0, width)] * share


def test_a_strip_holds_what_its_inner_edge_does_not_touch() -> None:
    lower = Strip(np.zeros((30, 10, 3), np.uint8), 70, 100)
    assert lower.page == Region(-70, 30, 0, 10)
    assert lower.on_page(Region(1, 2, 3, 4)) == Region(71, 72, 3, 4)
    assert lower.holds(Region(3, 30, 0, 10), 3)
    assert not lower.holds(Region(2, 30, 0, 10), 3)
    upper = Strip(np.zeros((30, 10, 3), np.uint8), 0, 100)
    assert upper.holds(Region(0, 27, 0, 10), 3)
    assert not upper.holds(Region(0, 28, 0, 10), 3)
    whole = Strip(np.zeros((30, 10, 3), np.uint8), 0, 30)
    assert whole.holds(Region(0, 30, 0, 10), 99)


def test_what_was_searched_is_said() -> None:
    bar = BurntIn("scale bar", Region(5, 15, 20, 60))
    left_out = LeftOut(100, 80, LeaveOut(), (), Searched((bar,), 25))
    assert left_out.words() == (
        "scale bar 40 x 10 px at (20, 5); scale bars looked for in the top and bottom 25 rows alone"
    )
