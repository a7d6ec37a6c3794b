"""Variants of a crop: the square's symmetries, another magnification, another photograph.

Everything is drawn here, with numpy. What needs no more than a table look-up or a window is
done here, too; light, lens, noise and file are `Photometry`, which
`hptl_train.data.photometric` applies to whole batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hptl_train.recipe import AugmentationTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FARTHEST_LIGHT = 4.0
"""Crop sides from a crop to where light is brightest. Half the diagonal of a 2560 x 1920 frame is
7 crops of 224 px, that of a 645 x 484 frame 1.8; what is nearer bends the light more than
the former would, and beyond 4 it is all but a plane."""
_COARSEST_GRAIN = 0.8
"""px: deviation of the Gaussian that correlates noise, as interpolated colours do."""
_JPEG_SHARE = 0.5
_BEST_JPEG = 95
NO_JPEG = 100
"""The quality that stands for no compression."""
JPEG_BLOCK = 16
"""px: what JPEG codes as one, two blocks of 8, where it halves the resolution of colour."""


@dataclass(frozen=True)
class Photometry:
    """Light, lens, camera and file of one crop.

    Places are in crop sides from the middle of the crop, down and to the right.
    """

    fall_off: float
    """Share of light lost between the brightest and the darkest pixel of the crop ..."""
    centre: tuple[float, float]
    """... quadratically with the distance from here (y, x)."""
    tilt: tuple[float, float]
    """Share by which light grows over a crop's height, and over its width."""
    gain: float
    """Factor of the exposure ..."""
    gamma: float
    """... and the exponent of the camera's curve behind it."""
    blur: float
    """Standard deviation of the lens's Gaussian, px."""
    noise: float
    """Standard deviation, as a share of full scale."""
    grain: float
    """Standard deviation of the Gaussian that correlates noise between neighbours, px."""
    colour: float
    """Share of the noise's variance that each channel has of its own; the rest is grey."""
    quality: int
    """Of JPEG, 1 to 95; 100 for none."""
    grid: tuple[int, int]
    """(y, x) of the crop in JPEG's grid, 0 to 15 px."""
    noise_seed: int = 0
    """Of the noise's field, 0 to 2**63 - 1."""


class Variant:
    """One drawn variant; applied to a crop and its labels alike."""

    def __init__(self, table: AugmentationTable, rng: np.random.Generator) -> None:
        """Draw the variant; always the same number of draws, whatever the table allows."""
        flip, turns = rng.integers(2), rng.integers(4)
        brightness, contrast = rng.uniform(-1, 1, 2)
        gains = rng.uniform(-1, 1, 3)
        self.flip = bool(flip) and table.flips
        self.turns = int(turns) if table.quarter_turns else 0
        self._curves = _tone_curves(
            brightness * table.brightness,
            1 + contrast * table.contrast,
            1 + gains * table.white_balance,
        )
        self.zoom = float((1 + table.scale) ** rng.uniform(-1, 1))
        """Side of the window a crop is made from, in crop sides; log-uniform."""
        self.photometry = _draw_photometry(table, rng)

    def __call__(
        self, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The variant of square `pixels` [S, S, 3] and `labels` [S, S]; new arrays."""
        toned = np.stack([self._curves[c][pixels[..., c]] for c in range(3)], axis=-1)
        return self._move(toned), self._move(labels)

    def _move(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        moved = np.rot90(array, self.turns, axes=(0, 1))
        return np.ascontiguousarray(moved[:, ::-1] if self.flip else moved)


def is_photometric(table: AugmentationTable) -> bool:
    """Whether `table` leaves `Photometric` anything to do."""
    amounts = (table.illumination, table.exposure, table.blur, table.noise)
    return any(amounts) or table.jpeg < NO_JPEG


def resized(
    pixels: NDArray[np.uint8], labels: NDArray[np.uint8], side: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A square window, `pixels` [W, W, 3] and `labels` [W, W], as a crop of `side` pixels.

    Pixels are interpolated by cubics, whose support grows with what shrinks, so that nothing is
    aliased; labels are those of the nearest pixel, so that every one was there before.
    """
    from PIL import Image

    if len(labels) == side:
        return pixels, labels
    size = (side, side)
    return (
        np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)),
        np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST)),
    )


def _draw_photometry(table: AugmentationTable, rng: np.random.Generator) -> Photometry:
    """Uniform amounts from none to the table's; half of the crops are stored as JPEG."""
    bowl, slope, far, blur, noise, grain, colour, stored = rng.uniform(0, 1, 8)
    towards, uphill = rng.uniform(0, 2 * np.pi, 2)
    stops, gamma = rng.uniform(-1, 1, 2)
    quality = int(rng.integers(min(table.jpeg, _BEST_JPEG), _BEST_JPEG + 1))
    y, x = rng.integers(JPEG_BLOCK, size=2)
    rise, run = np.sin(uphill), np.cos(uphill)
    # Half of the loss each; by `steepness` a tilt's lies between two corners in any direction.
    steepness = table.illumination / 2 * slope / (abs(rise) + abs(run))
    distance = _FARTHEST_LIGHT * far
    return Photometry(
        fall_off=float(table.illumination / 2 * bowl),
        centre=(float(distance * np.sin(towards)), float(distance * np.cos(towards))),
        tilt=(float(steepness * rise), float(steepness * run)),
        gain=float(2 ** (stops * table.exposure)),
        gamma=float(2 ** (gamma * table.exposure)),
        blur=float(table.blur * blur),
        noise=float(table.noise * noise),
        grain=float(_COARSEST_GRAIN * grain),
        colour=float(colour),
        quality=quality if stored < _JPEG_SHARE and table.jpeg < NO_JPEG else NO_JPEG,
        grid=(int(y), int(x)),
    )


def _tone_curves(
    brightness: float, contrast: float, gains: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Tables [3, 256]: ((v - 1/2) contrast + 1/2 + brightness) gain for v in [0, 1], clipped."""
    grey = np.arange(256) / 255.0
    curve = (grey - 0.5) * contrast + 0.5 + brightness
    return np.rint(np.clip(curve * gains[:, None], 0, 1) * 255).astype(np.uint8)
