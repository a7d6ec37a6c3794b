"""Whole or in bands, and in which memory: of pages that are rescaled."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

from hptl_deploy.engines.base import Capacity
from hptl_deploy.errors import MicrographError
from hptl_deploy.rescaling.grid import Grid
from hptl_deploy.rescaling.page import PartsPlan, Rescaled, part_rows
from hptl_deploy.segmentation.memory import FRAME_BYTES, MemoryPlan
from hptl_deploy.segmentation.mosaics.banding import BAND_BYTES, band_rows, cheapest_bands
from hptl_deploy.tiling import FramePlan

_SEEN_BYTES = 16
"""Per pixel that the network sees, at most: while resampling, Pillow's picture between its two
passes (4) and behind them (4), its copy and what is kept of it (6); later what is kept (3), its
filled-up copy (3), the engine's answer (2), class map and confidence (2)."""


def plan_rescaled(
    memory: MemoryPlan,
    shape: tuple[int, int],
    ratio: Fraction,
    capacity: Capacity,
    tile: int | None,
) -> Rescaled:
    """How a page of `shape` (rows, columns) is seen at `ratio` times its pixels along a row.

    As `MemoryPlan.plan`: a mosaic, and a page that the queues cannot hold together with what the
    network sees of it, goes in bands of the page's own rows. `tile` is of what the network sees.
    Raises MicrographError where that needs more than there is, or more than the engine takes.
    """
    grid = Grid(*shape, ratio)
    try:
        return _planned(memory, grid, capacity, tile)
    except MicrographError as exc:
        rows, columns = grid.seen
        raise MicrographError(
            f"rescaled to {columns} x {rows} px: {exc.message}",
            hint=f"{exc.hint}, or segment it as it is with --rescale off",
        ) from exc


def _planned(memory: MemoryPlan, grid: Grid, capacity: Capacity, tile: int | None) -> Rescaled:
    pixels, seen = grid.height * grid.width, math.prod(grid.seen)
    held = pixels * FRAME_BYTES + seen * _SEEN_BYTES
    if not memory.in_bands(pixels, held):
        return Rescaled(grid, memory.whole(*grid.seen, capacity, tile), held)

    def cheapest(engine_bytes: float, band_bytes: float) -> PartsPlan | None:
        bands = _bands(grid, capacity, band_bytes)
        return cheapest_bands(bands, capacity, tile=tile, engine_bytes=engine_bytes)

    plan = memory.banded((grid.height, grid.width), capacity, tile, cheapest)
    return Rescaled(grid, plan, _held(grid, plan))


def _bands(grid: Grid, capacity: Capacity, most_bytes: float) -> Iterator[PartsPlan]:
    """Without their cores: bands of ever more rows, as long as they take `most_bytes` at most."""
    for own_band in band_rows(grid.height):
        own = FramePlan(grid.height, grid.width, capacity.stride, capacity.halo, None, own_band)
        parts = tuple(part_rows(grid, capacity.stride, area) for area in own.areas)
        largest = max(bottom - top for top, bottom in parts)
        plan = PartsPlan(*grid.seen, capacity.stride, capacity.halo, None, largest, parts, own_band)
        if _held(grid, plan) > most_bytes:
            return
        yield plan


def _held(grid: Grid, plan: PartsPlan) -> int:
    """Bytes that the largest band takes: its own rows, and what the network sees of it."""
    most = 0
    for part in plan.areas:
        seen = plan.rows_for(part)
        top, bottom = grid.own_rows(seen.y0, seen.y1)
        own_bytes = (bottom - top) * grid.width * BAND_BYTES
        most = max(most, own_bytes + math.prod(seen.shape) * _SEEN_BYTES)
    return most
