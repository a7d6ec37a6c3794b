"""Tables as text, for the two worlds: comma and decimal point, or semicolon and decimal comma."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CsvStyle:
    """How tables are written: as programs expect them, or as Excel does in much of Europe."""

    decimal_comma: bool = False
    """`0,5;0,7` instead of `0.5,0.7`."""

    @property
    def delimiter(self) -> str:
        """Between cells."""
        return ";" if self.decimal_comma else ","

    def number(self, text: str) -> str:
        """A number, written with a decimal point, in this style."""
        return text.replace(".", ",") if self.decimal_comma else text

    def text(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
        """A whole table.

        Without a byte-order mark: scripts would take it for part of the first column's name.
        """
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.delimiter, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
        return text.getvalue()


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a table of ours in either style, all cells as text.

    The style is seen from the header, whose names hold neither separator. Raises OSError.
    """
    text = path.read_text(encoding="utf-8")
    header = text.partition("\n")[0]
    delimiter = ";" if ";" in header else ","
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
