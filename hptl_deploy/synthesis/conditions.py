"""What differs from frame to frame: specimen, microscope, camera. Drawn once per frame.

The ranges are wider than what is seen on one microscope, so that a network that learned from
many frames does not depend on any one of them: pixels of 0.06 to 0.14 um, matrix greys of
90 to 195, Mg2Si at 0.18 to 0.46 and the Fe-containing phase at 0.53 to 0.74 of the matrix's
grey, never closer to one another than 0.15. These are levels in green, before the camera's
curve: a ratio r to the matrix is seen as r ** tone. Red and blue have a tint of their own.
Wider still, the grey that is Mg2Si in one frame would be Fe in another, and there would be
nothing to learn from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hptl_deploy.synthesis.fields import chance, log_uniform, uniform
from hptl_deploy.synthesis.particles import Habit

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Specimen:
    """The alloy and its preparation. Lengths are micrometres."""

    mg2si: Habit
    fe: Habit
    grain_um: float
    denuded_um: float
    """Half-width of the zones along grain boundaries that hold no dispersoids."""
    dispersoids_per_um2: float
    dispersoid_contrast: float
    """How much darker (or, negative, paler) than the matrix a large one is, as a share."""
    needles_per_1000_um2: float
    needle_contrast: float
    grain_tone: float
    """Deviation of the grey from grain to grain, as a share."""
    boundary_tone: float
    """How much darker grain boundaries are."""
    scratches: int
    stains: float
    """Deviation of their tone, as a share."""
    roughness: tuple[tuple[float, float], ...]
    """Of outlines: (deviation, correlation) in um."""


@dataclass(frozen=True)
class Camera:
    """Microscope, camera and file."""

    pixel_size_um: float
    matrix: Rgb
    """Mean level of the matrix, 0 to 255."""
    mg2si: Rgb
    """Share of the matrix's level, by channel, before the curve."""
    fe: Rgb
    """As `mg2si`."""
    monochrome: bool
    blur: Rgb
    """Deviation of the Gaussian in px, by channel."""
    defocus: float
    """What is added to the blur, in quadrature, at the worst corner of the frame, px."""
    falloff: float
    """Share of light missing in the corners."""
    centre: tuple[float, float]
    """Where light is brightest, as shares of height and width."""
    tilt: tuple[float, float]
    """Change of light over the height and the width, as a share."""
    tone: float
    """Exponent of the camera's curve, 1 = linear."""
    sharpening: float
    noise: float
    """Deviation in grey levels at the matrix, before sharpening and JPEG."""
    noise_grain: float
    """Deviation of the Gaussian that correlates it from pixel to pixel, px; 0: it does not."""
    jpeg_quality: int
    jpeg_subsampling: int


def draw_specimen(rng: np.random.Generator) -> Specimen:
    """An alloy, and what polishing left on it."""
    amounts = [log_uniform(rng, 0.003, 0.035), log_uniform(rng, 0.003, 0.035)]
    if chance(rng, 0.06):
        amounts[rng.integers(2)] = 0.0
    return Specimen(
        mg2si=Habit(
            amounts[0], _shares(rng, (1.0, 0.8, 1.0)), log_uniform(rng, 0.75, 1.3),
            uniform(rng, 0.3, 0.95), uniform(rng, 0, 0.7), uniform(rng, 0, 0.2),
        ),
        fe=Habit(
            amounts[1], _shares(rng, (1.0, 0.6, 1.2)), log_uniform(rng, 0.75, 1.3),
            uniform(rng, 0.3, 0.95), uniform(rng, 0, 0.7), uniform(rng, 0, 0.5),
        ),
        grain_um=log_uniform(rng, 35, 140),
        denuded_um=log_uniform(rng, 1.8, 7),
        dispersoids_per_um2=0.0 if chance(rng, 0.08) else log_uniform(rng, 0.35, 3.0),
        dispersoid_contrast=uniform(rng, 0.08, 0.45) * (-0.5 if chance(rng, 0.1) else 1),
        needles_per_1000_um2=log_uniform(rng, 2, 120) if chance(rng, 0.5) else 0.0,
        needle_contrast=uniform(rng, 0.06, 0.3) * (-0.5 if chance(rng, 0.15) else 1),
        grain_tone=max(0.0, uniform(rng, -0.02, 0.025)),
        boundary_tone=uniform(rng, 0.02, 0.14) if chance(rng, 0.3) else 0.0,
        scratches=int(rng.poisson(rng.choice([0.5, 4, 14]))),
        stains=uniform(rng, 0, 0.035),
        roughness=((uniform(rng, 0.02, 0.13), log_uniform(rng, 0.25, 0.8)),
                   (uniform(rng, 0.0, 0.28), log_uniform(rng, 1.0, 4))),
    )  # fmt: skip


def _shares(rng: np.random.Generator, liking: tuple[float, ...]) -> tuple[float, ...]:
    """Shares of a phase's shapes: often one alone, never the same mixture twice."""
    drawn = rng.gamma(0.45, np.array(liking))
    drawn[drawn < 0.08 * drawn.max()] = 0.0
    return tuple((drawn / drawn.sum()).tolist())


def draw_camera(rng: np.random.Generator) -> Camera:
    """A microscope, how it was set, and how its picture was stored."""
    monochrome = chance(rng, 0.08)
    grey = uniform(rng, 90, 195)
    tint = (uniform(rng, 0.86, 1.07), 1.0, uniform(rng, 0.92, 1.15))
    dark = uniform(rng, 0.18, 0.46)
    middle = uniform(rng, max(0.53, dark + 0.15), 0.74)
    blue = min(dark * uniform(rng, 0.98, 1.5), middle)
    mg2si = (dark * uniform(rng, 0.88, 1.06), dark, blue)
    fe = (middle * uniform(rng, 0.98, 1.12), middle, middle * uniform(rng, 0.97, 1.22))
    blur = log_uniform(rng, 0.9, 2.7)
    return Camera(
        pixel_size_um=round(log_uniform(rng, 0.06, 0.14), 4),
        matrix=_grey(grey, grey, grey) if monochrome else _grey(*(grey * t for t in tint)),
        mg2si=(dark, dark, dark) if monochrome else mg2si,
        fe=(middle, middle, middle) if monochrome else fe,
        monochrome=monochrome,
        # Lenses focus green best; the others by a little less.
        blur=(blur * uniform(rng, 1.0, 1.15), blur, blur * uniform(rng, 1.0, 1.25)),
        defocus=uniform(rng, 0.5, 1.8) if chance(rng, 0.25) else 0.0,
        falloff=uniform(rng, 0.0, 0.32),
        centre=(uniform(rng, 0.35, 0.65), uniform(rng, 0.35, 0.65)),
        tilt=(rng.normal(0, 0.03), rng.normal(0, 0.03)),
        tone=uniform(rng, 0.88, 1.14),
        sharpening=uniform(rng, 0.2, 1.2) if chance(rng, 0.35) else 0.0,
        noise=log_uniform(rng, 0.8, 6),
        noise_grain=uniform(rng, 0.4, 0.9) if chance(rng, 0.6) else 0.0,
        jpeg_quality=int(rng.integers(72, 98)),
        jpeg_subsampling=int(rng.choice([0, 2])),
    )


def _grey(red: float, green: float, blue: float) -> Rgb:
    return min(red, 215.0), min(green, 215.0), min(blue, 215.0)
