"""Gaps between tiles, against painting every tile."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hptl_deploy.micrographs.gaps import gaps_between
from hptl_deploy.tiling import Region

HEIGHT, WIDTH = 23, 31


@st.composite
def tiles(draw: st.DrawFn) -> Region:
    y, x = draw(st.integers(0, HEIGHT - 1)), draw(st.integers(0, WIDTH - 1))
    return Region(y, draw(st.integers(y + 1, HEIGHT)), x, draw(st.integers(x + 1, WIDTH)))


@settings(max_examples=200)
@given(st.lists(tiles(), max_size=7))
def test_gaps_are_what_no_tile_covers(placed: list[Region]) -> None:
    times = np.zeros((HEIGHT, WIDTH), int)
    for tile in placed:
        times[tile.slices] = 1
    for gap in gaps_between(placed, HEIGHT, WIDTH):
        assert min(gap.shape) > 0
        times[gap.slices] += 1
    assert (times == 1).all()  # each pixel by tiles, or by one gap


def test_a_full_grid_has_none() -> None:
    grid = [Region(y, y + 12, x, x + 12) for y in range(0, 50, 10) for x in range(0, 70, 10)]
    assert gaps_between(grid, 52, 72) == ()


def test_gaps_are_few() -> None:
    corner = [Region(0, 10, 0, 20), Region(10, 20, 0, 10), Region(5, 8, 3, 4)]
    assert gaps_between(corner, 20, 20) == (Region(10, 20, 10, 20),)
