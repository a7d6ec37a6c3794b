"""The bar says what it measures: read back from the ink, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hptl_deploy.synthesis.scale_bar import burn_in

LENGTHS_UM = (1, 2, 5, 10, 20, 50, 100, 200)
FLAT = 128


@dataclass
class Bar:
    """A bar as it was found."""

    pixel_size_um: float
    pixels: NDArray[np.uint8]
    covered: NDArray[np.bool_]

    def ink(self) -> NDArray[np.float64]:
        """Share of the ink of bar and text [H, W]: black, on a white box or not, else white."""
        grey = self.pixels[..., 0].astype(float)
        if (grey < FLAT).any():
            ground = 255 if (grey == 255).any() else FLAT
            return np.where(self.covered, 1 - grey / ground, 0)
        return (grey - FLAT) / (255 - FLAT)

    def blocks(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Ink of (bar, text), parted by the empty rows between them."""
        inked = np.flatnonzero((self.ink() > 0).any(axis=1))
        parted = np.split(inked, np.flatnonzero(np.diff(inked) > 1) + 1)
        blocks = [self.ink()[rows[0] : rows[-1] + 1] for rows in parted]
        assert len(blocks) == 2
        bar, text = sorted(blocks, key=lambda block: -longest_run(block))
        return bar, text


def longest_run(block: NDArray[np.float64]) -> int:
    """Most pixels of full ink side by side in one row."""
    best = 0
    for row in block == 1:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
        best = max([best, *(edges[1::2] - edges[::2]).tolist()])
    return best


def trimmed(block: NDArray[np.float64]) -> NDArray[np.float64]:
    columns = np.flatnonzero((block > 0).any(axis=0))
    return block[:, columns[0] : columns[-1] + 1]


def read(text: NDArray[np.float64]) -> int:
    """Micrometres that the text states: of all lengths, the one whose picture is most alike."""
    found = trimmed(text)
    height, width = found.shape
    scores = {}
    for length in LENGTHS_UM:
        picture = Image.new("L", (900, 200), 0)
        words = f"{length} um"
        ImageDraw.Draw(picture).text((20, 20), words, fill=255, font=ImageFont.load_default(100))
        box = picture.getbbox()
        assert box is not None
        shape = picture.crop(box).resize((width, height), Image.Resampling.BOX)
        alike = np.corrcoef(np.asarray(shape, float).ravel(), found.ravel())[0, 1]
        aspect = (box[2] - box[0]) / (box[3] - box[1]) / (width / height)
        scores[length] = alike - 2 * abs(np.log(aspect))
    second, best = sorted(scores, key=lambda length: scores[length])[-2:]
    assert scores[best] > scores[second] + 0.1, "cannot be read for certain"
    return best


def bars(height: int, width: int, count: int) -> list[Bar]:
    """Bars on flat pictures [H, W, 3], those that got none left out."""
    found = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        size = float(np.exp(rng.uniform(np.log(0.06), np.log(0.14))))
        pixels = np.full((height, width, 3), FLAT, np.uint8)
        covered = burn_in(rng, pixels, size)
        assert covered.shape == (height, width)
        assert covered.any() == (pixels != FLAT).any()
        if covered.any():
            found.append(Bar(size, pixels, covered))
    return found


@pytest.mark.parametrize(("height", "width"), [(160, 160), (240, 320), (640, 480), (960, 1280)])
def test_a_bar_is_as_long_as_its_text_says(height: int, width: int) -> None:
    found = bars(height, width, 22)
    stated = set()
    for bar in found:
        line, text = bar.blocks()
        length = longest_run(line)
        stated.add(read(text))
        assert length * bar.pixel_size_um == pytest.approx(read(text), abs=bar.pixel_size_um / 2)
        assert length <= 0.33 * width + 1
    assert len(stated) > 1


@pytest.mark.parametrize(("height", "width"), [(160, 160), (320, 240), (240, 320), (720, 960)])
def test_it_stays_within_the_frame(height: int, width: int) -> None:
    """No ink at the frame's border, so none was cut off there; about one frame in ten has none."""
    found = bars(height, width, 60)
    assert 45 <= len(found) < 60
    for bar in found:
        ink = bar.ink() > 0
        assert not (ink[0].any() or ink[-1].any() or ink[:, 0].any() or ink[:, -1].any())
        assert bar.covered.mean() < 0.15
    middles = np.array([np.argwhere(bar.ink() > 0).mean(axis=0) for bar in found])
    lower_right = (middles > np.array([height, width]) / 2).all(axis=1)
    assert 0.5 < lower_right.mean() < 0.95


def test_what_it_covers_is_what_it_changed() -> None:
    """To the pixel, but for a white box on which the whole rectangle counts."""
    boxed = 0
    for bar in bars(240, 320, 40):
        changed = (bar.pixels != FLAT).any(axis=-1)
        assert (bar.covered >= changed).all()
        # Where a letter's edge takes next to nothing of the ink, no level changes.
        assert (bar.covered & ~changed).sum() < 0.02 * bar.covered.sum() + 2
        boxed += bool((bar.pixels == 255).any() and (bar.pixels == 0).any())
        assert (bar.pixels[..., 0] == bar.pixels[..., 2]).all()
    assert 1 <= boxed <= 15


@pytest.mark.parametrize(("height", "width"), [(159, 4000), (4000, 159), (64, 64)])
def test_small_frames_get_none(height: int, width: int) -> None:
    assert bars(height, width, 12) == []
