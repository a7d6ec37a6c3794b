"""Pages with a scale bar drawn on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont


def with_bar(
    pixels: NDArray[np.uint8], bottom: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A white bar with its text at the right, and what both cover.

    It ends 25 rows above row `bottom`, which is the last one where it is not given.
    """
    ink = Image.new("L", pixels.shape[1::-1])
    draw = ImageDraw.Draw(ink)
    width, bottom = pixels.shape[1], pixels.shape[0] if bottom is None else bottom
    draw.rectangle((width - 150, bottom - 30, width - 31, bottom - 25), fill=255)
    draw.text((width - 120, bottom - 60), "20 um", fill=255, font=ImageFont.load_default(24))
    covered = np.asarray(ink) > 0
    printed = pixels.copy()
    printed[covered] = np.asarray(ink)[covered, None]
    return printed, covered
