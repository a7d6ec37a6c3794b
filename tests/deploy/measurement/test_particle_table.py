"""The Parquet file: its columns as promised, units, nulls, the same bytes again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hptl_deploy import __version__
from hptl_deploy.measurement.particle_table import ABOUT_KEY, particle_columns, write_particles
from hptl_deploy.phases import PAPER_PHASES
from support.particles import measured

COLUMNS = [
    "file",
    "page",
    "particle",
    "phase",
    "x_px",
    "y_px",
    "left_px",
    "top_px",
    "right_px",
    "bottom_px",
    "area_px",
    "equivalent_diameter_px",
    "perimeter_px",
    "max_feret_px",
    "min_feret_px",
    "aspect_ratio",
    "orientation_deg",
    "circularity",
    "solidity",
    "holes",
    "touches_border",
    "nearest_neighbour_px",
    "mean_confidence",
    "area_um2",
    "equivalent_diameter_um",
    "perimeter_um",
    "max_feret_um",
    "min_feret_um",
    "nearest_neighbour_um",
    "model",
    "model_sha256",
    "precision",
    "hptl_deploy_version",
]


def about(pixel_size_um: float | None) -> dict[str, Any]:
    return {
        "model": "m",
        "model_sha256": "0123456789abcdef" * 4,
        "precision": "fp32",
        "pixel_size_um": pixel_size_um,
    }


def scene() -> np.ndarray:
    classes = np.zeros((60, 90), np.uint8)
    classes[0:10, 0:10] = 2  # cut
    classes[20:32, 20:50] = 1
    classes[24:27, 30:33] = 0  # a hole
    classes[40:44, 60:64] = 1  # small
    return classes


def written(path: Path, pixel_size_um: float | None, classes: np.ndarray) -> pa.Table:
    confidence = np.full_like(classes, 204)
    particles = measured(classes, confidence)
    write_particles(
        path, particles, file="a/b.tif", page=2, phases=PAPER_PHASES, about=about(pixel_size_um)
    )
    return pq.read_table(path)


def test_columns_units_and_nulls(tmp_path: Path) -> None:
    table = written(tmp_path / "p.parquet", 0.5, scene())
    assert table.column_names == COLUMNS == particle_columns()
    cut, large, small = table.to_pylist()
    assert [row["particle"] for row in (cut, large, small)] == [1, 2, 3]
    assert [row["phase"] for row in (cut, large, small)] == ["fe", "mg2si", "mg2si"]
    assert {row["file"] for row in (cut, large, small)} == {"a/b.tif"}
    assert large["page"] == 2
    box = [large[f"{side}_px"] for side in ("left", "top", "right", "bottom")]
    assert box == [20, 20, 50, 32]
    assert large["area_px"] == 351
    assert large["area_um2"] == pytest.approx(351 * 0.25)
    assert large["holes"] == 1
    assert large["min_feret_px"] == pytest.approx(12)
    assert large["min_feret_um"] == pytest.approx(6)
    assert large["aspect_ratio"] == pytest.approx(2.5)
    assert large["orientation_deg"] == 0
    assert large["mean_confidence"] == pytest.approx(0.8)
    assert large["nearest_neighbour_um"] == pytest.approx(large["nearest_neighbour_px"] / 2)
    assert large["model_sha256"] == "0123456789ab"
    assert large["hptl_deploy_version"] == __version__
    assert (cut["touches_border"], large["touches_border"]) == (True, False)
    assert (cut["area_px"], cut["area_um2"]) == (100, 25)
    for name in ("equivalent_diameter_px", "perimeter_um", "max_feret_px", "solidity", "holes"):
        assert cut[name] is None
    assert small["equivalent_diameter_um"] == pytest.approx(np.sqrt(4 * 16 / np.pi) / 2)
    assert small["max_feret_um"] is small["circularity"] is None
    assert json.loads(table.schema.metadata[ABOUT_KEY]) == about(0.5)


def test_without_a_pixel_size_what_is_in_um_is_null(tmp_path: Path) -> None:
    table = written(tmp_path / "p.parquet", None, scene())
    assert table.column_names == COLUMNS
    in_um = [name for name in COLUMNS if name.endswith(("_um", "_um2"))]
    assert len(in_um) == 6
    assert all(table[name].null_count == len(table) for name in in_um)
    assert table["min_feret_px"].null_count == 2
    assert written(tmp_path / "q.parquet", 0.5, scene()).schema.types == table.schema.types


def test_a_page_without_particles_has_an_empty_table(tmp_path: Path) -> None:
    table = written(tmp_path / "p.parquet", 0.5, np.zeros((5, 5), np.uint8))
    assert len(table) == 0
    assert table.schema.types == written(tmp_path / "q.parquet", 0.5, scene()).schema.types


def test_the_same_particles_give_the_same_bytes(tmp_path: Path) -> None:
    one, other = tmp_path / "p.parquet", tmp_path / "q.parquet"
    written(one, 0.25, scene())
    written(other, 0.25, scene())
    assert one.read_bytes() == other.read_bytes()
