"""The words beside a bar: letters of its colour that stand in a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from hptl_deploy.left_out.bars import BEYOND, Bar, with_ticks
from hptl_deploy.left_out.strips import Strip
from hptl_deploy.tiling import Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TALLEST = 0.1
"""A letter's height as a share of the page's shorter side."""
_SMALLEST = 4
"""Of a letter, px."""
_MOST_LETTERS = 16
_GREY, _VIVID = (0.9, 0.75, 0.5), (0.9, 0.5, 0.3)
"""Shares of ink: of nothing but ink, of what any letter has somewhere, and of what is more letter
than ground. JPEG often halves the resolution of colours, and a thin letter pales; but no particle
is vivid."""
_HIGHER = 1.8
"""How much higher a line may be than what is known of it: capitals by small letters are 1.4."""
_ASIDE = 0.3
"""How far a pixel may lie from the way between ground and ink, as a share of its length."""


def text_beside(strip: Strip, bar: Bar, *, crowded: bool) -> Region | None:
    """The rectangle of the letters above, below or beside `bar`; None where there are none.

    Both are in the strip's coordinates; `crowded` where the page holds much else of that colour.
    What the strip's inner edge may cut is no letter.
    """
    near, tallest = neighbourhood(strip, bar), _tallest(strip)
    back = Region(-near.y0, 0, -near.x0, 0)
    at = with_ticks(strip.pixels, bar).relative_to(near)
    share = ink_share(strip.pixels[near.slices], bar)
    share[_around(at, BEYOND, BEYOND, near.height, near.width).slices] = 0
    pure, most, least = (share >= limit for limit in (_VIVID if bar.vivid else _GREY))
    words: Region | None = None
    # Letters that touch particles of nearly their colour part from them where only pure ones count.
    for ink in (pure, most) if crowded else (pure, most, least):
        letters = _letters(ink, most, tallest)
        uncut = [one for one in letters if strip.holds(one.relative_to(back), 1)]
        words = _with_lines(words, [line for line in _lines(uncut) if _belongs(line, at)])
    return None if words is None else words.relative_to(back)


def neighbourhood(strip: Strip, bar: Bar) -> Region:
    """Where words of `bar` are looked for; all is in the strip's coordinates."""
    tall, (height, width) = _tallest(strip), strip.pixels.shape[:2]
    columns = max(4 * tall, bar.region.width // 2)
    return _around(bar.region, 2 * tall, columns, height, width)


def _tallest(strip: Strip) -> int:
    """Pixels of a letter's height, at most."""
    return int(_TALLEST * min(strip.page.shape)) + _SMALLEST


def _with_lines(words: Region | None, lines: list[Region]) -> Region | None:
    """`words`, from purer ink, and what `lines` add; all lines where there are no words yet.

    Only what goes on at their ends is added: a line that is no more than higher is the same one
    with a particle that touches a letter, and one elsewhere may be all particles.
    """
    if words is None:
        return round_all(lines) if lines else None
    for line in lines:
        shared = min(line.y1, words.y1) - max(line.y0, words.y0)
        longer = max(words.x0 - line.x0, line.x1 - words.x1)
        in_line = 2 * shared >= min(line.height, words.height)
        if in_line and 2 * longer > words.height and line.height <= _HIGHER * words.height:
            words = round_all([words, line])
    return words


def ink_share(pixels: NDArray[np.uint8], bar: Bar) -> NDArray[np.float32]:
    """How far each pixel lies on the way from the bar's ground to its colour: [H, W, 3] -> [H, W].

    0 for what lies beside that way: a dark particle is none of the way from grey to red.
    """
    share = np.zeros(pixels.shape[:2], np.float32)
    square = np.zeros_like(share)
    way = [one - other for one, other in zip(bar.colour, bar.ground, strict=True)]
    length = np.float32(sum(part * part for part in way))
    for channel, part in enumerate(way):
        there = pixels[..., channel].astype(np.float32)
        there -= np.float32(bar.ground[channel])
        share += there * np.float32(part / length)
        square += there * there
    # By Pythagoras: what is left of the distance from the ground lies beside the way.
    share[square - share * share * length > _ASIDE**2 * length] = 0
    return share


def _around(region: Region, rows: int, columns: int, height: int, width: int) -> Region:
    return Region(
        max(0, region.y0 - rows),
        min(height, region.y1 + rows),
        max(0, region.x0 - columns),
        min(width, region.x1 + columns),
    )


def _letters(ink: NDArray[np.bool_], pure: NDArray[np.bool_], tallest: int) -> list[Region]:
    """Pieces of `ink` that could be letters: not too large, not too small, somewhere `pure`."""
    numbered, count = ndimage.label(ink, np.ones((3, 3), bool))
    if count == 0:
        return []
    with_pure = np.zeros(count + 1, bool)
    with_pure[numbered[pure]] = True
    with_pure[0] = False
    letters = []
    for number, place in enumerate(ndimage.find_objects(numbered), 1):
        rows, columns = place
        tall, wide = rows.stop - rows.start, columns.stop - columns.start
        if with_pure[number] and _SMALLEST <= tall <= tallest and wide <= 4 * tall:
            letters.append(Region(rows.start, rows.stop, columns.start, columns.stop))
    return letters


def _lines(letters: list[Region]) -> list[Region]:
    """Rectangles round two or more letters of like height that stand side by side."""
    lines: list[list[Region]] = []
    for letter in sorted(letters, key=lambda one: one.x0):
        for line in lines:
            if _follows(line, letter):
                line.append(letter)
                break
        else:
            lines.append([letter])
    return [round_all(line) for line in lines if 1 < len(line) <= _MOST_LETTERS]


def _follows(line: list[Region], letter: Region) -> bool:
    last = line[-1]
    tall, small = max(last.height, letter.height), min(last.height, letter.height)
    shared = min(last.y1, letter.y1) - max(last.y0, letter.y0)
    return (
        tall <= 2.5 * small
        and shared >= 0.5 * small
        and letter.x0 - last.x1 <= 1.6 * tall
        and round_all([*line, letter]).height <= 1.7 * max(one.height for one in (*line, letter))
    )


def _belongs(line: Region, bar: Region) -> bool:
    """Above, below or beside the bar, no farther than a line's height or two, and not all over."""
    down = max(line.y0 - bar.y1, bar.y0 - line.y1)
    across = max(line.x0 - bar.x1, bar.x0 - line.x1)
    if line.width > max(1.5 * bar.width, 8 * line.height):
        return False
    if across >= 0:
        return down <= 0 and across <= 2 * line.height
    wide, narrow = (bar, line) if bar.width > line.width else (line, bar)
    within = wide.x0 - narrow.x0 <= line.height and narrow.x1 - wide.x1 <= line.height
    return within and down <= 1.2 * line.height


def round_all(regions: Sequence[Region]) -> Region:
    """The rectangle round all of them."""
    return Region(
        min(one.y0 for one in regions),
        max(one.y1 for one in regions),
        min(one.x0 for one in regions),
        max(one.x1 for one in regions),
    )
