"""What `--also` may ask for."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Collection, Iterable

from hptl_deploy.errors import EnvironmentLacks, MicrographError, UsageError

LABELS, QUPATH, ROIS = "labels", "qupath", "rois"
ZARR, ZARR_04 = "ome-zarr", "ome-zarr-0.4"

KINDS = (LABELS, QUPATH, ROIS, ZARR, ZARR_04)

LARGEST_ROI_SIDE = 60535
"""Of a page, in px: ImageJ takes a region's place for 16 bits, unsigned from -5001 downwards."""

ZARR_VERSIONS = {ZARR: "0.5", ZARR_04: "0.4"}
"""Of OME-Zarr."""


def parse_also(values: Iterable[str]) -> tuple[str, ...]:
    """Kinds from the values of a repeatable option, each a list with commas; in the order of KINDS.

    Raises UsageError for a word that is none of them, and as `check_also`.
    """
    words = {word.strip().lower() for value in values for word in value.split(",")} - {""}
    check_also(words)
    return tuple(kind for kind in KINDS if kind in words)


def check_also(words: Iterable[str]) -> None:
    """Raise UsageError for what cannot be meant, EnvironmentLacks where a library is missing."""
    words = sorted(words)
    for word in words:
        if word not in KINDS:
            raise UsageError(f"--also {word}: expected one or more of {', '.join(KINDS)}")
        if word in ZARR_VERSIONS and importlib.util.find_spec("zarr") is None:
            raise EnvironmentLacks(
                f"--also {word} needs the library zarr, which is not installed",
                hint='Install it: pip install "hptl-deploy[zarr]"',
            )
    if ZARR in words and ZARR_04 in words:
        raise UsageError(
            f"--also {ZARR},{ZARR_04}: both would have the same names",
            hint=f"Ask for one: {ZARR} is version 0.5, for programs that read Zarr 3",
        )


def check_page(words: Collection[str], height: int, width: int) -> None:
    """Raise MicrographError, before it is segmented, for a page that a format has no form for."""
    if ROIS in words and max(height, width) > LARGEST_ROI_SIDE:
        raise MicrographError(
            f"{width} x {height} px: ImageJ's regions reach to {LARGEST_ROI_SIDE} px",
            hint="Leave rois out of --also for this micrograph",
        )


def load_libraries(words: Collection[str]) -> None:
    """Import what they take: up to a second, in which frames would pile up later."""
    if words:
        importlib.import_module("hptl_deploy.outputs.writers")
    if ROIS in words:
        importlib.import_module("roifile")
    if not ZARR_VERSIONS.keys().isdisjoint(words):
        importlib.import_module("zarr")
