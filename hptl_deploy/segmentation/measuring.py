"""A page's particles in the results: their file, and their figures in the row of fields.csv."""

from __future__ import annotations

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

NOISE = "no particles: the class map is noise"
"""Of a page with more runs than particles have; its figures of particles are blank."""


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
) -> dict[str, Any]:
    """The particles' share of a row; with `grid`, which a mosaic has, its fields as well."""
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
    }
