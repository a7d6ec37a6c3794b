"""What the results say of the model that made them, and of its errors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hptl_deploy.phases import Phase
from hptl_deploy.report.figures import phase_document
from hptl_deploy.report.reading import Results, tables
from hptl_deploy.results import is_number, table

_HASH = re.compile(r"\b[0-9a-f]{64}\b")


def model_section(results: Results) -> dict[str, Any]:
    """Name, hash, origin and scores; `card` is empty in results of earlier versions."""
    of = results.table("model")
    card = table(of, "card")
    return {
        "name": of.get("name"),
        "sha256": of.get("sha256"),
        "precision": results.table("engine").get("precision") or of.get("precision"),
        "card": bool(card),
        "network": card.get("network"),
        "input_scale": card.get("input_scale"),
        "synthetic": card.get("synthetic") is True,
        "pixel_sizes_um": _trained_sizes(card),
        "lineage": _lineage(card),
        "licence": table(card, "licence"),
        "training": {
            name.replace("_", " "): value
            for name, value in table(card, "training").items()
            if value not in ("", None)
        },
        "accuracy": table(card, "validation").get("accuracy"),
        "pixels": table(card, "validation").get("pixels"),
        "scores": scores(results.phases, table(card, "validation")),
    }


def _trained_sizes(card: Mapping[str, Any]) -> list[float]:
    """Smallest and largest pixel size of the training micrographs, or the only one; may be none."""
    several = card.get("trained_pixel_sizes_um")
    found = several if isinstance(several, list) else [card.get("pixel_size_um")]
    return sorted({size for size in found if is_number(size)})


def _lineage(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Step by step: which network, and what it learned from, with 12 characters of its hash."""
    found = []
    for step in tables(card, "lineage"):
        data = str(step.get("data", ""))
        digest = _HASH.search(data)
        found.append(
            {
                "step": str(step.get("step", "")),
                "iterations": step.get("iterations"),
                "data": _HASH.sub("", data).strip(),
                "sha256": digest[0][:12] if digest else "",
            }
        )
    return found


def scores(phases: Sequence[Phase], validation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The validation scores of each phase that has some, 0 to 1.

    `iou`; area fractions of all pixels, `true` and `found`; `off`, found - true; `bias`, the same
    as a share of the true one, None where nothing of the phase is true; `one`, the mean |found -
    true| of a micrograph.
    """
    by_key = {one.get("key"): one for one in tables(validation, "phases")}
    found = []
    for phase in phases:
        if phase.key not in by_key:
            continue
        one = by_key[phase.key]
        true, seen = one.get("area_fraction_true"), one.get("area_fraction_predicted")
        off, bias = None, None
        if is_number(true) and is_number(seen):
            off = seen - true
            bias = off / true if true > 0 else None
        found.append(
            {
                **phase_document(phase),
                "iou": one.get("iou"),
                "true": true,
                "found": seen,
                "off": off,
                "bias": bias,
                "one": one.get("mean_absolute_area_error"),
            }
        )
    return found
