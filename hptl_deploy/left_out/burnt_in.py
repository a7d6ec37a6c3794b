"""What microscope software has printed into a micrograph: scale bars and info bands.

Each step is conservative, since a particle that is taken for print is lost to the measurement:

1. a band is flat, as wide as the frame, and ends level within a few rows all along;
2. a bar is of one colour, straight, level and cut off (`bars`);
3. it is a scale bar where it stands in an opaque box (`boxes`), or beside words of its own
   colour (`text`): a needle that happens to be as straight has neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.left_out.bands import info_bands
from hptl_deploy.left_out.bars import Bar, distance, find_bars, with_ticks
from hptl_deploy.left_out.boxes import box_round
from hptl_deploy.left_out.given import overlap
from hptl_deploy.left_out.marking import BurntIn
from hptl_deploy.left_out.text import neighbourhood, round_all, text_beside
from hptl_deploy.tiling import Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALE_BAR, INFO_BAND = "scale bar", "info band"
MARGIN = 8
"""Pixels round what was found: JPEG's rings end within a block of 8, and so do blurred edges."""
_ALONE, _ALONE_THIN = 0.08, 0.1
"""Shares of the frame's width from which an exact bar needs nothing beside it: one of 3 px or
more, and a thinner one."""
_EVERY = 4
"""Every fourth row and column is looked at where a colour's share is wanted."""
_MOST_ELSEWHERE, _MOST_OF_FRAME = 4.0, 0.001
"""Pixels of a bar's colour that are not near it, at most: by those of the bar, and of the frame."""


def find_burnt_in(pixels: NDArray[np.uint8]) -> tuple[BurntIn, ...]:
    """Info bands, then scale bars, of the frame `pixels`, uint8 [H, W, 3], with their margins."""
    height, width = pixels.shape[:2]
    frame = Region(0, height, 0, width)
    bands = info_bands(pixels)
    found: list[Region] = []
    # The longest first: the foot of a 1 is a bar, too. What is in a box needs no words.
    bars = sorted(find_bars(pixels), key=lambda bar: -bar.region.width)
    for part_of in (box_round, _with_words):
        for bar in bars:
            if not any(overlap(bar.region, known) == bar.region for known in (*bands, *found)):
                beside = part_of(pixels, bar)
                if beside is not None:
                    whole = round_all([with_ticks(pixels, bar), beside])
                    found.append(_with_margin(whole, frame))
    return (
        *(BurntIn(INFO_BAND, _with_margin(band, frame)) for band in bands),
        *(BurntIn(SCALE_BAR, region) for region in _joined(found)),
    )


def _with_words(pixels: NDArray[np.uint8], bar: Bar) -> Region | None:
    """The words beside `bar`; itself where it needs none, None where it is none without them."""
    rare = _is_rare(pixels, bar)
    words = text_beside(pixels, bar, crowded=not rare) if rare or bar.exact else None
    share = bar.region.width / pixels.shape[1]
    alone = bar.exact and share >= (_ALONE if bar.region.height >= 3 else _ALONE_THIN)
    return bar.region if words is None and alone else words


def _is_rare(pixels: NDArray[np.uint8], bar: Bar) -> bool:
    """Its colour is found nowhere but near it: particles are many, and all over the frame."""
    near = neighbourhood(pixels.shape, bar)
    everywhere, here = (
        np.count_nonzero(distance(part[::_EVERY, ::_EVERY], bar.colour) <= bar.tolerance // 2)
        for part in (pixels, pixels[near.slices])
    )
    elsewhere = int(everywhere - here) * _EVERY * _EVERY
    frame, height, width = pixels[..., 0].size, bar.region.height, bar.region.width
    return elsewhere <= max(_MOST_ELSEWHERE * height * width, _MOST_OF_FRAME * frame)


def _with_margin(region: Region, frame: Region) -> Region:
    wider = Region(region.y0 - MARGIN, region.y1 + MARGIN, region.x0 - MARGIN, region.x1 + MARGIN)
    return overlap(wider, frame) or region


def _joined(regions: Sequence[Region]) -> list[Region]:
    """Those that overlap as one, from top to bottom: a bar may be in two parts."""
    joined: list[Region] = []
    for region in sorted(regions, key=lambda one: (one.y0, one.x0)):
        for place, known in enumerate(joined):
            if overlap(region, known):
                joined[place] = round_all([region, known])
                break
        else:
            joined.append(region)
    return joined
