"""The panel's detail lies where the methods disagree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from hptl_deploy.phases import PAPER_PHASES
from hptl_train.compare.panel import busiest_window, disagreement, draw_panel


def test_disagreement_weighs_the_rare_phases_as_much_as_the_matrix() -> None:
    truth = np.zeros((4, 5), np.uint8)
    truth[0] = 255
    truth[3, 4] = 1
    first = np.zeros((4, 5), np.uint8)
    second, third = first.copy(), first.copy()
    second[0, 0] = 1  # not labelled
    second[2, 3] = 1
    third[3, 4] = 2
    found = disagreement([first, second, third], truth, 3)
    # A third of the maps differ: among 14 pixels of matrix, and at the one of phase 1.
    expected = np.zeros((4, 5))
    expected[2, 3] = 1 / 3 / 14 * 20
    expected[3, 4] = 1 / 3 / 1 * 20
    assert np.allclose(found, expected)
    assert not disagreement([first], truth, 3).any()


def test_the_window_is_the_one_that_brute_force_finds() -> None:
    rng = np.random.default_rng(3)
    # Whole numbers, so that sums are exact in any order.
    differ = (rng.random((70, 260)) < 0.02).astype(float)
    differ[31:50, 170:200] += rng.integers(0, 3, (19, 30))
    top, left, rows, columns = busiest_window(differ)
    assert (rows, columns) == (32, 43)
    every = {
        (y, x): int(differ[y : y + rows, x : x + columns].sum())
        for y in range(70 - rows + 1)
        for x in range(260 - columns + 1)
    }
    best = max(every.values())
    assert (top, left) == min(place for place, count in every.items() if count == best)


def test_a_small_frame_is_its_own_detail() -> None:
    assert busiest_window(np.zeros((20, 30))) == (0, 0, 20, 30)


def test_the_panel_shows_every_method(tmp_path: Path) -> None:
    truth = np.zeros((96, 128), np.uint8)
    truth[20:60, 20:60] = 1
    pixels = np.full((96, 128, 3), 140, np.uint8)
    maps = {f"method {number}": np.roll(truth, number, 1) for number in range(9)}
    picture = tmp_path / "panel.png"
    draw_panel(pixels, truth, maps, PAPER_PHASES, picture, "a frame")
    with Image.open(picture) as opened:
        drawn = np.asarray(opened.convert("RGB")).astype(int)
    red = (drawn[..., 0] > 200) & (drawn[..., 1] < 60) & (drawn[..., 2] < 60)
    # Eleven tiles in three lines of four; the original has no red, the last place is empty.
    thirds = np.array_split(red, 3, axis=0)
    quarters = [np.array_split(third, 4, axis=1) for third in thirds]
    shows = [[bool(part.sum() > 500) for part in line] for line in quarters]
    assert shows == [[False, True, True, True], [True] * 4, [True, True, True, False]]
