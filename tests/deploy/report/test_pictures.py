from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hptl_deploy.report.pictures import Picture, bar_length, chosen, pictures
from support.made_up_results import made_up_row


def picture_of(folder: Path, size: tuple[int, int], kind: str = "jpg", **row: Any) -> Picture:
    pixels = np.random.default_rng(1).integers(0, 255, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(folder / f"a_overlay.{kind}")
    rows = [made_up_row("a.tif", width_px=size[1], height_px=size[0], **row)]
    (found,) = pictures(folder, rows, {f"a_overlay.{kind}": 1})
    return found


def decoded(picture: Picture) -> Image.Image:
    head, _, data = picture.uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize(("size", "kind"), [((1920, 2560), "jpg"), ((3000, 700), "png")])
def test_pictures_are_small(tmp_path: Path, size: tuple[int, int], kind: str) -> None:
    found = picture_of(tmp_path, size, kind)  # noise, which compresses worst
    assert len(found.uri) < 135_000
    shown = decoded(found)
    assert shown.size == (found.width, found.height)
    assert max(shown.size) <= 1044  # the strip of the bar included


@pytest.mark.parametrize("pixel_size", [0.0601, 0.25, 1.7, 12.0])
def test_the_bar_is_as_long_as_it_says(tmp_path: Path, pixel_size: float) -> None:
    found = picture_of(tmp_path, (600, 1800), pixel_size_um=pixel_size)
    strip = np.asarray(decoded(found).convert("L"))[-22]
    dark = np.flatnonzero(strip < 128)
    bar = int(np.flatnonzero(np.diff(dark) > 1)[0]) + 1 if (np.diff(dark) > 1).any() else dark.size
    assert found.bar_um is not None
    assert bar * pixel_size * 1800 / found.width == pytest.approx(found.bar_um, rel=0.02)
    assert 0.08 <= bar / found.width <= 0.23


@pytest.mark.parametrize("width", [0.5, 3.3, 99.9, 480, 5120, 30000])
def test_lengths_of_bars_are_round(width: float) -> None:
    lead = f"{bar_length(width):e}"[0]
    assert lead in "125"
    assert 0.087 <= bar_length(width) / width <= 0.221


def test_without_a_pixel_size_there_is_no_bar(tmp_path: Path) -> None:
    found = picture_of(tmp_path, (300, 400), pixel_size_um=None)
    assert found.bar_um is None
    assert (found.width, found.height) == (400, 300)


def test_the_fields_of_highest_median_and_lowest_certainty() -> None:
    rows = [made_up_row(f"{n}.tif", mean_confidence=c) for n, c in enumerate((0.9, 0.7, 0.8, 0.95))]
    assert [row["file"] for _, row in chosen(rows[:3])] == ["0.tif", "2.tif", "1.tif"]
    assert [row["file"] for _, row in chosen(rows)] == ["3.tif", "2.tif", "1.tif"]
    assert [row["file"] for _, row in chosen(rows[:2])] == ["0.tif", "1.tif"]
    assert [row["file"] for _, row in chosen(rows[:1])] == ["0.tif"]
    assert chosen([]) == []


def test_what_cannot_be_shown_is_said(tmp_path: Path) -> None:
    rows = [made_up_row("a.tif")]
    assert pictures(tmp_path, rows, {})[0].missing == "no overlay was written"
    (gone,) = pictures(tmp_path, rows, {"a_overlay.png": 1})
    assert gone.missing.startswith("a_overlay.png cannot be read (")
    (tmp_path / "a_overlay.png").write_bytes(b"\x89PNG no")
    (damaged,) = pictures(tmp_path, rows, {"a_overlay.png": 1})
    assert damaged.missing.startswith("a_overlay.png cannot be read (")
    assert not damaged.uri
