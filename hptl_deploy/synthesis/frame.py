"""One synthetic micrograph and its truth.

H and W are its height and width in px. Levels are what an 8-bit camera gives, 0 to 255.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from hptl_deploy.errors import UsageError
from hptl_deploy.synthesis.canvas import FE, MATRIX, MG2SI, Canvas, without_specks
from hptl_deploy.synthesis.conditions import Camera, Specimen, draw_camera, draw_specimen
from hptl_deploy.synthesis.fields import smooth_noise
from hptl_deploy.synthesis.grains import Grains
from hptl_deploy.synthesis.matrix import matrix_tone, scratches
from hptl_deploy.synthesis.optics import photograph, to_jpeg
from hptl_deploy.synthesis.particles import Painter
from hptl_deploy.synthesis.scale_bar import burn_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALLEST, LARGEST = 64, 16384
"""Sides of a frame in px."""

_SPECK_UM2 = 0.12
"""Label pieces below this area (15 px at 0.09 um per pixel) are no particles: what roughened
outlines and overlaps leave over."""


@dataclass(frozen=True)
class SyntheticFrame:
    """A micrograph as its file, and what it shows."""

    jpeg: bytes
    """The whole file; it states its pixel size."""
    labels: NDArray[np.uint8]
    """Class indices of the paper's phases, uint8 [H, W]: the true shapes, before any blur."""
    specimen: Specimen
    camera: Camera

    def pixels(self) -> NDArray[np.uint8]:
        """The micrograph as it decodes, uint8 [H, W, 3], RGB."""
        return np.asarray(Image.open(io.BytesIO(self.jpeg)).convert("RGB"))


@dataclass(frozen=True)
class BareFrame:
    """A micrograph before anything is printed on it and before it is stored."""

    pixels: NDArray[np.uint8]
    """[H, W, 3], RGB."""
    labels: NDArray[np.uint8]
    """As `SyntheticFrame.labels`."""
    specimen: Specimen
    camera: Camera
    rng: np.random.Generator
    """Draws what is still to come."""


def check_size(height: int, width: int) -> None:
    """Raise UsageError for sides outside 64 to 16384 px."""
    if min(height, width) < SMALLEST or max(height, width) > LARGEST:
        raise UsageError(
            f"a frame of {width} x {height} px: expected sides of {SMALLEST} to {LARGEST} px"
        )


def draw_conditions(seed: int, number: int) -> tuple[np.random.Generator, Specimen, Camera]:
    """What frame `number` of the series `seed` is to be, and the generator that draws the rest."""
    rng = np.random.default_rng([seed, number])
    return rng, draw_specimen(rng), draw_camera(rng)


def make_frame(seed: int, number: int, height: int, width: int) -> SyntheticFrame:
    """Frame `number` of the series `seed`, `height` x `width` px.

    The same arguments give the same frame, whichever others are made and in which order.
    Raises UsageError for sides outside 64 to 16384 px.
    """
    bare = make_bare_frame(seed, number, height, width)
    covered = burn_in(bare.rng, bare.pixels, bare.camera.pixel_size_um)
    bare.labels[covered] = MATRIX
    jpeg = to_jpeg(bare.pixels, bare.camera)
    return SyntheticFrame(jpeg, bare.labels, bare.specimen, bare.camera)


def make_bare_frame(seed: int, number: int, height: int, width: int) -> BareFrame:
    """What `make_frame` puts a scale bar on; raises as it does."""
    check_size(height, width)
    rng, specimen, camera = draw_conditions(seed, number)
    grains = Grains(rng, height, width, specimen.grain_um / camera.pixel_size_um)
    canvas = Canvas(height, width)
    painter = Painter(canvas, grains, rng, camera.pixel_size_um)
    painter.draw(FE, specimen.fe, specimen.mg2si)
    painter.draw(MG2SI, specimen.mg2si, specimen.fe)
    px = 1 / camera.pixel_size_um
    numbers = canvas.numbers(rng, [(d * px, c * px) for d, c in specimen.roughness])
    labels = canvas.phases()[numbers]
    labels = without_specks(labels, round(_SPECK_UM2 * px**2))
    numbers[labels == MATRIX] = 0
    brightness = _brightness(rng, canvas, numbers, labels, grains, specimen, camera)
    pixels = photograph(rng, brightness, camera)
    return BareFrame(pixels, labels, specimen, camera, rng)


def _brightness(
    rng: np.random.Generator,
    canvas: Canvas,
    numbers: NDArray[np.int32],
    labels: NDArray[np.uint8],
    grains: Grains,
    specimen: Specimen,
    camera: Camera,
) -> list[NDArray[np.float32]]:
    """What reaches the lens, relative to the matrix's mean: float32 [H, W] per channel."""
    height, width = labels.shape
    tone = matrix_tone(rng, specimen, grains, camera.pixel_size_um)
    inside = labels != MATRIX
    # Particles are mottled: tarnish, relief, pits left by polishing.
    mottle = 1 + rng.uniform(0.01, 0.06) * smooth_noise(
        rng, height, width, rng.uniform(0.15, 0.6) / camera.pixel_size_um
    )
    tone[inside] = mottle[inside].clip(0.7, 1.5)
    if specimen.scratches:
        tone += scratches(rng, specimen.scratches, height, width) * np.where(inside, 0.4, 1.0)
    phases = canvas.phases()
    offset = rng.normal(0, 0.02, len(phases)) * (phases != MATRIX)
    planes = []
    for channel in range(3):
        levels = np.ones(3)
        levels[[MG2SI, FE]] = camera.mg2si[channel], camera.fe[channel]
        # Every particle has its own shade.
        shade = (levels[phases] + offset * (1 + rng.normal(0, 0.2))).astype(np.float32)
        planes.append(shade[numbers] * tone)
    return planes
