"""What a run says of its fields' pixel sizes: in run.json, and in one line on the screen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hptl_deploy.rescaling.ratio import TOLERANCE


def rescaling_counts(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Of rows of fields.csv: how many were seen at another pixel size, at their own, or unknown."""
    counts = {"rescaled": 0, "as_they_are": 0, "pixel_size_unknown": 0}
    for row in rows:
        own = row["pixel_size_um"]
        if own is None:
            counts["pixel_size_unknown"] += 1
        else:
            as_is = own == row["segmented_pixel_size_um"]
            counts["as_they_are" if as_is else "rescaled"] += 1
    return counts


def rescaling_line(
    rows: Sequence[Mapping[str, Any]], trained_um: float | None, rescale: str
) -> str | None:
    """For the screen; None without fields, and of a model that does not know its pixel size."""
    if trained_um is None or not rows:
        return None
    counts, size = rescaling_counts(rows), f"{trained_um:.4g} um per pixel"
    words = f"rescaled: {counts['rescaled']} of {len(rows)} fields, to {size} as in training"
    if rescale == "off":
        sizes = [row["pixel_size_um"] for row in rows if row["pixel_size_um"] is not None]
        others = sum(max(own / trained_um, trained_um / own) > 1 + TOLERANCE for own in sizes)
        words = f"--rescale off: {others} of {len(rows)} fields are not of {size} as in training"
    if counts["pixel_size_unknown"]:
        words += f"; pixel size unknown, so not rescaled: {counts['pixel_size_unknown']}"
    return words
