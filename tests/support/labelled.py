"""A small labelled data set of drawn particles, written to a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

GREYS = (150, 40, 95)
"""Mean grey of matrix, dark disks and mid-grey bars."""


def write_data_set(
    root: Path, count: int = 10, size: tuple[int, int] = (96, 128), seed: int = 0
) -> Path:
    """`count` frames of `size` (height, width), with images/, labels/ and no dataset.toml."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        pixels, labels = draw(size, np.random.default_rng([seed, number]))
        Image.fromarray(pixels).save(root / "images" / f"frame{number:02d}.png")
        Image.fromarray(labels).save(root / "labels" / f"frame{number:02d}.png")
    return root


def draw(
    size: tuple[int, int], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(pixels [H, W, 3], class indices [H, W]): noise, dark disks (1) and grey bars (2)."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    labels = np.zeros(size, np.uint8)
    for _ in range(max(2, height * width // 3000)):
        y, x, radius = rng.integers(height), rng.integers(width), rng.integers(4, 9)
        labels[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = 1
        y, x = rng.integers(height - 6), rng.integers(width - 24)
        labels[y : y + 6, x : x + 24] = 2
    grey = np.array(GREYS)[labels] + rng.normal(0, 5, size)
    grey = np.clip(grey, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2), labels
