"""A page's measurements in the results: the file of its particles, and its row of fields.csv."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import partial
from typing import Any

from hptl_deploy import __version__
from hptl_deploy.left_out.marking import LeftOut
from hptl_deploy.measurement.fields import Field
from hptl_deploy.measurement.particle_fields import FieldGrid, field_figures, no_figures
from hptl_deploy.measurement.particle_table import write_particles
from hptl_deploy.measurement.particles import PageParticles
from hptl_deploy.model import Model, ModelCard
from hptl_deploy.phases import Phase
from hptl_deploy.quality.judging import NOISE, Figures
from hptl_deploy.quality.row import part_flags, quality_row
from hptl_deploy.segmentation.items import Outputs, PageOf

PARTICLES_ENDING = "_particles.parquet"


@dataclass(frozen=True)
class Measures:
    """What is measured of a page."""

    field: Field
    left_out: LeftOut
    figures: Figures
    particles: PageParticles | None
    """None where they are not asked for, or where the map is noise."""
    grid: FieldGrid | None = None
    """Of a mosaic: its fields."""


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
) -> Outputs:
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


def row_of(
    of: PageOf, base: str, measures: Measures, model: Model, precision: str, *, asked: bool
) -> dict[str, Any]:
    """A row of fields.csv; `base` begins its results' names, particles were `asked` for or not."""
    field, card, size = measures.field, model.card, of.calibration.pixel_size_um
    fractions = {f"{key}_area_fraction": value for key, value in field.area_fractions.items()}
    noise = asked and measures.particles is None
    return {
        "file": of.job.listed.relative,
        "page": of.page,
        "width_px": of.plan.width,
        "height_px": of.plan.height,
        "pixel_size_um": size,
        "pixel_size_source": of.calibration.source,
        "segmented_pixel_size_um": of.segmented_pixel_size_um,
        "left_out_px": field.left_out_px,
        "left_out": measures.left_out.words(),
        **fractions,
        **_of_particles(measures, base, card, size),
        "particles_note": NOISE if noise else None,
        "mean_confidence": field.mean_confidence,
        **quality_row(measures.figures, card, size, noise=noise),
        "classes_file": f"{base}_classes.tif",
        "model": card.name,
        "model_sha256": model.sha256,
        "precision": precision,
        "hptl_deploy_version": __version__,
    }


def _of_particles(
    measures: Measures, base: str, card: ModelCard, size: float | None
) -> dict[str, Any]:
    """The particles' share of a row, and a mosaic's fields."""
    found, grid, phases = measures.particles, measures.grid, card.phases
    if found is None:
        figures, file, particles = no_figures(phases), None, None
    else:
        figures = field_figures(found.particles, found.known, phases, size)
        file, particles = f"{base}{PARTICLES_ENDING}", found.particles
    parts = [] if grid is None else grid.fields(phases, particles, size)
    flagged = [part | {"flags": part_flags(part, card)} for part in parts]
    fields = {} if grid is None else {"mosaic_fields": flagged}
    return {**figures, **fields, "particles_file": file}
