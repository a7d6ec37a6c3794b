"""Micrographs whose phase fractions are known in closed form, for the threshold model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MATRIX, GREY, DARK = 200, 120, 40
"""Levels of the threshold model's classes 0, 1 and 2."""


def rectangles(
    height: int, width: int, grey: tuple[int, int, int, int], dark: tuple[int, int, int, int]
) -> NDArray[np.uint8]:
    """A bright field [H, W] with one rectangle (y0, y1, x0, x1) of each other phase."""
    pixels = np.full((height, width), MATRIX, np.uint8)
    for (y0, y1, x0, x1), level in ((grey, GREY), (dark, DARK)):
        pixels[y0:y1, x0:x1] = level
    return pixels


def blobs(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Smooth random levels [H, W], all three phases and their borders everywhere."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (height // 9 + 2, width // 9 + 2), np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(smooth).copy()


def save(path: Path, pixels: NDArray[np.uint8]) -> Path:
    """Write pixels by the file's ending, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def folder_of(path: Path, count: int, size: tuple[int, int] = (64, 96)) -> Path:
    """`count` micrographs m00.png, m01.png, ... of random blobs."""
    for number in range(count):
        save(path / f"m{number:02d}.png", blobs(*size, seed=number))
    return path
