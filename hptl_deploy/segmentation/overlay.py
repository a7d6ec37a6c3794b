"""The micrograph with its phases drawn on it: a light fill and a crisp outline.

The matrix (index 0) is left as it is. The fill is light enough for the particle below to
stay visible; the outline lies on the phase's own border pixels, in its full colour. Large
frames get a second, half transparent line inside it. Left-out pixels (255) are faded and hatched.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy.micrographs.jpeg import exif_of
from hptl_deploy.phases import IGNORE, Phase, palette

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUALITY = 90
_FILL = 0.3
_SECOND_LINE = 0.6
# An outline of one pixel vanishes where a whole frame is shown on a screen.
_WIDE_FROM = 1600
JPEG_LIMIT = 65535
"""Pixels in a row or column of a JPEG, at most."""
_ROWS = 256
_FADED = 200
"""The grey towards which left-out pixels go half the way."""
_HATCH_PERIOD, _HATCH_LINE = 12, 3
"""Columns from one slanted line of the hatching to the next, and of the line itself."""


def write_overlay(
    path: Path,
    pixels: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    phases: Sequence[Phase],
    kind: str,
    description: dict[str, Any],
) -> None:
    """Draw `classes` [H, W] on `pixels` [H, W, 3] and write it as `kind`, `jpg` or `png`.

    A frame beyond JPEG's limit is reduced by the least integer factor. Raises OSError.
    """
    from PIL import Image

    factor = -(-max(classes.shape) // JPEG_LIMIT) if kind == "jpg" else 1
    if factor > 1:
        pixels, classes = pixels[::factor, ::factor], classes[::factor, ::factor]
    picture = Image.fromarray(draw(pixels, classes, phases))
    size = description["pixel_size_um"]
    if kind == "jpg":
        # JPEG's own density field ends at 65535 per cm, so the pixel size goes into EXIF.
        exif = exif_of(description["software"], None if size is None else size * factor)
        exif[0x010E] = json.dumps(description)
        # Full chroma resolution: halved, a red outline bleeds into its neighbours.
        picture.save(path, "JPEG", quality=QUALITY, subsampling=0, exif=exif)
    else:
        picture.save(path, "PNG", compress_level=3, **_png(description, size))


def draw(
    pixels: NDArray[np.uint8], classes: NDArray[np.uint8], phases: Sequence[Phase]
) -> NDArray[np.uint8]:
    """The overlay as uint8 [H, W, 3], of `pixels` [H, W, 3] and `classes` [H, W]."""
    height, width = classes.shape
    thickness = 1 if max(height, width) < _WIDE_FROM else 2
    colours = palette(phases)
    fills, seconds = (
        _tables(colours, len(phases), _FILL),
        _tables(colours, len(phases), _SECOND_LINE),
    )
    drawn = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _ROWS):  # pieces that stay in the processor's cache
        bottom = min(top + _ROWS, height)
        above, below = max(0, top - thickness), min(height, bottom + thickness)
        piece, out = classes[top:bottom], drawn[top:bottom]
        rings = [
            _near_border(classes[above:below], distance)[top - above : bottom - above]
            for distance in range(1, thickness + 1)
        ]
        out[:] = pixels[top:bottom]
        for index in range(1, len(phases)):
            inside = piece == index
            if not inside.any():
                continue
            _apply(fills[index], out, inside & ~rings[-1])
            if thickness > 1:
                _apply(seconds[index], out, inside & rings[-1] & ~rings[0])
            out[inside & rings[0]] = colours[index]
        _hatch(out, piece == IGNORE, top)
    return drawn


def _hatch(out: NDArray[np.uint8], where: NDArray[np.bool_], top: int) -> None:
    """Fade and hatch `out` [H, W, 3] in place; its first row is row `top` of the picture.

    What lies below stays visible, so that one sees what was left out.
    """
    if not where.any():
        return
    height, width = where.shape
    slant = np.arange(top, top + height)[:, None] + np.arange(width)
    slant %= _HATCH_PERIOD
    out[where] = out[where] // 2 + _FADED // 2
    out[where & (slant < _HATCH_LINE)] = 255
    out[where & (slant == 0)] = 0  # beside white, so that the line is seen on any grey


def _tables(colours: NDArray[np.uint8], count: int, share: float) -> NDArray[np.uint8]:
    """What level v of channel c becomes under `share` of phase k's colour: [K, 256, 3]."""
    levels = np.arange(256, dtype=np.float32)[None, :, None]
    mixed = levels * (1 - share) + colours[:count, None, :] * share
    return (mixed + 0.5).astype(np.uint8)


def _apply(table: NDArray[np.uint8], out: NDArray[np.uint8], where: NDArray[np.bool_]) -> None:
    """Look the levels of `out` [H, W, 3] up in `table` [256, 3], `where` [H, W] says so."""
    out[where] = table[out[where], np.arange(3)]


def _near_border(classes: NDArray[np.uint8], distance: int) -> NDArray[np.bool_]:
    """Pixels [H, W] within `distance` of a pixel of another class, in rows or columns."""
    near = np.zeros(classes.shape, bool)
    for step in range(1, distance + 1):
        vertical = classes[step:] != classes[:-step]
        near[step:] |= vertical
        near[:-step] |= vertical
        horizontal = classes[:, step:] != classes[:, :-step]
        near[:, step:] |= horizontal
        near[:, :-step] |= horizontal
    return near


def _png(description: dict[str, Any], pixel_size_um: float | None) -> dict[str, Any]:
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("Description", json.dumps(description))
    text.add_text("Software", description["software"])
    if pixel_size_um is None:
        return {"pnginfo": text}
    per_inch = 25400 / pixel_size_um
    return {"pnginfo": text, "dpi": (per_inch, per_inch)}


def reduced_picture(rows: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Means of squares of `factor` pixels: uint8 [H, W, 3] -> [ceil(H / factor), ...].

    Squares at the border are filled up by repeating its pixels.
    """
    if factor == 1:
        return np.ascontiguousarray(rows)
    height, width, colours = rows.shape
    down, across = -(-height // factor), -(-width // factor)
    reduced = np.empty((down, across, colours), np.uint8)
    for row in range(down):  # row by row: a band widened to sums would take many times its memory
        strip = rows[row * factor : (row + 1) * factor]
        missing = ((0, factor - len(strip)), (0, across * factor - width), (0, 0))
        strip = np.pad(strip, missing, mode="edge")
        # [factor, across * factor, 3] -> [factor, across, factor, 3] -> [across, 3]
        squares = strip.reshape(factor, across, factor, colours).mean((0, 2))
        reduced[row] = np.round(squares).astype(np.uint8)
    return reduced
