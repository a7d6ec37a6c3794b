"""What microscope software has printed into a micrograph: scale bars and info bands.

Each step is conservative, since a particle that is taken for print is lost to the measurement:

1. a band is flat, as wide as the frame, and ends level within a few rows all along;
2. a bar is of one colour, straight, level and cut off (`bars`);
3. it is a scale bar where it stands in an opaque box (`boxes`), or beside words of its own
   colour (`text`): a needle that happens to be as straight has neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.left_out.bands import info_bands
from hptl_deploy.left_out.bars import Bar, distance, find_bars, with_ticks
from hptl_deploy.left_out.boxes import box_round
from hptl_deploy.left_out.marking import BurntIn, Searched
from hptl_deploy.left_out.strips import (
    EVERY,
    Strip,
    looked_at,
    looked_at_in,
    strip_rows,
    strips_of,
)
from hptl_deploy.left_out.text import neighbourhood, round_all, text_beside
from hptl_deploy.phases import Colour
from hptl_deploy.tiling import Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALE_BAR, INFO_BAND = "scale bar", "info band"
MARGIN = 8
"""Pixels round what was found: JPEG's rings end within a block of 8, and so do blurred edges."""
_ALONE, _ALONE_THIN = 0.08, 0.1
"""Shares of the page's width from which an exact bar needs nothing beside it: one of 3 px or
more, and a thinner one."""
_MOST_BARS = 16
"""A print has one or two; what has hundreds is made of them."""
_MOST_ELSEWHERE, _MOST_OF_PAGE, _MOST_OF_THIN = 4, 0.001, 20
"""Pixels of a bar's colour that are not near it, at most: by those of the bar; or by those of the
page, up to the last by those of the bar, since a thin bar has few."""


def find_burnt_in(pixels: NDArray[np.uint8]) -> tuple[BurntIn, ...]:
    """Info bands, then scale bars, of the page `pixels`, uint8 [H, W, 3], with their margins."""
    height = len(pixels)
    return _found((Strip(pixels, 0, height),), lambda: [pixels[::EVERY, ::EVERY]])


def search_strips(
    read: Callable[[int, int], NDArray[np.uint8]], height: int, width: int, most: int
) -> Searched:
    """As `find_burnt_in`, of a page of `height` x `width` px in no more than `most` of them.

    `read(y0, y1)` gives rows of the page, uint8 [y1 - y0, W, 3]. The page is read once more where
    something may be a bar, piece by piece. Raises what `read` raises.
    """
    rows = strip_rows(height, width, most)
    found = _found(strips_of(read, height, rows), lambda: looked_at(read, height))
    return Searched(found, rows if rows < height else None)


def _found(
    strips: Sequence[Strip], pieces: Callable[[], Iterable[NDArray[np.uint8]]]
) -> tuple[BurntIn, ...]:
    """In the page's coordinates; `pieces` gives every fourth row and column of all of it."""
    page = strips[0].on_page(strips[0].page)
    bands = info_bands(strips)
    found: list[Region] = []
    # The longest first: the foot of a 1 is a bar, too. What is in a box needs no words.
    bars = [(strip, bar) for strip in strips for bar in find_bars(strip)]
    bars.sort(key=lambda one: -one[1].region.width)
    if len(bars) > _MOST_BARS:
        bars = []
    rare = _Rarity([bar for _, bar in bars], pieces)
    for part_of in (box_round, partial(_with_words, rare=rare)):
        for strip, bar in bars:
            place = strip.on_page(bar.region)
            if not any(place.shared_with(known) == place for known in (*bands, *found)):
                beside = part_of(strip, bar)
                if beside is not None:
                    whole = round_all([with_ticks(strip.pixels, bar), beside])
                    if strip.holds(whole, 1):
                        found.append(_with_margin(strip.on_page(whole), page))
    return (
        *(BurntIn(INFO_BAND, _with_margin(band, page)) for band in bands),
        *(BurntIn(SCALE_BAR, region) for region in _joined(found)),
    )


def _with_words(strip: Strip, bar: Bar, *, rare: _Rarity) -> Region | None:
    """The words beside `bar`; itself where it needs none, None where it is none without them."""
    is_rare = rare.of(strip, bar)
    words = text_beside(strip, bar, crowded=not is_rare) if is_rare or bar.exact else None
    share = bar.region.width / strip.page.width
    alone = bar.exact and share >= (_ALONE if bar.region.height >= 3 else _ALONE_THIN)
    return bar.region if words is None and alone else words


class _Rarity:
    """Whether a bar's colour is found nowhere but near it: particles are all over a page."""

    def __init__(
        self, bars: Sequence[Bar], pieces: Callable[[], Iterable[NDArray[np.uint8]]]
    ) -> None:
        """`pieces` is called once at most, since a page may have to be read for it."""
        self._like = dict.fromkeys(((bar.colour, bar.tolerance // 2) for bar in bars), 0)
        self._pieces, self._counted = pieces, False

    def of(self, strip: Strip, bar: Bar) -> bool:
        """Of one of the bars, in its strip."""
        if not self._counted:
            for piece in self._pieces():
                for colour, levels in self._like:
                    self._like[colour, levels] += _near(piece, colour, levels)
            self._counted = True
        levels = bar.tolerance // 2
        here = looked_at_in(strip, neighbourhood(strip, bar))
        elsewhere = (self._like[bar.colour, levels] - _near(here, bar.colour, levels)) * EVERY**2
        area, page = bar.region.height * bar.region.width, strip.page.height * strip.page.width
        most = max(_MOST_ELSEWHERE * area, min(_MOST_OF_PAGE * page, _MOST_OF_THIN * area))
        return bool(elsewhere <= most)


def _near(pixels: NDArray[np.uint8], colour: Colour, levels: int) -> int:
    """How many of them are within `levels` of `colour`."""
    return int(np.count_nonzero(distance(pixels, colour) <= levels))


def _with_margin(region: Region, page: Region) -> Region:
    wider = Region(region.y0 - MARGIN, region.y1 + MARGIN, region.x0 - MARGIN, region.x1 + MARGIN)
    return wider.shared_with(page) or region


def _joined(regions: Sequence[Region]) -> list[Region]:
    """Those that overlap as one, from top to bottom: a bar may be in two parts."""
    joined: list[Region] = []
    for region in sorted(regions, key=lambda one: (one.y0, one.x0)):
        for place, known in enumerate(joined):
            if region.shared_with(known):
                joined[place] = round_all([region, known])
                break
        else:
            joined.append(region)
    return joined
