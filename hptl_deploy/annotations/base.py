"""What every reader of annotations gives: pictures with shapes, each with the names it may have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Ring = Sequence[tuple[float, float]]
"""A closed outline, (x, y) in px; 0 is the outer edge of the first pixel, its centre is 0.5."""


@dataclass(frozen=True)
class Mask:
    """Pixels of a region, cut to its bounds and packed: a data set may have thousands."""

    bits: NDArray[np.uint8]
    height: int
    width: int
    row: int
    """Of the first pixel in the image; as `column`."""
    column: int

    @classmethod
    def of(cls, pixels: NDArray[np.bool_], row: int = 0, column: int = 0) -> Mask:
        """Keep `pixels` [rows, columns], whose first one lies at (row, column)."""
        import numpy as np

        rows, columns = (np.flatnonzero(pixels.any(axis=axis)) for axis in (1, 0))
        if not rows.size:
            return cls(np.zeros(0, np.uint8), 0, 0, 0, 0)
        part = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        height, width = part.shape
        return cls(np.packbits(part), height, width, row + int(rows[0]), column + int(columns[0]))

    def pixels(self) -> NDArray[np.bool_]:
        """The part inside the bounds, bool [height, width]."""
        import numpy as np

        flat = np.unpackbits(self.bits, count=self.height * self.width)
        return flat.reshape(self.height, self.width).astype(bool)


@dataclass(frozen=True)
class Shape:
    """One annotated region: rings filled by the even-odd rule, or a mask at a place."""

    where: str
    """File and number, for messages."""
    labels: tuple[str, ...]
    """Names of its class, the likeliest first."""
    rings: tuple[Ring, ...] = ()
    mask: Mask | None = None
    """In place of rings."""
    group: int = 0
    """Number of the class where no name is known; 0 for none."""


@dataclass
class Picture:
    """One annotated micrograph."""

    where: str
    """The annotation file, for messages."""
    image: Path
    shapes: list[Shape] = field(default_factory=list)
    size: tuple[int, int] | None = None
    """(width, height) that the annotations state, px."""


class Reader(ABC):
    """One format. Problems are collected, never raised."""

    name: ClassVar[str]
    later_covers: ClassVar[bool] = False
    """True where the order of shapes says which one lies on top."""

    @abstractmethod
    def recognises(self, source: Path) -> bool:
        """True where `source` looks like this format."""

    @abstractmethod
    def read(self, source: Path, problems: list[str]) -> list[Picture]:
        """The annotated micrographs of `source`; whatever is wrong is added to `problems`."""
