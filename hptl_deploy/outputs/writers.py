"""What writes the further formats of a page, by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    return banded_writers(also, base, banded_rows(classes), shown, phases, about, tiled=False)


def banded_writers(
    also: Collection[str],
    base: str,
    classes: BandedRows,
    confidence: BandedRows | None,
    phases: Sequence[Phase],
    about: dict[str, Any],
    *,
    tiled: bool = True,
) -> Outputs:
    """Of a page that comes in bands; `about` is `classmap.describe`'s."""

    @cache
    def particles() -> Numbered:
        return Numbered(classes, len(phases))

    found: Outputs = {}
    if LABELS in also:
        found[f"{base}_particles.tif"] = lambda path: write_labels(
            path, particles(), about, tiled=tiled
        )
    if QUPATH in also:
        found[f"{base}_particles.geojson"] = lambda path: write_geojson(
            path, particles(), phases, about
        )
    if ROIS in also:
        found[f"{base}_particles.zip"] = lambda path: write_rois(path, particles(), phases)
    for version in (ZARR_VERSIONS[kind] for kind in also if kind in ZARR_VERSIONS):
        found[f"{base}_classes{SUFFIX}"] = partial(
            write_class_zarr, pixels=classes, phases=phases, description=about, version=version
        )
        if confidence is not None:
            found[f"{base}_confidence{SUFFIX}"] = partial(
                write_confidence_zarr, pixels=confidence, description=about, version=version
            )
    return found
