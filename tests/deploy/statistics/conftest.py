"""Fields with particles, for the tables over all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.field_rows import row
from support.particle_tables import write_particle_table


@pytest.fixture
def rows(tmp_path: Path) -> list[dict[str, Any]]:
    """Three fields in two folders; two have a pixel size."""
    found = []
    for file, size, mg2si, areas, aspect in (
        ("A/a.tif", 0.5, 0.01, [100, 400, 150], [1.0, 4.0, 3.5]),
        ("A/b.tif", 0.5, 0.03, [225], [2.0]),
        ("B/=c.tif", None, 0.08, [9, 121], [None, 2.0]),
    ):
        name = f"{Path(file).with_suffix('')}_particles.parquet"
        write_particle_table(
            tmp_path / name, file, areas, aspect=aspect, pixel_size_um=size
        )  # the phases are Fe alone
        found.append(row(file, mg2si=mg2si) | {"pixel_size_um": size, "particles_file": name})
    return found
