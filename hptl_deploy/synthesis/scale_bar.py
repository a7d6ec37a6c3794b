"""The scale bar and its text, burnt into the micrograph as microscope software does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hptl_deploy.synthesis.fields import chance, uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LENGTHS_UM = (1, 2, 5, 10, 20, 50, 100, 200)
_SMALLEST_FRAME = 160
"""Pixels of the shorter side below which no bar is drawn: it would cover the micrograph."""


def burn_in(
    rng: np.random.Generator, pixels: NDArray[np.uint8], pixel_size_um: float
) -> NDArray[np.bool_]:
    """Draw a bar into `pixels`, uint8 [H, W, 3], in place; returns what it covers, bool [H, W].

    Nine frames in ten get one: mostly black at the lower right, else white, or on a box.
    It is as long as its text says to within half a pixel.
    """
    height, width = pixels.shape[:2]
    covered = np.zeros((height, width), bool)
    if min(height, width) < _SMALLEST_FRAME or chance(rng, 0.1):
        return covered
    # Never wider than a third of the frame, about a tenth of a large one.
    wanted_px = min(uniform(rng, 110, 420), 0.33 * width)
    length_um = _length_um(wanted_px * pixel_size_um)
    length = round(length_um / pixel_size_um)
    text_px = round(min(uniform(rng, 28, 74), 0.09 * height))
    font = ImageFont.load_default(text_px)
    text = f"{length_um} um"  # Pillow's own font has no micro sign
    thick = int(rng.integers(3, 15))
    box = font.getbbox(text)
    block_width = max(length, round(box[2]))
    gap = int(rng.integers(4, 12))
    block_height = round(box[3]) + thick + gap
    margin = round(min(uniform(rng, 15, 60), 0.04 * width))
    right, bottom = chance(rng, 0.8), chance(rng, 0.9)
    left = width - margin - block_width if right else margin
    top = height - margin - block_height if bottom else margin

    ink = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(ink)
    text_first = chance(rng, 0.6)
    text_top = top if text_first else top + thick + gap
    bar_top = top + block_height - thick if text_first else top
    middle = left + block_width / 2
    draw.text((middle - box[2] / 2, text_top), text, fill=255, font=font)
    start = round(middle - length / 2)
    draw.rectangle((start, bar_top, start + length - 1, bar_top + thick - 1), fill=255)
    if chance(rng, 0.25):  # ticks at both ends
        for x in (start, start + length - 3):
            draw.rectangle((x, bar_top - 3, x + 2, bar_top + thick + 2), fill=255)

    style = rng.choice(["black", "white", "boxed"], p=[0.7, 0.15, 0.15])
    if style == "boxed":
        edge = 12
        region = (
            slice(max(0, top - edge), top + block_height + edge),
            slice(max(0, left - edge), left + block_width + edge),
        )
        pixels[region] = 255
        covered[region] = True
    return covered | _printed(pixels, ink, 255 if style == "white" else 0)


def _length_um(longest_um: float) -> int:
    """The longest usual length up to `longest_um`, or the shortest there is."""
    return max((um for um in _LENGTHS_UM if um <= longest_um), default=_LENGTHS_UM[0])


def _printed(pixels: NDArray[np.uint8], ink: Image.Image, level: int) -> NDArray[np.bool_]:
    """Mix `level` into `pixels` [H, W, 3] by the share of `ink`, in place; where, bool [H, W]."""
    share = np.asarray(ink, np.float32)[..., None] / 255
    touched = share[..., 0] > 0
    mixed = (1 - share[touched]) * pixels[touched] + share[touched] * level
    pixels[touched] = np.rint(mixed).astype(np.uint8)
    return touched
