"""What writes the further formats of a page, by name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from hptl_deploy.measurement.particles import Particles
from hptl_deploy.outputs.geojson import write_geojson
from hptl_deploy.outputs.kinds import LABELS, QUPATH, ROIS, ZARR_VERSIONS
from hptl_deploy.outputs.labels import write_labels
from hptl_deploy.outputs.numbering import Numbered
from hptl_deploy.outputs.ome_zarr import (
    SUFFIX,
    banded_rows,
    write_class_zarr,
    write_confidence_zarr,
)
from hptl_deploy.outputs.rois import write_rois
from hptl_deploy.segmentation.items import Outputs, Solved
from hptl_deploy.segmentation.mosaics.band import BandedRows
from hptl_deploy.segmentation.mosaics.mosaic import Mosaic

if TYPE_CHECKING:
    from hptl_deploy.phases import Phase


@dataclass(frozen=True)
class Maps:
    """The maps of a page."""

    classes: BandedRows
    confidence: BandedRows | None
    """None where it is not asked for."""
    tiled: bool
    """The page comes in bands."""


def maps_of(source: Solved | Mosaic, *, confidence: bool) -> Maps:
    """Of a page that lies in memory, or of one whose bands are stored."""
    if isinstance(source, Mosaic):
        return Maps(source.classes(), source.confidence(), tiled=True)
    shown = banded_rows(source.confidence) if confidence else None
    return Maps(banded_rows(source.classes), shown, tiled=False)


def further_writers(
    also: Collection[str],
    base: str,
    page: Maps,
    phases: Sequence[Phase],
    about: dict[str, Any],
    figures: Particles | None = None,
    *,
    noise: bool = False,
) -> Outputs:
    """The formats that `also` names; `about` is `classmap.describe`'s.

    `figures` are what was measured of the particles, if they were. Of a page that is `noise`,
    which has no table of particles, they are not written either.
    """
    found = {} if noise else _particle_writers(also, base, page, phases, about, figures)
    for version in (ZARR_VERSIONS[kind] for kind in also if kind in ZARR_VERSIONS):
        found[f"{base}_classes{SUFFIX}"] = partial(
            write_class_zarr, pixels=page.classes, phases=phases, description=about, version=version
        )
        if page.confidence is not None:
            found[f"{base}_confidence{SUFFIX}"] = partial(
                write_confidence_zarr, pixels=page.confidence, description=about, version=version
            )
    return found


def _particle_writers(
    also: Collection[str],
    base: str,
    page: Maps,
    phases: Sequence[Phase],
    about: dict[str, Any],
    figures: Particles | None,
) -> Outputs:
    @cache  # numbered once, when the first of them is written
    def particles() -> Numbered:
        return Numbered(page.classes, len(phases))

    found: Outputs = {}
    if LABELS in also:
        found[f"{base}_particles.tif"] = lambda path: write_labels(
            path, particles(), about, tiled=page.tiled
        )
    if QUPATH in also:
        found[f"{base}_particles.geojson"] = lambda path: write_geojson(
            path, particles(), phases, about, figures
        )
    if ROIS in also:
        found[f"{base}_particles.zip"] = lambda path: write_rois(path, particles(), phases)
    return found
