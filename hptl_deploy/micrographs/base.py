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

    from hptl_deploy.micrographs.bands import BandReader
    from hptl_deploy.tiling import Region


@dataclass(frozen=True)
class Calibration:
    """The size of a pixel, and who says so."""

    pixel_size_um: float | None
    """Micrometres per pixel, or None where it is unknown: never a guess."""
    source: str
    """`OME`, `ImageJ`, `Zeiss SEM tags`, `FEI tags`, `Olympus tags`, `TIFF tags`, `PNG`,
    `JPEG EXIF`, `JPEG`, `BMP`, `CZI`, `LIF`, `ND2`, `VSI`, `--pixel-size`, `dataset.toml`; where
    unknown, why (`not stated`, `TIFF tags: 72 dpi is a screen's`, ...)."""


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
    gaps: tuple[Region, ...] = ()
    """Rectangles that hold no pixels, such as where a mosaic has no tile; they are read as
    black and belong to no measurement."""

    @abstractmethod
    def read(self, region: Region | None = None) -> NDArray[np.uint8]:
        """Pixels of `region` (all of the page by default): uint8 [rows, columns, 3], RGB.

        Grey becomes RGB, alpha is dropped, more than 8 bits are scaled by the
        significant bits the file declares (else the full range of its type), never by
        the pixels' own range. The array belongs to the caller.

        A sample above its declared range is white. The orientation a camera notes is
        not applied: coordinates are those of the stored pixels.

        A large page is not kept: a region costs the strips or tiles that touch it, in time
        and in memory, wherever the file's format allows it.

        Raises MicrographError when the pixels cannot be decoded, and ValueError for a
        region that leaves the page.
        """

    @abstractmethod
    def bands(self, overlap: int = 0) -> BandReader:
        """A reader of consecutive bands of rows, each of which repeats the last `overlap` rows.

        Every strip or tile is decoded once. Formats that cannot be decoded by parts (PNG,
        JPEG, BMP, a TIFF of one compressed strip) are decoded once and held until the last
        band is read. Raises ValueError for a negative overlap.
        """

    @abstractmethod
    def band_bytes(self, rows: int, overlap: int = 0) -> int:
        """Memory that reading such bands of up to `rows` rows takes at most, in bytes.

        The band that is handed out is included, the next one's copies are not: who holds
        several bands adds rows x width x 3 for each further one.
        """


class Micrograph(Closes):
    """An opened file; a context manager. Not shared between threads."""

    path: Path
    pages: Sequence[Page]
    """Pages in file order: channels are not pages; thumbnails and pyramid levels are left out."""

    @abstractmethod
    def close(self) -> None:
        """Release the file; pages cannot be read afterwards."""
