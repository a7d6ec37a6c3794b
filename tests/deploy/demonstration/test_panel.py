from __future__ import annotations

import numpy as np
import pytest

from hptl_deploy.demonstration.panel import DETAIL, Row, draw_panel, richest_part
from hptl_deploy.phases import PAPER_PHASES


@pytest.mark.parametrize("seed", range(4))
def test_the_part_shown_is_the_one_with_most_of_the_rarest_phase(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.zeros((700, 900), np.uint8)
    for phase in rng.integers(1, 3, 30):
        y, x = rng.integers((660, 860))
        truth[y : y + 40, x : x + 40] = phase
    rows, columns = richest_part(truth, 3)
    assert (rows.stop - rows.start, columns.stop - columns.start) == DETAIL

    def rarest(top: int, left: int) -> int:
        part = truth[top : top + DETAIL[0], left : left + DETAIL[1]]
        return min(int((part == 1).sum()), int((part == 2).sum()))

    best = max(
        rarest(top, left)
        for top in range(0, 700 - DETAIL[0] + 1, 40)
        for left in range(0, 900 - DETAIL[1] + 1, 40)
    )
    assert rarest(rows.start, columns.start) == best > 0


def test_small_and_empty_frames_are_shown_whole_and_from_the_corner() -> None:
    assert richest_part(np.ones((50, 60), np.uint8), 3) == (slice(0, 50), slice(0, 60))
    assert richest_part(np.zeros((900, 900), np.uint8), 3) == (slice(0, 400), slice(0, 600))


def test_the_three_pictures_stand_side_by_side() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    truth = rng.integers(0, 3, (60, 80), dtype=np.uint8)
    found = rng.integers(0, 3, (60, 80), dtype=np.uint8)
    panel = np.asarray(draw_panel([Row("a.jpg", pixels, truth, found)] * 2, PAPER_PHASES))
    colours = np.array([phase.colour for phase in PAPER_PHASES], np.uint8)

    def places(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> list[tuple[int, int]]:
        height, width = picture.shape[:2]
        return [
            (y, x)
            for y in range(panel.shape[0] - height + 1)
            for x in range(panel.shape[1] - width + 1)
            if (panel[y, x] == picture[0, 0]).all()
            and (panel[y : y + height, x : x + width] == picture).all()
        ]

    first, second, third = places(pixels), places(colours[truth]), places(colours[found])
    assert [len(found_at) for found_at in (first, second, third)] == [2, 2, 2]
    for left, middle, right in zip(first, second, third, strict=True):
        assert left[0] == middle[0] == right[0]  # one line
        assert left[1] < middle[1] < right[1]
