"""Words of others, from files and libraries, as they may be printed: short, and one line.

A terminal obeys what it is told by control characters, whoever wrote them.
"""

from __future__ import annotations

import unicodedata

_OBEYED = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's control characters, halves of characters, and separators of lines."""
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They make what follows them read in another order than it is written."""


def is_obeyed(character: str) -> bool:
    """True where a terminal, or the order of reading, would follow `character`."""
    return character in _TURNING or unicodedata.category(character) in _OBEYED


def printable(text: str) -> str:
    """`text`, line breaks and tabs kept, everything else that would be obeyed as `?`."""
    return "".join("?" if c not in "\n\t" and is_obeyed(c) else c for c in text)


def one_line(text: str, most: int = 200) -> str:
    """`text` in one line of at most `most` characters, what would be obeyed as `?`."""
    line = " ".join(text[: 4 * most].split())
    shown = "".join("?" if is_obeyed(character) else character for character in line)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def counted(number: int, what: str) -> str:
    """`1 field`, `2 fields`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def shown_value(value: object, most: int = 60) -> str:
    """A value as Python writes it, cut to `most` characters."""
    if isinstance(value, list | dict) and len(value) > most:
        return f"a {type(value).__name__} of {len(value)}"
    # A long text is cut before it is written out: it may be megabytes.
    text = repr(value[:most]) if isinstance(value, str) else repr(value)
    return one_line(text, most)
