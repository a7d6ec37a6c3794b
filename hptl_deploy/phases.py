"""Phases: their keys, names and colours.

K counts the phases of a model; a phase's class index is its place in the list.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hptl_deploy.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Colour = tuple[int, int, int]

IGNORE = 255
"""The class index of a pixel that is no phase at all and enters no denominator."""

MAX_PHASES = 250
"""Class indices are uint8 and the topmost values are reserved (255 = ignore)."""


@dataclass(frozen=True)
class Phase:
    """One phase of a micrograph."""

    key: str
    """Short, for column names: lower-case letters, digits and `_`."""
    name: str
    """As a metallographer writes it."""
    colour: Colour
    """(R, G, B), 0 to 255."""

    def to_json(self) -> dict[str, Any]:
        """The form stored in model cards and run.json."""
        return {"key": self.key, "name": self.name, "colour": list(self.colour)}


PAPER_PHASES: tuple[Phase, ...] = (
    Phase("al", "aluminium matrix", (0, 0, 0)),
    Phase("mg2si", "Mg2Si", (255, 0, 0)),
    Phase("fe", "Fe-containing phase", (255, 255, 0)),
)


_GREEK = {
    letter: unicodedata.name(letter).removeprefix("GREEK SMALL LETTER ").lower()
    for letter in "αβγδεζηθικμνξοπρστυφχψω"
} | {"λ": "lambda"}  # Unicode writes lamda


def key_from_name(name: str) -> str:
    """`Widmanstätten (fine)` -> `widmanstatten_fine`, `α-Al` -> `alpha_al`.

    For phases declared without a key. Accents go, ß is ss and Greek letters are words; empty
    where nothing of `name` can be spelt so.
    """
    # casefold takes ß apart and makes one of both small sigmas; µ (micro) becomes μ in NFKD.
    letters = unicodedata.normalize("NFKD", name).casefold()
    spelt = "".join(f" {_GREEK[one]} " if one in _GREEK else one for one in letters)
    plain = spelt.encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")


def phases_from_json(entries: object, where: str) -> tuple[Phase, ...]:
    """Read the `phases` list of a card or run.json.

    Raises InputError when the list is not one of distinct, well-formed phases.
    """
    if not isinstance(entries, list) or not 2 <= len(entries) <= MAX_PHASES:
        raise InputError(f"{where}: expected a list of 2 to {MAX_PHASES} phases, found {entries!r}")
    phases = tuple(_phase(entry, where) for entry in entries)
    keys = [phase.key for phase in phases]
    if len(set(keys)) != len(keys):
        raise InputError(f"{where}: phase keys must differ, found {', '.join(keys)}")
    return phases


def _phase(entry: object, where: str) -> Phase:
    if not isinstance(entry, dict):
        raise InputError(f"{where}: expected a phase with key, name and colour, found {entry!r}")
    key, name, colour = entry.get("key"), entry.get("name"), entry.get("colour")
    if not isinstance(key, str) or not re.fullmatch(r"[a-z0-9_]+", key):
        raise InputError(
            f"{where}: a phase's key is lower-case letters, digits and _, found {key!r}"
        )
    if not isinstance(name, str) or not name:
        raise InputError(f"{where}: phase {key} has no name")
    return Phase(key, name, parse_colour(colour, f"{where}: phase {key}"))


def parse_colour(value: object, where: str) -> Colour:
    """(R, G, B) from a list of three integers 0 to 255; raises InputError otherwise."""
    if (
        isinstance(value, list)
        and len(value) == 3
        and all(type(channel) is int and 0 <= channel <= 255 for channel in value)
    ):
        red, green, blue = value
        return (red, green, blue)
    raise InputError(f"{where}: expected a colour as three integers 0 to 255, found {value!r}")


def palette(phases: Sequence[Phase]) -> NDArray[np.uint8]:
    """The colours as uint8 [256, 3]; unused indices are black, 255 (ignore) is mid-grey."""
    import numpy as np

    table = np.zeros((256, 3), np.uint8)
    for index, phase in enumerate(phases):
        table[index] = phase.colour
    table[IGNORE] = (128, 128, 128)
    return table
