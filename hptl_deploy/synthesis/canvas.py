"""Where particles are drawn: a map of their numbers, and the phase of each.

Places are (x, y) in px, x to the right and y downwards, (0, 0) the middle of the first pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from hptl_deploy.synthesis.fields import smooth_noise
from hptl_deploy.synthesis.geometry import area

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_deploy.synthesis.geometry import Points

MATRIX, MG2SI, FE = 0, 1, 2
"""Class indices of the paper's phases."""


class Canvas:
    """H x W pixels, each of a particle's number; number 0 is the matrix."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self._picture = Image.new("I", (width, height), 0)
        self._draw = ImageDraw.Draw(self._picture)
        self._phases = [MATRIX]
        self.drawn = [0.0, 0.0, 0.0]
        """Area drawn per phase in px^2, overlaps and what lies outside counted."""

    def particle(self, phase: int) -> int:
        """A new particle's number."""
        self._phases.append(phase)
        return len(self._phases) - 1

    def fill(self, outline: Points, particle: int) -> None:
        """Fill a closed outline, float64 [n, 2]."""
        self._draw.polygon([(float(x), float(y)) for x, y in outline], fill=particle)
        self.drawn[self._phases[particle]] += area(outline)

    def hole(self, outline: Points) -> None:
        """Show the matrix inside a closed outline, float64 [n, 2]."""
        self._draw.polygon([(float(x), float(y)) for x, y in outline], fill=0)

    def stroke(self, path: Points, widths: NDArray[np.float64], particle: int) -> None:
        """Draw along `path`, float64 [n, 2], with a width in px per point; joints are round."""
        for (x, y), width in zip(path, widths, strict=True):
            half = float(width) / 2
            if half >= 0.75:
                box = (float(x) - half, float(y) - half, float(x) + half, float(y) + half)
                self._draw.ellipse(box, fill=particle)
        along = np.diff(path, axis=0)
        lengths = np.hypot(*along.T).clip(1e-6)
        across = np.stack([-along[:, 1], along[:, 0]], axis=1) / lengths[:, None]
        for place in range(len(along)):
            before = across[place] * widths[place] / 2
            behind = across[place] * widths[place + 1] / 2
            quad = (path[place] + before, path[place + 1] + behind,
                    path[place + 1] - behind, path[place] - before)  # fmt: skip
            self._draw.polygon([(float(x), float(y)) for x, y in quad], fill=particle)
        self.drawn[self._phases[particle]] += float((lengths * widths[:-1]).sum())

    def phase_at(self, x: float, y: float) -> int:
        """Class index at a place, the matrix outside the frame."""
        column, row = round(x), round(y)
        if not (0 <= column < self.width and 0 <= row < self.height):
            return MATRIX
        return self._phases[cast("int", self._picture.getpixel((column, row)))]

    def numbers(
        self, rng: np.random.Generator, amounts: list[tuple[float, float]]
    ) -> NDArray[np.int32]:
        """The map of numbers, int32 [H, W], its outlines roughened.

        Every pixel takes its number from a place some pixels away; the displacement is a sum of
        smooth fields, `amounts` lists (deviation in px, correlation in px) of each.
        """
        plain = np.array(self._picture, dtype=np.int32)
        rows, columns = np.mgrid[0 : self.height, 0 : self.width].astype(np.float32)
        for deviation, correlation in amounts:
            rows += deviation * smooth_noise(rng, self.height, self.width, correlation)
            columns += deviation * smooth_noise(rng, self.height, self.width, correlation)
        np.rint(rows, out=rows).clip(0, self.height - 1, out=rows)
        np.rint(columns, out=columns).clip(0, self.width - 1, out=columns)
        moved: NDArray[np.int32] = plain[rows.astype(np.int32), columns.astype(np.int32)]
        return moved

    def phases(self) -> NDArray[np.uint8]:
        """Class index by particle number, uint8 [particles + 1]."""
        return np.array(self._phases, np.uint8)


def without_specks(classes: NDArray[np.uint8], smallest: int) -> NDArray[np.uint8]:
    """`classes` with connected pieces of a phase below `smallest` px made matrix.

    uint8 [H, W], as what it returns; pixels are connected by their sides.
    """
    kept = classes.copy()
    for phase in (MG2SI, FE):
        pieces, _ = ndimage.label(classes == phase)
        sizes = np.bincount(pieces.ravel())
        sizes[0] = smallest  # the background of this phase
        kept[(sizes < smallest)[pieces]] = MATRIX
    return kept
