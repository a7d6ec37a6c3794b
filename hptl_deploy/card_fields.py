"""A JSON document that anybody may have written, and its fields by type.

Python would take "8", 8.0 and true for the number 8, and any text for a name.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from hptl_deploy.wording import is_obeyed, shown_value

_DEEPEST = 16
"""Levels of lists and objects; a card has four."""
_LARGEST = 2**64
"""Of a number: seeds have up to 64 bits."""
_LONGEST_NAME = 500
"""Characters of what stands in one line."""


def parsed(text: str) -> object:
    """The document. Raises ValueError where it is not JSON, or no card could hold it."""
    try:
        document = json.loads(text, parse_constant=_refuse, object_pairs_hook=_distinct)
    except RecursionError as exc:
        raise ValueError(_TOO_DEEP) from exc
    _check_values(document, "it", _DEEPEST)
    return document


_TOO_DEEP = f"lists and objects are more than {_DEEPEST} deep"


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{shown_value(key)} is stated twice")
        found[key] = value
    return found


def _check_values(value: object, where: str, levels: int) -> None:
    """Numbers are numbers and texts can be printed, at every place of the document."""
    if isinstance(value, str):
        if value.isprintable():  # most are, and this is quick
            return
        obeyed = next((one for one in value if is_obeyed(one) and one not in "\n\t"), None)
        if obeyed is not None:
            raise ValueError(f"{where} holds the control character {obeyed!a}")
    elif isinstance(value, int | float):
        if not abs(value) <= _LARGEST:
            raise ValueError(f"{where} is a number beyond 64 bits")
    elif isinstance(value, dict | list):
        if not levels:
            raise ValueError(_TOO_DEEP)
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, entry in inner:
            if isinstance(key, str):
                _check_values(key, "the name of a field", levels)
            _check_values(entry, f"`{shown_value(key).strip(chr(39))}`", levels - 1)


class Fields:
    """The fields of one object of a document; every method raises KeyError or ValueError."""

    def __init__(self, document: object, name: str = "") -> None:
        """`name` says where it stands: `width.`; the document itself has none."""
        if not isinstance(document, dict):
            self._unlike(name.rstrip(".") or "it", "an object", document)
        self._document: dict[str, Any] = document
        self._name = name

    def has(self, key: str) -> bool:
        """True where the field is there and not null."""
        return self._document.get(key) is not None

    def text(self, key: str) -> str:
        """One line that is not empty."""
        value = self._document[key]
        if not isinstance(value, str) or not value or len(value) > _LONGEST_NAME:
            self._unlike(key, f"a text of 1 to {_LONGEST_NAME} characters", value)
        if "\n" in value or "\t" in value:
            self._unlike(key, "one line", value)
        return value

    def passage(self, key: str) -> str:
        """Any text."""
        value = self._document[key]
        if not isinstance(value, str):
            self._unlike(key, "a text", value)
        return value

    def whole(self, key: str) -> int:
        """A whole number."""
        value = self._document[key]
        if type(value) is not int:
            self._unlike(key, "a whole number", value)
        return value

    def wholes(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers."""
        values = self._document[key]
        if not isinstance(values, list) or any(type(value) is not int for value in values):
            self._unlike(key, "a list of whole numbers", values)
        return tuple(values)

    def number(self, key: str) -> float:
        """A number."""
        value = self._document[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            self._unlike(key, "a number", value)
        return float(value)

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self._document[key]
        if not isinstance(value, bool):
            self._unlike(key, "true or false", value)
        return value

    def inner(self, key: str) -> Fields:
        """An object inside this one."""
        return Fields(self._document[key], f"{self._name}{key}.")

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of lines, none of them empty."""
        inner = self._listed(key)
        return tuple(inner.text(place) for place in inner.plain())

    def series(self, key: str) -> tuple[float, ...]:
        """A list of numbers."""
        inner = self._listed(key)
        return tuple(inner.number(place) for place in inner.plain())

    def objects(self, key: str) -> list[Fields]:
        """A list of objects."""
        values = self._document[key]
        if not isinstance(values, list):
            self._unlike(key, "a list", values)
        return [Fields(value, f"{self._name}{key}[{n}].") for n, value in enumerate(values)]

    def _listed(self, key: str) -> Fields:
        """A list as an object whose fields are called by their places."""
        values = self._document[key]
        if not isinstance(values, list):
            self._unlike(key, "a list", values)
        named = {str(place): value for place, value in enumerate(values)}
        return Fields(named, f"{self._name}{key}.")

    def numbers(self, key: str) -> dict[str, float]:
        """An object of numbers."""
        inner = self.inner(key)
        return {name: inner.number(name) for name in inner.plain()}

    def plain(self) -> dict[str, Any]:
        """The object itself."""
        return self._document

    def _unlike(self, key: str, expected: str, value: object) -> NoReturn:
        name = getattr(self, "_name", "")
        raise ValueError(f"`{name}{key}`: expected {expected}, found {shown_value(value)}")
