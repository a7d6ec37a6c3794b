"""How unevenly a micrograph is lit: the matrix's brightness over the field.

Medians of the matrix's grey levels in a grid of cells, to which a surface of second order is
fitted; a few cells whose matrix is not plain (a stain, particles taken for matrix) weigh little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.quality.sample import grey

if TYPE_CHECKING:
    from numpy.typing import NDArray

MATRIX = 0
"""Its index in every class map."""
_CELLS = 8
"""Rows and columns of the grid."""
_SAMPLES = 48
"""Pixels across a cell that are looked at, at most: a median needs no more."""
_LEAST_PIXELS = 64
"""Of the matrix in a cell, among these."""
_LEAST_CELLS = 32
"""Half the grid: with fewer a surface would be guessed over the rest."""
_ROUNDS = 10


def illumination_range(pixels: NDArray[np.uint8], classes: NDArray[np.uint8]) -> float | None:
    """Largest less smallest brightness of the matrix over the field, as a share of its mean.

    `pixels` uint8 [H, W, 3] with their `classes`, uint8 [H, W]; only class 0, the matrix, counts.
    Brightness is that of the fitted surface, in grey levels as the camera gives them. None where
    less than half of the field has matrix in it.
    """
    places, levels = _cells(pixels, classes)
    if len(levels) < _LEAST_CELLS:
        return None
    fitted = _surface(places, levels)
    y, x = np.meshgrid(*(np.linspace(-1, 1, 33),) * 2, indexing="ij")
    surface = _terms(y.ravel(), x.ravel()) @ fitted
    mean = float(surface.mean())
    return float(np.ptp(surface) / mean) if mean > 0 else None


def _cells(
    pixels: NDArray[np.uint8], classes: NDArray[np.uint8]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres (y, x) from -1 to 1 [N, 2] and median grey levels [N] of cells with matrix."""
    height, width = classes.shape
    places, levels = [], []
    for row in range(_CELLS):
        for column in range(_CELLS):
            top, bottom = row * height // _CELLS, (row + 1) * height // _CELLS
            left, right = column * width // _CELLS, (column + 1) * width // _CELLS
            area = (
                slice(top, bottom, max(1, (bottom - top) // _SAMPLES)),
                slice(left, right, max(1, (right - left) // _SAMPLES)),
            )
            matrix = pixels[area][classes[area] == MATRIX]
            if len(matrix) >= _LEAST_PIXELS:
                places.append(((top + bottom) / height - 1, (left + right) / width - 1))
                levels.append(float(np.median(grey(matrix))))
    return np.array(places).reshape(-1, 2), np.array(levels)


def _terms(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([np.ones_like(y), y, x, y * y, x * x, x * y], axis=-1)


def _surface(places: NDArray[np.float64], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients of `_terms`, by least squares with Tukey's weights."""
    terms = _terms(places[:, 0], places[:, 1])
    weights: NDArray[np.float64] = np.ones_like(levels)
    fitted: NDArray[np.float64] = np.zeros(terms.shape[1])
    for _ in range(_ROUNDS):
        root = np.sqrt(weights)
        fitted[:] = np.linalg.lstsq(terms * root[:, None], levels * root, rcond=None)[0]
        away = np.abs(levels - terms @ fitted)
        # 1.48 medians are a deviation; half a grey level where the fit is perfect.
        scale = max(1.48 * float(np.median(away)), 0.5)
        weights = np.maximum(1 - (away / (4.685 * scale)) ** 2, 0) ** 2
    return fitted
