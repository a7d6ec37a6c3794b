"""Particle tables of pages, as `segment` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

_LENGTHS = ("equivalent_diameter", "perimeter", "max_feret", "min_feret", "nearest_neighbour")


def write_particle_table(
    path: Path,
    file: str,
    areas: Sequence[int],
    *,
    keys: Sequence[str] | None = None,
    cut: Sequence[bool] | None = None,
    aspect: Sequence[float | None] | None = None,
    pixel_size_um: float | None = None,
) -> pa.Table:
    """One row per area in px; phases `fe` unless `keys` says otherwise."""
    count = len(areas)
    area = np.array(areas, np.int64)
    ramp = pa.array(np.linspace(0.1, 1, count), pa.float32())
    blank = pa.nulls(count, pa.float32())
    columns: dict[str, Any] = {
        "file": _words([file] * count),
        "page": pa.array([1] * count, pa.int32()),
        "particle": pa.array(range(1, count + 1), pa.int32()),
        "phase": _words(keys or ["fe"] * count),
        **dict.fromkeys(("x_px", "y_px"), ramp),
        **{f"{side}_px": pa.array([7] * count, pa.int32())
           for side in ("left", "top", "right", "bottom")},
        "area_px": pa.array(area),
        **{f"{name}_px": ramp for name in _LENGTHS[:4]},
        "aspect_ratio": pa.array(aspect or [None] * count, pa.float32()),
        **dict.fromkeys(("orientation_deg", "circularity", "solidity"), ramp),
        "holes": pa.array([0] * count, pa.int32()),
        "touches_border": pa.array(cut or [False] * count),
        "nearest_neighbour_px": ramp,
        "mean_confidence": ramp,
        "area_um2": blank if pixel_size_um is None
        else pa.array((area * pixel_size_um**2).astype(np.float32)),
        **{f"{name}_um": blank if pixel_size_um is None else ramp for name in _LENGTHS},
        **{name: _words([value] * count) for name, value in (
            ("model", "m"), ("model_sha256", "0" * 12), ("precision", "fp32"),
            ("hptl_deploy_version", "0.1.0"))},
    }  # fmt: skip
    table = pa.table(columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table.replace_schema_metadata({"hptl_deploy": file}), path)
    return table


def _words(values: Sequence[str]) -> pa.DictionaryArray:
    return pa.array(values, pa.string()).dictionary_encode()
