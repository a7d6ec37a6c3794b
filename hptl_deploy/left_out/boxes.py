"""The opaque box that a scale bar may stand in: a level rectangle of one colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.left_out.bars import Bar, distance
from hptl_deploy.left_out.strips import Strip
from hptl_deploy.phases import Colour
from hptl_deploy.tiling import Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEAR = 3
"""Rows from the bar to where its blurred edge has ended."""
_FLAT = 24
"""Levels from the box's colour, at most: JPEG rings beside letters."""
_LARGEST = 0.25
"""Share of the page."""
_BOX, _LETTERS, _OUTSIDE = 0.7, 0.25, 0.35
"""How much of a row or column is of the box's colour: just inside its edge at least, across
letters at least, just outside at most."""


def box_round(strip: Strip, bar: Bar) -> Region | None:
    """The box round `bar`, both in the strip's coordinates; None where it stands in none.

    Likewise where the strip does not hold all of it.
    """
    pixels, region = strip.pixels, bar.region
    height = len(pixels)
    rows = [y for y in (region.y0 - _NEAR - 1, region.y1 + _NEAR) if 0 <= y < height]
    ends = region.width // 4  # where ticks may stand
    beside = np.concatenate([pixels[y, region.x0 + ends : region.x1 - ends] for y in rows])
    red, green, blue = np.median(beside, axis=0).astype(int).tolist()
    colour = (red, green, blue)
    if (distance(beside, colour) <= _FLAT).mean() < _BOX:
        return None
    box = _grown(strip, region, colour)
    page = strip.page
    if not strip.holds(box, _NEAR) or box.height * box.width > _LARGEST * page.height * page.width:
        return None
    return box if _has_edges(pixels, box, colour) else None


def _grown(strip: Strip, bar: Region, colour: Colour) -> Region:
    """From the bar outwards as long as rows and columns hold enough of `colour`."""
    height, width = strip.pixels.shape[:2]
    reach = strip.page_height // 4
    near = Region(
        max(0, bar.y0 - reach), min(height, bar.y1 + reach),
        max(0, bar.x0 - width // 3), min(width, bar.x1 + width // 3),
    )  # fmt: skip
    here = bar.relative_to(near)
    # From where the bar's blurred edge has ended.
    rows = max(0, here.y0 - _NEAR), min(near.height, here.y1 + _NEAR)
    columns = max(0, here.x0 - _NEAR), min(near.width, here.x1 + _NEAR)
    flat = distance(strip.pixels[near.slices], colour) <= _FLAT
    for _ in range(4):  # letters beside the bar widen it, letters above make it higher
        before = rows, columns
        rows = _reach(flat[:, slice(*columns)].mean(1) >= _LETTERS, rows, near.height)
        columns = _reach(flat[slice(*rows)].mean(0) >= _LETTERS, columns, near.width)
        if (rows, columns) == before:
            break
    return Region(*rows, *columns).relative_to(Region(-near.y0, 0, -near.x0, 0))


def _reach(enough: NDArray[np.bool_], span: tuple[int, int], end: int) -> tuple[int, int]:
    """`span`, widened both ways until `enough` is false."""
    before, behind = np.flatnonzero(~enough[: span[0]]), np.flatnonzero(~enough[span[1] :])
    start = int(before[-1]) + 1 if len(before) else 0
    return start, span[1] + int(behind[0]) if len(behind) else end


def _has_edges(pixels: NDArray[np.uint8], box: Region, colour: Colour) -> bool:
    """It ends on every side along the whole side, or at the frame's border."""
    height, width = pixels.shape[:2]
    sides = []
    for inside, outside in ((box.y0 + 2, box.y0 - _NEAR), (box.y1 - 3, box.y1 + _NEAR - 1)):
        beyond = pixels[outside, box.x0 : box.x1] if 0 <= outside < height else None
        sides.append((pixels[inside, box.x0 : box.x1], beyond))
    for inside, outside in ((box.x0 + 2, box.x0 - _NEAR), (box.x1 - 3, box.x1 + _NEAR - 1)):
        beyond = pixels[box.y0 : box.y1, outside] if 0 <= outside < width else None
        sides.append((pixels[box.y0 : box.y1, inside], beyond))
    return all(
        (distance(inside, colour) <= _FLAT).mean() >= _BOX
        and (beyond is None or (distance(beyond, colour) <= _FLAT).mean() <= _OUTSIDE)
        for inside, beyond in sides
    )
