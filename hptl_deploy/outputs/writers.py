"""What writes the further formats of a page, by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hptl_deploy.measurement.runs import Runs, runs_of
from hptl_deploy.outputs.geojson import write_geojson
from hptl_deploy.outputs.kinds import LABELS, QUPATH, ROIS, ZARR_VERSIONS
from hptl_deploy.outputs.labels import write_labels
from hptl_deploy.outputs.ome_zarr import (
    SUFFIX,
    banded_rows,
    write_class_zarr,
    write_confidence_zarr,
)
from hptl_deploy.outputs.rois import write_rois
from hptl_deploy.segmentation.mosaics.band import BandedRows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hptl_deploy.phases import Phase

Outputs = dict[str, Callable[[Path], None]]
"""What writes each result, by its name below the out folder."""


def frame_writers(
    also: Collection[str],
    base: str,
    classes: NDArray[np.uint8],
    confidence: NDArray[np.uint8] | None,
    phases: Sequence[Phase],
    about: dict[str, Any],
) -> Outputs:
    """Of a page in memory: class map and confidence x 255 [H, W], None where not asked for."""
    shown = None if confidence is None else banded_rows(confidence)
    found = zarr_writers(also, base, banded_rows(classes), shown, phases, about)
    if not {LABELS, QUPATH, ROIS}.isdisjoint(also):
        runs = runs_of(classes, len(phases))
        found |= particle_writers(also, base, runs, classes.shape, phases, about)
    return found


def particle_writers(
    also: Collection[str],
    base: str,
    runs: Runs,
    shape: tuple[int, int],
    phases: Sequence[Phase],
    about: dict[str, Any],
) -> Outputs:
    """Of a page [H, W] and its particles; `about` is `classmap.describe`'s."""
    found: Outputs = {
        f"{base}_particles.tif": partial(write_labels, runs=runs, shape=shape, description=about),
        f"{base}_particles.geojson": partial(
            write_geojson, runs=runs, phases=phases, description=about
        ),
        f"{base}_particles.zip": partial(write_rois, runs=runs, shape=shape, phases=phases),
    }
    kinds = dict(zip((LABELS, QUPATH, ROIS), found, strict=True))
    return {name: found[name] for kind, name in kinds.items() if kind in also}


def zarr_writers(
    also: Collection[str],
    base: str,
    classes: BandedRows,
    confidence: BandedRows | None,
    phases: Sequence[Phase],
    about: dict[str, Any],
) -> Outputs:
    """Of a page's class map, and of its confidence where that is wanted."""
    found: Outputs = {}
    for version in (ZARR_VERSIONS[kind] for kind in also if kind in ZARR_VERSIONS):
        found[f"{base}_classes{SUFFIX}"] = partial(
            write_class_zarr,
            pixels=classes,
            phases=phases,
            description=about,
            version=version,
        )
        if confidence is not None:
            found[f"{base}_confidence{SUFFIX}"] = partial(
                write_confidence_zarr,
                pixels=confidence,
                description=about,
                version=version,
            )
    return found
