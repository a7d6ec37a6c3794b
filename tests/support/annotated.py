"""Annotations of every format, written as their programs write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HEIGHT, WIDTH = 40, 50


def picture(path: Path, height: int = HEIGHT, width: int = WIDTH) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.arange(height * width, dtype=np.uint32).reshape(height, width) % 251
    Image.fromarray(grey.astype(np.uint8)).save(path)
    return path


def write_json(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def box(left: int, top: int, right: int, bottom: int) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def painted(*boxes: tuple[int, int, int, int, int]) -> NDArray[np.uint8]:
    """(left, top, right, bottom, class) one after the other on class 0."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for left, top, right, bottom, value in boxes:
        labels[top:bottom, left:right] = value
    return labels


def labelme(folder: Path, *shapes: dict[str, Any], name: str = "a", **more: object) -> Path:
    picture(folder / f"{name}.png")
    document = {
        "shapes": list(shapes), "imagePath": f"{name}.png",
        "imageHeight": HEIGHT, "imageWidth": WIDTH, **more,
    }  # fmt: skip
    write_json(folder / f"{name}.json", document)
    return folder


def polygon(label: str, *corners: object) -> dict[str, Any]:
    return {"label": label, "points": list(corners), "shape_type": "polygon"}
