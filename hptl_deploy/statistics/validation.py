"""What a model's card says of its errors, phase by phase: it stands beside every figure.

An interval over fields tells how well the mean of *found* fractions is known. How far what is
found is from what is there, only a comparison with labelled micrographs can say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hptl_deploy.phases import Phase
from hptl_deploy.results import is_number

NOT_STATED = "not stated"


@dataclass(frozen=True)
class Validation:
    """Scores of one phase on the validation micrographs; None where the card does not state them.

    All of them are of the network in fp32, pooled over the validation split.
    """

    iou: float | None = None
    """Intersection over union, 0 to 1."""
    area_fraction_error: float | None = None
    """Area fraction found minus the true one, over all pixels, -1 to 1."""
    mean_absolute_area_error: float | None = None
    """Mean over micrographs of |fraction found - true fraction|, 0 to 1."""

    def to_json(self) -> dict[str, float | None]:
        """For run.json."""
        return asdict(self)


Validations = Mapping[str, Validation]
"""By phase key, one for every phase."""


def validation_of(scores: Mapping[str, Any], phases: Sequence[Phase]) -> dict[str, Validation]:
    """The scores of every phase in `scores`, a card's `validation`.

    Anybody may have written them: what is no number is as good as not stated.
    """
    stated: dict[object, Mapping[str, Any]] = {
        entry.get("key"): entry for entry in scores.get("phases", []) if isinstance(entry, Mapping)
    }
    return {phase.key: _validation(stated.get(phase.key, {})) for phase in phases}


def validation_from_json(document: object, phases: Sequence[Phase]) -> dict[str, Validation]:
    """What run.json says; not stated where it says nothing."""
    stated = document if isinstance(document, Mapping) else {}
    entries = [{**entry, "key": key} for key, entry in stated.items() if isinstance(entry, Mapping)]
    return validation_of({"phases": entries}, phases)


def _validation(entry: Mapping[str, Any]) -> Validation:
    return Validation(
        _number(entry.get("iou")),
        _number(entry.get("area_fraction_error")),
        _number(entry.get("mean_absolute_area_error")),
    )


def _number(value: object) -> float | None:
    return float(value) if is_number(value) else None
