"""Rows of fields.csv as the ledger keeps them."""

from __future__ import annotations

from typing import Any


def row(file: str, *, mg2si: float = 0.1, fe: float = 0.0, page: int = 1) -> dict[str, Any]:
    """A field of 20 x 10 px; the pixel size is unknown."""
    return {
        "file": file,
        "page": page,
        "width_px": 20,
        "height_px": 10,
        "pixel_size_um": None,
        "pixel_size_source": "unknown",
        "al_area_fraction": 1 - mg2si - fe,
        "mg2si_area_fraction": mg2si,
        "fe_area_fraction": fe,
        "mean_confidence": 0.9,
        "classes_file": f"{file}_classes.tif",
        "model": "m",
        "model_sha256": "0" * 64,
        "precision": "fp32",
        "hptl_deploy_version": "0.1.0",
    }
