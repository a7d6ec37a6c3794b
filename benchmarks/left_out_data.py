"""Micrographs with a scale bar or an info band drawn on them, in many layouts, and what it covers.

Not the generator of `hptl-deploy synth`: other typefaces, places, colours and sizes, so that what
finds bars is measured on bars it was not made with.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hptl_deploy.synthesis.frame import BareFrame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
INKS = {
    "black": BLACK,
    "white": WHITE,
    "red": (255, 0, 0),
    "yellow": (255, 255, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
}
FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf",
         "STIXGeneral.ttf", "STIXGeneralBol.ttf")  # fmt: skip
TEXTS = ("10 µm", "20 µm", "50um", "100 µm", "5 µm", "0.5 mm", "2 µm", "500 nm", "1 mm")
TICKS = ("none", "ends", "tall ends")
PLACES = ("above", "below", "beside")
CORNERS = ("lower right", "lower left", "upper right", "upper left", "lower middle")
RESIZED = (1.0, 1.0, 0.8, 0.5)
"""Factors; where it is not 1, the bar is blurred as the micrograph is."""


@dataclass(frozen=True)
class Annotated:
    """A micrograph as it would come from a microscope's software."""

    pixels: NDArray[np.uint8]
    """[H, W, 3], RGB."""
    labels: NDArray[np.uint8]
    """[H, W]: class indices of what is below, as if nothing were printed on it."""
    ink: NDArray[np.bool_]
    """[H, W]: bar, text and box, or all of the band."""
    layout: dict[str, Any]


def font(name: str, size: int) -> Font:
    """One of matplotlib's typefaces, which are the same on every machine."""
    import matplotlib

    folder = Path(matplotlib.__file__).parent / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / name), size)


def draw_layout(rng: np.random.Generator, width: int) -> dict[str, Any]:
    """How a bar is to look on a frame of `width` px."""
    boxed = rng.random() < 0.35
    ink = str(rng.choice(["black", "white"] if boxed else list(INKS)))
    return {
        "ink": ink,
        "box": {"black": "white", "white": "black"}[ink] if boxed else "none",
        "ticks": str(rng.choice(TICKS)),
        "place": str(rng.choice(PLACES)),
        "corner": str(rng.choice(CORNERS)),
        "length": int(rng.uniform(0.1, 0.4) * width),
        "thick": max(2, int(rng.uniform(0.002, 0.012) * width)),
        "font": str(rng.choice(FONTS)),
        "size": max(14, int(rng.uniform(0.018, 0.05) * width)),
        "text": str(rng.choice(TEXTS)),
        "gap": int(rng.integers(3, 16)),
        "margin": int(rng.uniform(0.01, 0.04) * width),
        "grey": bool(rng.random() < 0.3),
        "resized": float(rng.choice(RESIZED)),
        "jpeg": int(rng.choice([0, 75, 80, 85, 90, 95])),
        "subsampling": int(rng.choice([0, 2])),
    }


def draw_camera_layout(rng: np.random.Generator) -> dict[str, Any]:
    """On a camera's frame of 2560 x 1920 px: bars of 4 to 18 % of the width, thin ones as well."""
    boxed = rng.random() < 0.2
    inks = ["black", "white"] if boxed else [*6 * ["black"], "white", "red", "yellow"]
    ink = str(rng.choice(inks))
    return {
        "ink": ink,
        "box": {"black": "white", "white": "black"}[ink] if boxed else "none",
        "ticks": str(rng.choice(["none", *TICKS])),
        "place": str(rng.choice(PLACES)),
        "corner": str(rng.choice([*4 * ["lower right"], "lower left"])),
        "length": int(rng.choice([114, 150, 180, 227, 228, 229, 285, 342, 456])),
        "thick": int(rng.choice([2, 3, 4, 5, 6, 8, 10, 12, 16, 20])),
        "font": str(rng.choice(FONTS)),
        "size": int(rng.integers(36, 90)),
        "text": str(rng.choice(["20 um", "20 µm", "20um", "10 µm", "50 µm"])),
        "gap": int(rng.integers(4, 24)),
        "margin": int(rng.integers(20, 60)),
        "grey": bool(rng.random() < 0.3),
        "resized": 1.0,
        "jpeg": int(rng.choice([0, 75, 85, 90, 95])),
        "subsampling": int(rng.choice([0, 2])),
    }


def printed(bare: BareFrame, layout: dict[str, Any]) -> Annotated:
    """`bare` with a scale bar of this `layout`."""
    height, width = bare.labels.shape
    pixels = bare.pixels
    if layout["grey"]:
        pixels = np.repeat(pixels.mean(-1, keepdims=True).astype(np.uint8), 3, -1)
    ink, box = _bar(height, width, layout)
    picture = Image.fromarray(pixels)
    if layout["box"] != "none":
        picture.paste(INKS[layout["box"]], (0, 0), box)
    picture.paste(INKS[layout["ink"]], (0, 0), ink)
    covered = (np.asarray(ink) > 0) | (np.asarray(box) > 0)
    return stored(picture, bare.labels, covered, layout)


def _bar(height: int, width: int, layout: dict[str, Any]) -> tuple[Image.Image, Image.Image]:
    """Share of ink and of box, 0 to 255."""
    face = font(layout["font"], layout["size"])
    left, top, right, bottom = map(int, face.getbbox(layout["text"]))
    text_width, text_height = right - left, bottom - top
    length, thick, gap = layout["length"], layout["thick"], layout["gap"]
    beside = layout["place"] == "beside"
    wide = length + gap + text_width if beside else max(length, text_width)
    tick = {"none": 0, "ends": thick, "tall ends": max(4, layout["size"] // 4)}[layout["ticks"]]
    bar_height = thick + 2 * tick
    tall = max(text_height, bar_height) if beside else text_height + gap + bar_height
    pad = layout["size"] // 3
    x = {"r": width - layout["margin"] - wide - pad, "l": layout["margin"] + pad,
         "m": (width - wide) // 2}[layout["corner"].split()[1][0]]  # fmt: skip
    y = layout["margin"] + pad
    if layout["corner"].startswith("lower"):
        y = height - y - tall
    ink, box = Image.new("L", (width, height)), Image.new("L", (width, height))
    if layout["box"] != "none":
        edges = (x - pad, y - pad, x + wide + pad, y + tall + pad)
        ImageDraw.Draw(box).rectangle(edges, fill=255)
    draw = ImageDraw.Draw(ink)
    if beside:
        bar = (x, y + (tall - thick) // 2)
        at = (x + length + gap, y + (tall - text_height) // 2)
    elif layout["place"] == "above":
        bar, at = (
            (x + (wide - length) // 2, y + tall - tick - thick),
            (x + (wide - text_width) // 2, y),
        )
    else:
        bar = (x + (wide - length) // 2, y + tick)
        at = (x + (wide - text_width) // 2, y + bar_height + gap)
    draw.text((at[0] - left, at[1] - top), layout["text"], fill=255, font=face)
    draw.rectangle((*bar, bar[0] + length - 1, bar[1] + thick - 1), fill=255)
    if tick:
        for end in (bar[0], bar[0] + length - thick):
            draw.rectangle(
                (end, bar[1] - tick, end + thick - 1, bar[1] + thick + tick - 1), fill=255
            )
    return ink, box


def stored(
    picture: Image.Image,
    labels: NDArray[np.uint8],
    covered: NDArray[np.bool_],
    layout: dict[str, Any],
) -> Annotated:
    """Resized and compressed as the layout says."""
    size = tuple(round(side * layout["resized"]) for side in picture.size)
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.BICUBIC)
        labels = np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
        share = Image.fromarray(255 * covered.astype(np.uint8))
        covered = np.asarray(share.resize(size, Image.Resampling.BOX)) > 127
    if layout["jpeg"]:
        file = io.BytesIO()
        options = {"quality": layout["jpeg"], "subsampling": layout["subsampling"]}
        picture.save(file, "JPEG", **options)
        picture = Image.open(file).convert("RGB")
    return Annotated(np.asarray(picture), labels, covered, layout)


def block_round(ink: NDArray[np.bool_], margin: int) -> NDArray[np.bool_]:
    """The rectangle round all of `ink` [H, W], and `margin` px beyond."""
    block = np.zeros_like(ink)
    if ink.any():
        rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
        block[
            max(0, rows[0] - margin) : rows[-1] + 1 + margin,
            max(0, columns[0] - margin) : columns[-1] + 1 + margin,
        ] = True
    return block


def banded(rng: np.random.Generator, bare: BareFrame) -> Annotated:
    """`bare` with an info band across its bottom, or its top."""
    height, width = bare.labels.shape
    grey = np.repeat(bare.pixels.mean(-1, keepdims=True).astype(np.uint8), 3, -1)
    rows = int(rng.uniform(0.04, 0.12) * height)
    top = 0 if rng.random() < 0.15 else height - rows
    paper, ink = (BLACK, WHITE) if rng.random() < 0.7 else (WHITE, BLACK)
    if rng.random() < 0.15:
        paper, ink = (40, 40, 40), (230, 230, 230)
    picture = Image.fromarray(grey)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, top, width - 1, top + rows - 1), fill=paper)
    face = font(str(rng.choice(FONTS)), max(12, rows // 2))
    words = "HV 15.00 kV   WD 9.8 mm   Mag 2.00 k x   SE2"
    draw.text((width // 40, top + rows // 5), words, fill=ink, font=face)
    bar = int(rng.uniform(0.1, 0.25) * width)
    start = int(0.95 * width) - bar
    draw.rectangle((start, top + rows // 2, start + bar, top + rows // 2 + 3), fill=ink)
    if rng.random() < 0.3:
        draw.rectangle((0, top, width - 1, top + rows - 1), outline=ink)
    covered = np.zeros((height, width), bool)
    covered[top : top + rows] = True
    layout = {
        "band": rows, "top": top == 0, "resized": float(rng.choice(RESIZED)),
        "jpeg": int(rng.choice([0, 75, 85, 95])), "subsampling": 2,
    }  # fmt: skip
    return stored(picture, bare.labels, covered, layout)
