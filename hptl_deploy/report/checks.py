"""What was noticed about the fields: flags, regions left out, and pixel sizes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from hptl_deploy.report.reading import Row
from hptl_deploy.results import is_number

_NAMED = 6
"""Fields that are named for each flag; fields.csv has all."""
_JUDGED = {
    "focus": "focus",
    "illumination_range": "evenness of light",
    "saturated_fraction": "saturation",
    "unsure_fraction": "certainty",
    "unlike_training": "likeness to the training data",
}
"""Columns of fields.csv that flags rest on, and what they tell."""
_PLACE = re.compile(r" \d+ x \d+ px at \(\d+, \d+\)$| \d+ px$")
"""Size and place of a region, which differ from field to field."""


def calibration(rows: Sequence[Row]) -> dict[str, Any]:
    """Which pixel sizes the fields have, who says so, and at which the network saw them."""
    known = [row for row in rows if is_number(row["pixel_size_um"])]
    sizes: list[float] = [row["pixel_size_um"] for row in known]
    rescaled: list[float] = [
        size for row in known
        if is_number(size := row.get("segmented_pixel_size_um")) and size != row["pixel_size_um"]
    ]  # fmt: skip
    return {
        "fields": len(rows),
        "known": len(known),
        "unknown": len(rows) - len(known),
        "low": min(sizes, default=None),
        "high": max(sizes, default=None),
        "sources": Counter(row["pixel_size_source"] for row in known).most_common(),
        "rescaled": len(rescaled),
        "rescaled_low": min(rescaled, default=None),
        "rescaled_high": max(rescaled, default=None),
    }


def flags(rows: Sequence[Row]) -> list[dict[str, Any]] | None:
    """Every flag with the fields that have it, most frequent first; None where none were set.

    Empty where every field was checked and none was conspicuous.
    """
    if not rows or any("flags" not in row for row in rows):
        return None
    return _by_word((row, str(row["flags"] or "").split("; ")) for row in rows)


def mosaic_flags(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """As `flags`, of the fields that mosaics are divided into: how many have each, of which files.

    Empty where there are none, or none is conspicuous.
    """
    words = [
        (row, [str(part.get("flags") or "").split("; ") for part in row["mosaic_fields"]])
        for row in rows
        if row.get("mosaic_fields")
    ]
    counted = Counter(word for _, parts in words for part in parts for word in part)
    whole = sum(len(parts) for _, parts in words)
    return [
        one | {"count": counted[one["what"]], "of": whole}
        for one in _by_word((row, chain.from_iterable(parts)) for row, parts in words)
    ]


def unjudged(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What fields were not judged by, and how many; there, no flag is no verdict.

    Their figure is blank, or these results do not have it at all.
    """
    counted = {
        what: sum(row.get(column) is None for row in rows) for column, what in _JUDGED.items()
    }
    return [{"what": what, "count": count} for what, count in counted.items() if count]


def left_out(rows: Sequence[Row]) -> dict[str, Any] | None:
    """What was left out of how many fields, and how much in all; None where it is not noted.

    `kinds` is empty where every pixel counts.
    """
    if not rows or any("left_out_px" not in row for row in rows):
        return None
    those = [row for row in rows if row["left_out_px"]]
    area = sum(row["width_px"] * row["height_px"] for row in those)
    return {
        "kinds": _by_word(
            (row, (_PLACE.sub("", word) for word in str(row["left_out"]).split("; ")))
            for row in those
        ),
        "fields": len(those),
        "share": sum(row["left_out_px"] for row in those) / area if area else 0.0,
    }


def _by_word(told: Iterable[tuple[Row, Iterable[str]]]) -> list[dict[str, Any]]:
    """Which fields each word is told of, most frequent first."""
    found: dict[str, list[Row]] = {}
    for row, words in told:
        for word in dict.fromkeys(filter(None, words)):
            found.setdefault(word, []).append(row)
    ordered = sorted(found.items(), key=lambda item: -len(item[1]))
    return [
        {
            "what": word,
            "count": len(those),
            "named": [row["file"] for row in those[:_NAMED]],
            "more": max(0, len(those) - _NAMED),
        }
        for word, those in ordered
    ]
