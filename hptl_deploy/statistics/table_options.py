"""How the tables of a run are wished for; no result of a micrograph depends on it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from hptl_deploy.csv_text import CsvStyle
from hptl_deploy.errors import UsageError

NEEDLE_ASPECT = 3.0
"""Aspect ratio from which on a particle counts as needle-shaped, unless asked otherwise."""


@dataclass(frozen=True)
class TableOptions:
    """Options of all tables of a results folder."""

    decimal_comma: bool = False
    """Semicolons and decimal commas in CSV."""
    needle_aspect: float = NEEDLE_ASPECT

    @property
    def style(self) -> CsvStyle:
        """Of CSV tables."""
        return CsvStyle(self.decimal_comma)

    def check(self) -> None:
        """Raise UsageError for what cannot be meant."""
        if not (math.isfinite(self.needle_aspect) and self.needle_aspect > 1):
            raise UsageError(
                f"--needle-aspect {self.needle_aspect:g}: expected a number above 1, because every "
                "particle is at least as long as it is wide"
            )

    def to_json(self) -> dict[str, Any]:
        """For run.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> TableOptions:
        """What `to_json` gave; the default for what is not there."""
        return cls(
            bool(document.get("decimal_comma", False)),
            float(document.get("needle_aspect", NEEDLE_ASPECT)),
        )
