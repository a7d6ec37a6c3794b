"""Overlays of a few fields, reduced, with a scale bar below, small enough to lie in the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hptl_deploy.report.charts import round_step
from hptl_deploy.report.words import length

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDE = 1000
"""Of a picture, in pixels at most."""
_BYTES = 95_000
"""Of a picture: three of them, and what base64 adds, keep the page small."""
_QUALITIES = (88, 80, 72, 64, 55, 45)
_SIDES = (_SIDE, 800, 640)
_BAR_SHARE = 0.22
"""Of the picture's width that a scale bar may take."""
_STRIP, _TEXT = 44, 24
"""Rows below a picture for the scale bar, and the height of its letters."""
_INK = (20, 20, 20)


@dataclass(frozen=True)
class Picture:
    """One field as the page shows it."""

    what: str
    """Why this field: `most certain`, ..."""
    row: Mapping[str, Any]
    """Its row of fields.csv."""
    uri: str
    """The picture as a data URI; empty where there is none."""
    width: int
    height: int
    bar_um: float | None
    """Length of the scale bar; None where the pixel size is unknown."""
    missing: str = ""
    """Why there is no picture."""


def chosen(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """The fields of highest, median and lowest mean confidence, each with the reason."""
    known = [row for row in rows if row["mean_confidence"] is not None]
    ordered = sorted(known, key=lambda row: -row["mean_confidence"])
    if len(ordered) <= 1:
        return [("the only field", row) for row in ordered]
    found = [("the model is most certain", ordered[0])]
    if len(ordered) > 2:
        found.append(("in the middle", ordered[len(ordered) // 2]))
    return [*found, ("the model is least certain", ordered[-1])]


def pictures(
    folder: Path, rows: Sequence[Mapping[str, Any]], outputs: Mapping[str, int]
) -> list[Picture]:
    """The chosen fields' overlays among `outputs`, which lie in `folder`."""
    return [_picture(folder, what, row, outputs) for what, row in chosen(rows)]


def _picture(
    folder: Path, what: str, row: Mapping[str, Any], outputs: Mapping[str, int]
) -> Picture:
    base = row["classes_file"].removesuffix("_classes.tif")
    names = [name for kind in ("jpg", "png") if (name := f"{base}_overlay.{kind}") in outputs]
    if not names:
        return Picture(what, row, "", 0, 0, None, "no overlay was written")
    try:
        picture = _opened(folder / names[0])
    except (OSError, SyntaxError, ValueError, _bomb()) as exc:  # of a damaged file
        return Picture(what, row, "", 0, 0, None, f"{names[0]} cannot be read ({exc})")
    pixel_size = row["pixel_size_um"]
    shown_um = None if pixel_size is None else pixel_size * row["width_px"]
    content, (width, height), bar = _encoded(picture, shown_um)
    uri = "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii")
    return Picture(what, row, uri, width, height, bar)


def _bomb() -> type[Exception]:
    from PIL import Image

    return Image.DecompressionBombError


def _opened(path: Path) -> Image:
    """The overlay, at most `_SIDE` px wide and high."""
    from PIL import Image

    with Image.open(path) as picture:
        picture.draft("RGB", (_SIDE, _SIDE))  # JPEGs are unpacked at the size that is needed
        shown = picture.convert("RGB")
    shown.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return shown


def _encoded(picture: Image, width_um: float | None) -> tuple[bytes, tuple[int, int], float | None]:
    """As a JPEG of at most `_BYTES`, or the smallest there is; its size and its bar's length."""
    for side in _SIDES:
        picture.thumbnail((side, side))
        drawn, bar = _with_bar(picture, width_um)
        for quality in _QUALITIES:
            content = io.BytesIO()
            drawn.save(content, "JPEG", quality=quality, optimize=True)
            if content.tell() <= _BYTES:
                return content.getvalue(), drawn.size, bar
    return content.getvalue(), drawn.size, bar


def _with_bar(picture: Image, width_um: float | None) -> tuple[Image, float | None]:
    """`picture` above a white strip with a bar of a round length; as it is without a scale."""
    if width_um is None:
        return picture, None
    from PIL import Image, ImageDraw, ImageFont

    bar = bar_length(width_um)
    long = bar / width_um * picture.width
    drawn = Image.new("RGB", (picture.width, picture.height + _STRIP), (255, 255, 255))
    drawn.paste(picture, (0, 0))
    draw = ImageDraw.Draw(drawn)
    middle = picture.height + _STRIP / 2
    draw.rectangle((0, middle - 4, round(long) - 1, middle + 4), fill=_INK)
    font = ImageFont.load_default(_TEXT)
    # Pillow's own font has no µ: a u, whose left stem goes on below the line.
    before, micro, after = length(bar).partition("µ")
    place, base = long + 12, middle + _TEXT / 3
    draw.text((place, base), before + ("u" if micro else "") + after, _INK, font, "ls")
    if micro:
        stem = place + font.getlength(before) + _TEXT / 12
        draw.rectangle((stem, base, stem + _TEXT / 12 - 0.5, base + _TEXT / 4), fill=_INK)
    return drawn, bar


def bar_length(width_um: float) -> float:
    """A round length (1, 2 or 5 times a power of ten) of 9 to 22 % of `width_um`."""
    return round_step(width_um * _BAR_SHARE / 2.5)
