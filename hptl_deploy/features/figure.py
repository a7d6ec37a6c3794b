"""The figure: a row for every layer, its name and the micrograph on the left, its maps beside it.

conv1_2      micrograph   0        5        3
8 channels   +--------+   +-----+  +-----+  +-----+
...          |        |   | map |  | map |  | map |      line
             +--------+   +-----+  +-----+  +-----+
|<-- left -->|<- step ->|
caption, wrapped to the figure's width
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hptl_deploy.features.maps import LayerMaps

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELL = 256
"""Pixels of a map's longer side in the figure. A power of two, as the largest part and the pitches
mostly are: a map pixel is then a whole number of the figure's, or the other way round."""
WHITE = 99
"""The percentile of a map's answers, without those that are 0, that is drawn white."""

_GAP, _MARGIN, _TEXT, _NAME = 8, 24, 27, 34
_LINE = _TEXT + 8
_TITLE = "micrograph"
_BAR_NEEDS = 3 * _TEXT
"""Rows and columns of a picture that has room for a scale bar and its text."""
_INK, _PALE, _PAPER = (20, 20, 20), (95, 95, 95), (255, 255, 255)

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Shown:
    """The part of a micrograph that is shown."""

    pixels: NDArray[np.uint8]
    """[H, W, 3], RGB, filled up to the stride."""
    height: int
    """Rows of `pixels` that are the micrograph's."""
    width: int
    """Columns of `pixels` that are the micrograph's."""
    pixel_size_um: float | None


@dataclass(frozen=True)
class _Layout:
    """Where things go, in pixels of the figure; see the drawing above."""

    zoom: float
    """Pixels of the figure per micrograph pixel."""
    cell: tuple[int, int]
    """(width, height) of a map."""
    left: int
    step: int
    line: int


def draw_figure(shown: Shown, rows: Sequence[LayerMaps], caption: str) -> Image.Image:
    """The figure of `rows`, from top to bottom, with `caption` below."""
    font, name_font = ImageFont.load_default(_TEXT), ImageFont.load_default(_NAME)
    labels = [_label(row, shown.pixel_size_um) for row in rows]
    layout = _layout(shown, labels, font, name_font)
    columns = 1 + max(len(row.shown) for row in rows)
    width = layout.left + columns * layout.step - _GAP + _MARGIN
    words = list(_wrapped(caption, font, width - 2 * _MARGIN))
    below = _MARGIN + layout.line * len(rows)
    figure = Image.new("RGB", (width, below + _LINE * len(words) + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(figure)
    for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
        top = _MARGIN + number * layout.line
        draw.text((_MARGIN, top), label[0], fill=_INK, font=name_font)
        for place, text in enumerate(label[1:], start=1):
            draw.text((_MARGIN, top + place * _LINE + _GAP), text, fill=_PALE, font=font)
        for column, (title, picture) in enumerate(_cells(row, shown, layout.cell)):
            roomy = min(layout.cell) >= _BAR_NEEDS
            if number == column == 0 and roomy and shown.pixel_size_um is not None:
                _draw_bar(picture, shown.pixel_size_um / layout.zoom, font)
            x = layout.left + column * layout.step
            draw.text((x, top), title, fill=_PALE, font=font)
            figure.paste(picture, (x, top + _LINE))
    for number, text in enumerate(words):
        draw.text((_MARGIN, below + number * _LINE), text, fill=_INK, font=font)
    return figure


def _layout(
    shown: Shown, labels: Sequence[Sequence[str]], font: _Font, name_font: _Font
) -> _Layout:
    zoom = CELL / max(shown.height, shown.width)
    cell = (max(1, round(shown.width * zoom)), max(1, round(shown.height * zoom)))
    longest = max(
        max(name_font.getlength(name), *(font.getlength(text) for text in texts))
        for name, *texts in labels
    )
    beside = max(map(len, labels)) * _LINE + _GAP
    return _Layout(
        zoom,
        cell,
        left=_MARGIN + round(longest) + 2 * _GAP,
        step=max(cell[0], round(font.getlength(_TITLE))) + _GAP,
        line=max(_LINE + cell[1], beside) + 2 * _GAP,
    )


def _label(row: LayerMaps, pixel_size_um: float | None) -> list[str]:
    """What stands beside a row, line by line."""
    channels, dead, pitch = row.layer.channels, len(row.dead), float(row.pitch)
    lines = [row.layer.name, f"{channels} channels", f"map pixel {pitch:.3g} px"]
    if pixel_size_um is not None:
        lines.append(f"= {pitch * pixel_size_um:.2g} um")  # Pillow's own font has no micro sign
    if dead:
        lines.append(f"{dead} answer{'s' if dead == 1 else ''} nowhere")
    return lines


def _cells(
    row: LayerMaps, shown: Shown, cell: tuple[int, int]
) -> Iterator[tuple[str, Image.Image]]:
    """(title, picture of size `cell`): the micrograph as coarse as the maps, then the maps."""

    def fitted(picture: Image.Image, pitch: Fraction) -> Image.Image:
        # Map pixels may reach beyond the part below and to the right.
        box = (0.0, 0.0, float(shown.width / pitch), float(shown.height / pitch))
        reduces = box[2] > cell[0]
        way = Image.Resampling.BOX if reduces else Image.Resampling.NEAREST
        return picture.resize(cell, way, box)

    micrograph, pitch = Image.fromarray(shown.pixels), max(row.pitch, Fraction(1))
    coarse = (int(micrograph.width / pitch), int(micrograph.height / pitch))
    yield _TITLE, fitted(micrograph.resize(coarse, Image.Resampling.BOX), pitch)
    for channel in row.shown:
        fine = np.asarray(fitted(Image.fromarray(row.maps[channel]), row.pitch))
        yield str(channel), Image.fromarray(scaled(fine))


def scaled(map_: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Greys of a map [h, w]: black for 0, white from its `WHITE`th percentile on.

    In between by the square root, so that weak answers can be told from none.
    """
    above = map_[map_ > 0]
    white = np.percentile(above, WHITE) if above.size else 1.0
    greys: NDArray[np.uint8] = np.rint(np.sqrt(np.clip(map_ / white, 0, 1)) * 255).astype(np.uint8)
    return greys


def _draw_bar(picture: Image.Image, pixel_size_um: float, font: _Font) -> None:
    """A scale bar of 1, 2 or 5 times a power of ten micrometres, at the lower right."""
    longest = picture.width / 2 * pixel_size_um
    power = 10.0 ** math.floor(math.log10(longest))
    length = max(power * times for times in (1, 2, 5) if power * times <= longest)
    draw = ImageDraw.Draw(picture)
    right, bottom = picture.width - _GAP, picture.height - _GAP
    box = (right - length / pixel_size_um, bottom - _GAP, right, bottom)
    draw.rectangle(box, fill=_PAPER, outline=_INK)
    text = f"{length:g} um"  # Pillow's own font has no micro sign
    place = (right, bottom - 1.5 * _GAP)
    draw.text(place, text, _PAPER, font, anchor="rs", stroke_width=2, stroke_fill=_INK)


def _wrapped(text: str, font: _Font, width: float) -> Iterator[str]:
    """The lines of `text`, at most `width` pixels each where its words allow."""
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            yield line
            longer = word
        line = longer
    yield line
