"""Mosaics: how a page that is too large to be held is cut into bands.

    +----------------------------+
    | band 1   tile | tile | ... |   A band is a range of full-width rows. It is read with the
    +----------------------------+   halos above and below it, segmented tile by tile, stored, and
    | band 2   tile | tile | ... |   forgotten; so memory grows with the width alone.
    +----------------------------+

Bands begin on the grid of the class map's own TIFF tiles, so that each is compressed once.
"""

from __future__ import annotations

import math

from hptl_deploy.engines.base import Capacity
from hptl_deploy.tiling import FramePlan

GRID = 256
"""Side of the TIFF tiles of a mosaic's class map, in pixels."""

LARGE = 50_000_000
"""A page of more pixels is a mosaic, whatever memory there is, so that its results look the same on
every machine: ten frames of a microscope's camera, and more than an overlay can show at once."""

BAND_BYTES = 12
"""Per pixel of a band with its halos, at most: the source as it is decoded (6), its pixels (3),
their filled-up copies for the engine, class map, confidence and their compressed form (3)."""

_TILE_PIXELS = 3_500_000
"""Of a tile with its halos, at most. Larger ones would spend less on halos; this one costs a third
less memory than a whole frame of 2560 x 1920."""
_MOST_ROWS = 16 * GRID


def plan_bands(
    height: int,
    width: int,
    capacity: Capacity,
    *,
    tile: int | None,
    engine_bytes: float,
    band_bytes: float,
) -> FramePlan | None:
    """The bands and tiles that spend least on halos; None where nothing fits.

    An engine may take `engine_bytes` for a tile, a band `band_bytes`. `tile` forces the side of the
    cores, in pixels.
    """
    grid = math.lcm(GRID, capacity.stride)
    best: tuple[float, FramePlan] | None = None
    for rows in range(grid, max(grid, _MOST_ROWS) + 1, grid):
        core = _core(rows, width, capacity, tile, engine_bytes)
        plan = FramePlan(height, width, capacity.stride, capacity.halo, core, rows)
        if core is None or band_pixels(plan) * BAND_BYTES > band_bytes:
            continue
        if not _takes(plan, capacity):
            continue
        spent = sum(math.prod(tile.read.shape) for tile in plan.tiles(plan.areas[0]))
        price = spent / math.prod(plan.areas[0].shape)
        if best is None or price < best[0]:
            best = (price, plan)
        if rows >= height:
            break
    return None if best is None else best[1]


def band_pixels(plan: FramePlan) -> int:
    """Of the largest band with its halos."""
    rows = min(plan.height, (plan.band or plan.height) + 2 * plan.halo)
    return rows * plan.width


def _core(
    rows: int, width: int, capacity: Capacity, tile: int | None, engine_bytes: float
) -> tuple[int, int] | None:
    """(rows, columns) of the widest core in a band of `rows`; None where the engine has no room."""
    if tile is not None:
        return (min(tile, rows), tile)
    stride, halo = capacity.stride, capacity.halo
    most = _TILE_PIXELS
    if capacity.bytes_per_pixel:
        most = min(most, int(engine_bytes / capacity.bytes_per_pixel))
    columns = (most // (rows + 2 * halo) - 2 * halo) // stride * stride
    if columns < stride:
        return None
    pieces = math.ceil(width / columns)
    return (rows, math.ceil(width / pieces / stride) * stride)


def _takes(plan: FramePlan, capacity: Capacity) -> bool:
    """Whether an engine that was built for certain shapes takes every tile."""
    edges = {plan.areas[0], plan.areas[-1], plan.areas[min(1, len(plan.areas) - 1)]}
    shapes = {tile.read.shape for area in edges for tile in plan.tiles(area)}
    return all(capacity.takes(*shape) for shape in shapes)
