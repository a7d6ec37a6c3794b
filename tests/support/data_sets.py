"""Labelled data sets drawn by the tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOURS = ((0, 0, 0), (255, 0, 0), (0, 0, 255))

PHASES = "".join(
    f'[[phases]]\nname = "{name}"\nvalue = {value}\ncolour = {list(colour)}\n'
    for value, (name, colour) in enumerate(zip(("matrix", "film", "needle"), COLOURS, strict=True))
)


def indices(height: int = 8, width: int = 12, kinds: int = 3) -> NDArray[np.uint8]:
    """Class indices [H, W], every class somewhere."""
    return (np.arange(height * width, dtype=np.uint8) % kinds).reshape(height, width)


def write_data_set(
    root: Path, stems: Sequence[str], *, description: str | None = None, classes: int = 3
) -> Path:
    """A data set of small pictures; `description` is its dataset.toml, None for no file."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for stem in stems:
        labels = indices(kinds=classes)
        Image.fromarray(labels * np.uint8(80)).save(root / "images" / f"{stem}.png")
        Image.fromarray(labels).save(root / "labels" / f"{stem}.png")
    if description is not None:
        (root / "dataset.toml").write_text(description, encoding="utf-8")
    return root
