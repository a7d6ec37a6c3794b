"""What the aluminium matrix shows besides second phases, all of it to be left as matrix.

Dispersoids with the zones they leave free along grain boundaries, short parallel needles,
grain contrast and boundaries, stains, polishing scratches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from hptl_deploy.synthesis.fields import chance, log_uniform, smooth_noise, uniform
from hptl_deploy.synthesis.geometry import walk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_deploy.synthesis.conditions import Specimen
    from hptl_deploy.synthesis.grains import Grains

_DIAMETERS_UM = (0.18, 0.28, 0.42, 0.62)
_NUMBERS = (0.48, 0.32, 0.15, 0.05)
"""Of the dispersoids, by diameter: 2 to 8 px at 0.09 um per pixel."""


def matrix_tone(
    rng: np.random.Generator, specimen: Specimen, grains: Grains, pixel_size_um: float
) -> NDArray[np.float32]:
    """Brightness of the matrix relative to its mean, float32 [H, W], about 1.

    Every pixel has one, those of particles too: the grains know nothing of them.
    """
    height, width = grains.height, grains.width
    distance = grains.distance()
    levels = rng.standard_normal(grains.count).astype(np.float32)
    tone = 1 + specimen.grain_tone * grains.value(levels)
    if specimen.boundary_tone:
        tone -= specimen.boundary_tone * np.exp(-((distance * pixel_size_um / 0.22) ** 2))
    if specimen.stains:
        tone += specimen.stains * _stains(rng, height, width)
    if specimen.dispersoids_per_um2:
        tone *= 1 - _dispersoids(rng, specimen, distance, pixel_size_um)
    if specimen.needles_per_1000_um2:
        tone *= 1 - _needles(rng, specimen, distance, pixel_size_um)
    return tone


def _stains(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Blotches, and some with the rim a drying drop leaves."""
    size = log_uniform(rng, 40, 400)
    field = smooth_noise(rng, height, width, size)
    if chance(rng, 0.3):
        rim = np.exp(-(((field - uniform(rng, 0.6, 1.4)) / 0.12) ** 2))
        field = 0.6 * field - uniform(rng, 0.3, 1.5) * rim
    return field


def _dispersoids(
    rng: np.random.Generator,
    specimen: Specimen,
    distance: NDArray[np.float32],
    pixel_size_um: float,
) -> NDArray[np.float32]:
    """How much darker dispersoids make the matrix, float32 [H, W], -0.25 (paler) to 0.6."""
    height, width = distance.shape
    # Free near boundaries, with a soft front; denser here and there inside a grain.
    front = specimen.denuded_um / pixel_size_um
    density = 1 / (1 + np.exp((front - distance) / (0.18 * front)))
    density *= np.clip(1 + 0.5 * smooth_noise(rng, height, width, 1.2 * front), 0, 2.5)
    density *= specimen.dispersoids_per_um2 * pixel_size_um**2
    darker = np.zeros((height, width), np.float32)
    for diameter, number in zip(_DIAMETERS_UM, _NUMBERS, strict=True):
        struck = rng.random((height, width), dtype=np.float32) < density * number
        spots = np.flatnonzero(struck)
        if not len(spots):
            continue
        impulses = np.zeros(height * width, np.float32)
        impulses[spots] = rng.uniform(0.5, 1.3, len(spots))
        # A disc of this diameter, as a Gaussian of equal second moment and peak 1.
        sigma = max(0.45, diameter / pixel_size_um / 4)
        stretch = rng.uniform(0.7, 1.4)
        spread = ndimage.gaussian_filter(
            impulses.reshape(height, width), (sigma * stretch, sigma / stretch), truncate=3
        )
        darker += (2 * np.pi * sigma**2) * spread
    shown: NDArray[np.float32] = np.clip(specimen.dispersoid_contrast * darker, -0.25, 0.6)
    return shown


def _needles(
    rng: np.random.Generator,
    specimen: Specimen,
    distance: NDArray[np.float32],
    pixel_size_um: float,
) -> NDArray[np.float32]:
    """How much darker short needles in a few directions make the matrix, float32 [H, W]."""
    height, width = distance.shape
    picture = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(picture)
    count = rng.poisson(specimen.needles_per_1000_um2 * height * width * pixel_size_um**2 / 1000)
    angles = uniform(rng, 0, np.pi) + np.array([0.0, uniform(rng, 0.9, 2.2)])
    free = specimen.denuded_um / pixel_size_um
    xs, ys = rng.uniform(0, width, count), rng.uniform(0, height, count)
    lengths = np.exp(rng.normal(np.log(1.6), 0.45, count)) / pixel_size_um
    turns = angles[rng.integers(2, size=count)] + rng.normal(0, 0.05, count)
    thick = max(1, round(0.14 / pixel_size_um))
    for x, y, length, angle in zip(xs, ys, lengths, turns, strict=True):
        if distance[int(y), int(x)] < free:
            continue
        dx, dy = length / 2 * np.cos(angle), length / 2 * np.sin(angle)
        shade = int(rng.integers(90, 256))
        draw.line((x - dx, y - dy, x + dx, y + dy), fill=shade, width=thick + int(rng.integers(2)))
    return np.asarray(picture, dtype=np.float32) * (specimen.needle_contrast / 255)


def scratches(rng: np.random.Generator, count: int, height: int, width: int) -> NDArray[np.float32]:
    """What polishing scratches add to the brightness, as a share of it; float32 [H, W].

    Mostly faint pale lines from edge to edge, often in one direction; some dark, some short.
    """
    pale, dark = (Image.new("L", (width, height), 0) for _ in range(2))
    main = uniform(rng, 0, np.pi)
    diagonal = float(np.hypot(height, width))
    for _ in range(count):
        angle = main + rng.normal(0, 0.1) if chance(rng, 0.6) else uniform(rng, 0, np.pi)
        length = diagonal * (1.2 if chance(rng, 0.6) else uniform(rng, 0.03, 0.4))
        middle = np.array([rng.uniform(0, width), rng.uniform(0, height)])
        start = middle - length / 2 * np.array([np.cos(angle), np.sin(angle)])
        path = walk(rng, start, angle, length, 40, 0.002)
        picture = dark if chance(rng, 0.2) else pale
        shade = int(rng.integers(30, 256))
        ImageDraw.Draw(picture).line(
            [(float(x), float(y)) for x, y in path], fill=shade, width=int(rng.integers(1, 4))
        )
    strength = uniform(rng, 0.03, 0.14)
    added: NDArray[np.float32] = np.asarray(pale, np.float32)
    added = added - 1.2 * np.asarray(dark, np.float32)
    return added * (strength / 255)
