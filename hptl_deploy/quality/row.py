"""What the tables say of a field's quality."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from hptl_deploy.quality.judging import FLAGS, NOISE, Figures, flags_of, flags_of_picture

if TYPE_CHECKING:
    from hptl_deploy.model import ModelCard

_NUMBERS = (
    "focus",
    "saturated_fraction",
    "illumination_range",
    "unsure_fraction",
    "unlike_training",
)
QUALITY_COLUMNS = ("flags", *_NUMBERS)
_BETWEEN = "; "


def quality_row(
    figures: Figures, card: ModelCard, pixel_size_um: float | None, *, noise: bool = False
) -> dict[str, Any]:
    """QUALITY_COLUMNS of a field; None where a figure is not known.

    `noise` says that its class map is too broken for particles.
    """
    flags = (*flags_of(figures, card, pixel_size_um), *([NOISE] if noise else []))
    return {"flags": _BETWEEN.join(flags), **{name: getattr(figures, name) for name in _NUMBERS}}


def part_flags(values: Mapping[str, Any], card: ModelCard) -> str:
    """`flags` of a field of a mosaic with these `values`, among them figures by their names.

    Those of pixel size are the mosaic's own.
    """
    figures = Figures(**{name: values.get(name) for name in _NUMBERS})
    return _BETWEEN.join(flags_of_picture(figures, card))


def flag_counts(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many rows have each flag, in the order of FLAGS; none that no row has."""
    found = Counter(flag for row in rows if row["flags"] for flag in row["flags"].split(_BETWEEN))
    return {flag: found[flag] for flag in FLAGS if found[flag]}
