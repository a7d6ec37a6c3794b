"""What every reader offers: a file is a list of pages, a page is read by region."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hptl_deploy.closing import Closes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hptl_deploy.tiling import Region


@dataclass(frozen=True)
class Calibration:
    """The size of a pixel, and who says so."""

    pixel_size_um: float | None
    """Micrometres per pixel, or None where it is unknown: never a guess."""
    source: str
    """`OME`, `ImageJ`, `TIFF tags`, `PNG`, `JPEG EXIF`, `JPEG`, `BMP`, `--pixel-size`,
    `dataset.toml`; where unknown, why (`not stated`, `TIFF tags: 72 dpi is a screen's`, ...)."""


UNCALIBRATED = Calibration(None, "not stated")


class Page(ABC):
    """One picture of a file: one field of view."""

    index: int
    """0-based place among the file's pages."""
    height: int
    """Rows, pixels."""
    width: int
    """Columns, pixels."""
    calibration: Calibration

    @abstractmethod
    def read(self, region: Region | None = None) -> NDArray[np.uint8]:
        """Pixels of `region` (all of the page by default): uint8 [rows, columns, 3], RGB.

        Grey becomes RGB, alpha is dropped, more than 8 bits are scaled by the
        significant bits the file declares (else the full range of its type), never by
        the pixels' own range. The array belongs to the caller.

        A sample above its declared range is white. The orientation a camera notes is
        not applied: coordinates are those of the stored pixels.

        Raises MicrographError when the pixels cannot be decoded, and ValueError for a
        region that leaves the page.
        """


class Micrograph(Closes):
    """An opened file; a context manager. Not shared between threads."""

    path: Path
    pages: Sequence[Page]
    """Pages in file order: channels are not pages; thumbnails and pyramid levels are left out."""

    @abstractmethod
    def close(self) -> None:
        """Release the file; pages cannot be read afterwards."""
