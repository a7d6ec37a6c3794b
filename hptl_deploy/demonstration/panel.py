"""One picture of several frames: micrograph, truth and what was found, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hptl_deploy.phases import IGNORE, Phase, palette
from hptl_deploy.windows import window_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

DETAIL = (400, 600)
"""Rows and columns of the part that is shown, at most; one pixel is one pixel."""

_STEP = 40
_GAP, _MARGIN, _TEXT = 12, 16, 20
_COLUMNS = ("micrograph (detail)", "true phases", "found by the model")
_INK, _PAPER = (30, 30, 30), (255, 255, 255)


@dataclass(frozen=True)
class Row:
    """A frame of the panel."""

    caption: str
    pixels: NDArray[np.uint8]
    """[H, W, 3], RGB."""
    truth: NDArray[np.uint8]
    """Class indices [H, W]."""
    found: NDArray[np.uint8]
    """Class indices [H, W]."""


def draw_panel(rows: Sequence[Row], phases: Sequence[Phase]) -> Image.Image:
    """The panel: a line of three pictures per row, headings above, the colours' key below.

    Each frame shows the part of it where the phases are most evenly present.
    """
    colours = palette(phases)
    parts = [(row.caption, *_triple(row, len(phases), colours)) for row in rows]
    height = max(part[1].shape[0] for part in parts)
    width = max(part[1].shape[1] for part in parts)
    line = 2 * _TEXT
    panel = Image.new(
        "RGB",
        (
            2 * _MARGIN + 3 * width + 2 * _GAP,
            2 * _MARGIN + line + len(parts) * (height + line) + line,
        ),
        _PAPER,
    )
    draw = ImageDraw.Draw(panel)
    font = ImageFont.load_default(_TEXT)
    for column, title in enumerate(_COLUMNS):
        draw.text((_MARGIN + column * (width + _GAP), _MARGIN), title, fill=_INK, font=font)
    top = _MARGIN + line
    for caption, *pictures in parts:
        for column, picture in enumerate(pictures):
            panel.paste(Image.fromarray(picture), (_MARGIN + column * (width + _GAP), top))
        draw.text((_MARGIN, top + height + 6), caption, fill=_INK, font=font)
        top += height + line
    left = float(_MARGIN)
    key = [(phase.name, phase.colour) for phase in phases]
    if any((row.found == IGNORE).any() for row in rows):
        key.append(("left out", tuple(colours[IGNORE].tolist())))
    for name, colour in key:
        draw.rectangle((left, top + 6, left + _TEXT, top + 6 + _TEXT), fill=colour)
        draw.text((left + 1.5 * _TEXT, top + 4), name, fill=_INK, font=font)
        left += 3 * _TEXT + font.getlength(name)
    return panel


def _triple(
    row: Row, phases: int, colours: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    part = richest_part(row.truth, phases)
    return row.pixels[part], colours[row.truth[part]], colours[row.found[part]]


def richest_part(truth: NDArray[np.uint8], phases: int) -> tuple[slice, slice]:
    """Where the rarest of the phases of `truth` [H, W] covers most: rows and columns."""
    height, width = truth.shape
    rows, columns = min(DETAIL[0], height), min(DETAIL[1], width)
    second = [index for index in range(1, phases) if (truth == index).any()]
    if not second:
        return slice(0, rows), slice(0, columns)
    covered = np.min([window_sums(truth == index, rows, columns) for index in second], axis=0)
    # Of equals, the uppermost, then leftmost.
    tops_lefts = covered[::_STEP, ::_STEP]
    found = np.unravel_index(int(tops_lefts.argmax()), tops_lefts.shape)
    top, left = (int(place) * _STEP for place in found)
    return slice(top, top + rows), slice(left, left + columns)
