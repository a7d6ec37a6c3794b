"""Colour and boundary features of every pixel.

The paper says no more than "colour and boundary features". Ours, over Gaussians of a few
widths sigma, in grey levels (per px, per px^2):

    colour      red, green, blue as they are, and smoothed at each sigma
    boundary    at each sigma, of the grey (the mean of the three):
                - gradient: magnitude of the Gaussian gradient: an edge
                - hessian+, hessian-: the larger and the smaller eigenvalue of the Hessian: a dark
                  or pale line, a spot; their sum is the Laplacian of Gaussian
                - coherent, diffuse: roots of the larger and the smaller eigenvalue of the
                  structure tensor, the squared gradient at the smallest sigma averaged at this
                  one: how much edge is about, across its main direction and along it

Outside the frame its edge pixels are repeated. F counts the features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

from hptl_deploy.tiling import FramePlan, Tile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.float32]

_COLOURS = ("red", "green", "blue")
_BOUNDARY = ("gradient", "hessian+", "hessian-", "coherent", "diffuse")
_TRUNCATE = 4.0
"""Kernels end at four sigma, where a Gaussian has fallen to 3e-4 of its peak."""


def names(sigmas: Sequence[float]) -> tuple[str, ...]:
    """What each of the F features is, as `gradient@2`: the gradient at sigma 2."""
    per_sigma = (f"{name}@{sigma:g}" for sigma in sigmas for name in _COLOURS + _BOUNDARY)
    return (*_COLOURS, *per_sigma)


def reach(sigmas: Sequence[float]) -> int:
    """How many px away, along rows or columns, a pixel can still change a feature."""
    return _radius(min(sigmas)) + _radius(max(sigmas))


def features(pixels: NDArray[np.uint8], sigmas: Sequence[float]) -> Plane:
    """Features [F, H, W] of `pixels` [H, W, 3], in the order of `names`."""
    colours = np.moveaxis(pixels, -1, 0).astype(np.float32)
    grey = colours.mean(axis=0)
    down, across = _derivative(grey, min(sigmas), 1, 0), _derivative(grey, min(sigmas), 0, 1)
    squares = down * down, down * across, across * across
    planes = np.empty((len(names(sigmas)), *grey.shape), np.float32)
    planes[:3] = colours
    filled = 3
    for sigma in sigmas:
        found = [
            *(_derivative(colour, sigma, 0, 0) for colour in colours),
            np.hypot(_derivative(grey, sigma, 1, 0), _derivative(grey, sigma, 0, 1)),
            *_eigenvalues(*(_derivative(grey, sigma, 2 - n, n) for n in range(3))),
            # Rounding leaves the smaller one a little below 0 where there is one direction.
            *(
                np.sqrt(value.clip(0))
                for value in _eigenvalues(*(_derivative(s, sigma, 0, 0) for s in squares))
            ),
        ]
        planes[filled : filled + len(found)] = found
        filled += len(found)
    return planes


def tiles(shape: tuple[int, ...], sigmas: Sequence[float], side: int) -> Iterator[Tile]:
    """The tiles of `side` px that cover a frame of `shape` [H, W, ...], with their halos."""
    height, width = shape[:2]
    return FramePlan(height, width, 1, reach(sigmas), (side, side)).tiles()


def features_of_tile(pixels: NDArray[np.uint8], sigmas: Sequence[float], tile: Tile) -> Plane:
    """Features [F, h, w] of one of `tiles`, bit for bit those of the whole frame `pixels`."""
    return features(pixels[tile.read.slices], sigmas)[:, *tile.keep.slices]


def _radius(sigma: float) -> int:
    """Of the kernels, in px."""
    return int(_TRUNCATE * sigma + 0.5)


def _derivative(plane: Plane, sigma: float, down: int, across: int) -> Plane:
    """`plane` [H, W] smoothed and derived so many times along rows' and columns' numbers."""
    found: Plane = gaussian_filter(
        plane, sigma, order=(down, across), mode="nearest", radius=_radius(sigma)
    )
    return found


def _eigenvalues(first: Plane, mixed: Plane, last: Plane) -> tuple[Plane, Plane]:
    """The larger and the smaller eigenvalue of [[first, mixed], [mixed, last]], per pixel."""
    middle = (first + last) * np.float32(0.5)
    half = np.hypot((first - last) * np.float32(0.5), mixed)
    return middle + half, middle - half
