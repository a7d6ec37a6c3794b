"""A page's particles in the results: their file, and their figures in the row of fields.csv."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from hptl_deploy.measurement.particle_fields import FieldGrid, field_figures, no_figures
from hptl_deploy.measurement.particle_table import write_particles
from hptl_deploy.measurement.particles import PageParticles
from hptl_deploy.phases import Phase
from hptl_deploy.segmentation.items import PageOf

PARTICLES_ENDING = "_particles.parquet"

NOISE = "too many particles to be any"
"""Said of a page with more runs than particles have; its figures of particles are blank."""


def load_libraries() -> None:
    """Import what measuring takes: up to a second, in which frames would pile up later."""
    for name in ("pyarrow.parquet", "scipy.sparse.csgraph", "scipy.spatial", "shapely"):
        importlib.import_module(name)


def particle_writers(
    found: PageParticles | None,
    of: PageOf,
    base: str,
    phases: tuple[Phase, ...],
    about: dict[str, Any],
) -> dict[str, Callable[[Path], None]]:
    """What writes the table of particles, by name; nothing where they are not measured."""
    if found is None:
        return {}
    write = partial(
        write_particles,
        particles=found.particles,
        file=of.job.listed.relative,
        page=of.page,
        phases=phases,
        about=about,
    )
    return {f"{base}{PARTICLES_ENDING}": write}


def particle_row(
    found: PageParticles | None,
    of: PageOf,
    base: str,
    phases: tuple[Phase, ...],
    grid: FieldGrid | None,
    *,
    asked: bool,
) -> dict[str, Any]:
    """The particles' share of a row; with `grid`, which a mosaic has, its fields as well.

    `particles_note` says why there are none though they were `asked` for; it is no column.
    """
    size = of.calibration.pixel_size_um
    particles = None if found is None else found.particles
    figures = (
        no_figures(phases)
        if found is None
        else field_figures(found.particles, found.known, phases, size)
    )
    fields = {} if grid is None else {"mosaic_fields": grid.fields(phases, particles, size)}
    return {
        **figures,
        **fields,
        "particles_file": None if found is None else f"{base}{PARTICLES_ENDING}",
        "particles_note": NOISE if asked and found is None else None,
    }
