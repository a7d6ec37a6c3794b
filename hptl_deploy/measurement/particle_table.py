"""`_particles.parquet`: one row per particle of a page; the same particles give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy import __version__
from hptl_deploy.measurement.particles import Particles
from hptl_deploy.phases import Phase

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

ABOUT_KEY = b"hptl_deploy"
"""Under it the file's own metadata says, as JSON, what a class map's description says."""

_LENGTHS = (
    "equivalent_diameter",
    "perimeter",
    "max_feret",
    "min_feret",
    "nearest_neighbour",
)
"""Figures that are given in px and in um."""


def particle_columns() -> list[str]:
    """The columns in order; the type of each is in docs/measuring.md."""
    return [
        *("file", "page", "particle", "phase", "x_px", "y_px"),
        *("left_px", "top_px", "right_px", "bottom_px", "area_px", "equivalent_diameter_px"),
        *("perimeter_px", "max_feret_px", "min_feret_px", "aspect_ratio", "orientation_deg"),
        *("circularity", "solidity", "holes", "touches_border", "nearest_neighbour_px"),
        *("mean_confidence", "area_um2", *(f"{name}_um" for name in _LENGTHS)),
        *("model", "model_sha256", "precision", "hptl_deploy_version"),
    ]


def particle_table(
    particles: Particles, file: str, page: int, phases: Sequence[Phase], about: dict[str, Any]
) -> pa.Table:
    """The table of one page; `about` is what `classmap.describe` says of its results.

    Lengths, shapes and confidences are float32, null where there is no figure.
    """
    import pyarrow as pa

    count, size = len(particles), about["pixel_size_um"]
    keys = [phase.key for phase in phases]
    columns: dict[str, pa.Array] = {
        "file": _constant(file, count),
        "page": pa.array(np.full(count, page, np.int32)),
        "particle": pa.array(np.arange(1, count + 1, dtype=np.int32)),
        "phase": pa.DictionaryArray.from_arrays(
            pa.array(particles.phase.astype(np.int32)), pa.array(keys, pa.string())
        ),
        "area_px": pa.array(particles.area),
        "holes": _whole(particles.holes),
        "touches_border": pa.array(particles.cut),
        "orientation_deg": _figure(particles.orientation),
        "area_um2": _figure(_scaled(particles.area, None if size is None else size**2)),
        "model": _constant(about["model"], count),
        "model_sha256": _constant(about["model_sha256"][:12], count),
        "precision": _constant(about["precision"], count),
        "hptl_deploy_version": _constant(__version__, count),
    }
    for name in ("left", "top", "right", "bottom"):
        columns[f"{name}_px"] = pa.array(getattr(particles, name).astype(np.int32))
    for name in ("aspect_ratio", "circularity", "solidity", "mean_confidence"):
        columns[name] = _figure(getattr(particles, name))
    for name in ("x", "y", *_LENGTHS):
        columns[f"{name}_px"] = _figure(getattr(particles, name))
    for name in _LENGTHS:
        columns[f"{name}_um"] = _figure(_scaled(getattr(particles, name), size))
    table = pa.table({name: columns[name] for name in particle_columns()})
    return table.replace_schema_metadata({ABOUT_KEY: json.dumps(about)})


def write_particles(
    path: Path,
    particles: Particles,
    *,
    file: str,
    page: int,
    phases: Sequence[Phase],
    about: dict[str, Any],
) -> None:
    """Write `particle_table` as Parquet. Raises OSError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = particle_table(particles, file, page, phases, about)
    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    words = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
    with path.open("wb") as out:  # on a full disk pyarrow would leave its own open, and say more
        pq.write_table(
            table, out, compression="zstd", use_dictionary=words, use_byte_stream_split=floats
        )


def _constant(value: str, count: int) -> pa.Array:
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(count, np.int32)), pa.array([value], pa.string())
    )


def _figure(values: NDArray[np.float64]) -> pa.Array:
    import pyarrow as pa

    return pa.array(values.astype(np.float32), mask=np.isnan(values))


def _whole(values: NDArray[np.float64]) -> pa.Array:
    import pyarrow as pa

    missing = np.isnan(values)
    return pa.array(np.where(missing, 0, values).astype(np.int32), mask=missing)


def _scaled(values: NDArray[Any], factor: float | None) -> NDArray[np.float64]:
    return values * (np.nan if factor is None else factor)
