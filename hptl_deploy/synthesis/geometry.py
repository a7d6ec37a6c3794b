"""Outlines and paths of particles, in pixels, y downwards.

A path or an outline is float64 [n, 2], (x, y) per row; angles are radians. Nothing here
knows of phases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float64]


def rotated(points: Points, angle: float) -> Points:
    """`points` turned by `angle` radians round the origin."""
    cosine, sine = np.cos(angle), np.sin(angle)
    turned: Points = points @ np.array([[cosine, sine], [-sine, cosine]])
    return turned


def area(outline: Points) -> float:
    """Of a closed outline, px^2 (the shoelace formula)."""
    x, y = outline.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def polygon(
    rng: np.random.Generator, radius: float, corners: int, aspect: float, roughness: float
) -> Points:
    """A closed outline round the origin: `corners` at jittered angles and radii.

    `radius` is that of the circle on which the corners lie where `roughness` is 0 and the
    stretch `aspect` 1. The area is smaller than the disc's: by 5 % for twelve corners, by more
    than a third for four. From a roughness of about 0.3 on outlines turn concave.
    """
    angles = (np.arange(corners) + rng.uniform(-0.32, 0.32, corners)) * 2 * np.pi / corners
    radii = radius * (1 + roughness * rng.uniform(-1, 1, corners))
    outline = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    outline *= (np.sqrt(aspect), 1 / np.sqrt(aspect))
    return rotated(outline, rng.uniform(0, np.pi))


def cut_corners(outline: Points, share: float) -> Points:
    """A closed outline of [2 n, 2]: each corner becomes two, `share` of a side away from it."""
    ahead = np.roll(outline, -1, axis=0)
    near, far = (1 - share) * outline + share * ahead, share * outline + (1 - share) * ahead
    return np.stack([near, far], axis=1).reshape(-1, 2)


def walk(
    rng: np.random.Generator,
    start: Points,
    heading: float,
    length: float,
    step: float,
    wander: float,
) -> Points:
    """A path from `start` (x, y), its heading drifting by `wander` radians a step.

    It is `length` long to within half a `step`, and two steps at least.
    """
    count = max(2, round(length / step))
    # A bend that lasts: the drift is itself a random walk that forgets.
    drift = np.zeros(count)
    for place in range(1, count):
        drift[place] = 0.85 * drift[place - 1] + rng.normal(0, wander)
    headings = heading + np.cumsum(drift)
    steps = step * np.stack([np.cos(headings), np.sin(headings)], axis=1)
    return np.vstack([start, start + np.cumsum(steps, axis=0)])


def bent(start: Points, end: Points, sideways: float, count: int) -> Points:
    """A parabola of `count` points from `start` to `end`, `sideways` times their distance off."""
    along = end - start
    across = np.array([-along[1], along[0]])
    t = np.linspace(0, 1, count)[:, None]
    points: Points = start + t * along + 4 * t * (1 - t) * sideways * across
    return points


def plate(rng: np.random.Generator, length: float, width: float, bend: float, tip: float) -> Points:
    """A closed outline: a plate cut across, with tips `tip` times its width long."""
    half, ends = length / 2, (tip * width * rng.uniform(0.3, 1.6, 4)).clip(0, 0.45 * length)
    shoulders = width / 2 * rng.uniform(0.8, 1.1, 4)
    slant = rng.uniform(-0.3, 0.3, 2) * width
    x = np.array([-half, -half + ends[0], 0, half - ends[1], half, half - ends[2], 0,
                  -half + ends[3]])  # fmt: skip
    y = np.array([slant[0], -shoulders[0], -width / 2, -shoulders[1], slant[1], shoulders[2],
                  width / 2, shoulders[3]])  # fmt: skip
    return np.stack([x, y + bend * length * (x / half) ** 2], axis=1)
