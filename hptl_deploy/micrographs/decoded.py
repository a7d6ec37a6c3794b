"""What all readers share: pages that decode, and the one decoded page that is kept."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs.bands import BandReader, band_bytes
from hptl_deploy.micrographs.base import Calibration, Micrograph, Page
from hptl_deploy.micrographs.boundary import translated
from hptl_deploy.tiling import Region

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST_KEPT_BYTES = 64 * 2**20
"""A larger page is decoded anew for every region, where the file allows it by parts.

Who reads a large one from top to bottom asks it for `bands`.
"""


class DecodedMicrograph(Micrograph):
    """A file whose handle stays open, and at most one of its pages decoded."""

    def __init__(self, path: Path, handle: BinaryIO) -> None:
        self.path = path
        self.handle = handle
        self._kept: tuple[Page, NDArray[np.uint8]] | None = None

    def close(self) -> None:
        """Release the file and the decoded page; closing twice is harmless."""
        self._kept = None
        self.handle.close()

    def kept(self, page: Page) -> NDArray[np.uint8] | None:
        """The pixels of `page`, uint8 [H, W, 3], if it is the page that is kept."""
        return self._kept[1] if self._kept is not None and self._kept[0] is page else None

    def keep(self, page: Page, pixels: NDArray[np.uint8] | None) -> None:
        """Keep `pixels` for `page` and let go of what was kept before."""
        self._kept = None if pixels is None else (page, pixels)


class DecodedPage(Page):
    """A page that knows how to decode itself; `read` decides what is decoded when."""

    decodes_regions = False
    """True where `decode` of a region costs less than `decode` of the page."""

    def __init__(
        self,
        micrograph: DecodedMicrograph,
        index: int,
        height: int,
        width: int,
        calibration: Calibration,
    ) -> None:
        self.micrograph = micrograph
        self.index = index
        self.height = height
        self.width = width
        self.calibration = calibration

    @abstractmethod
    def decode(self, region: Region) -> NDArray[np.uint8]:
        """Pixels of `region` from the file: uint8 [rows, columns, 3], a new array.

        May raise whatever the libraries raise; `read` translates it.
        """

    @property
    def piece_rows(self) -> int:
        """See `DecodesRows`; the whole page, unless a reader knows better."""
        return self.height

    @abstractmethod
    def decoding_bytes(self, rows: int) -> int:
        """See `DecodesRows`."""

    def decode_rows(self, y0: int, y1: int) -> NDArray[np.uint8]:
        """See `DecodesRows`; what `read` kept is let go."""
        self._check_open()
        self.micrograph.keep(self, None)
        with translated(self.micrograph.path):
            return self.decode(Region(y0, y1, 0, self.width))

    def bands(self, overlap: int = 0) -> BandReader:
        """See `Page.bands`."""
        return BandReader(self, overlap)

    def band_bytes(self, rows: int, overlap: int = 0) -> int:
        """See `Page.band_bytes`."""
        return band_bytes(self, rows, overlap)

    def read(self, region: Region | None = None) -> NDArray[np.uint8]:
        """See `Page.read`. Raises ValueError for a region that leaves the page."""
        whole = Region(0, self.height, 0, self.width)
        wanted = region or whole
        if not (
            0 <= wanted.y0 <= wanted.y1 <= self.height and 0 <= wanted.x0 <= wanted.x1 <= self.width
        ):
            raise ValueError(f"{wanted} leaves the page of {self.height} x {self.width} pixels")
        self._check_open()
        with translated(self.micrograph.path):
            return self._pixels(wanted, whole)

    def _check_open(self) -> None:
        if self.micrograph.handle.closed:
            raise MicrographError("was closed before its pixels were read")

    def _pixels(self, wanted: Region, whole: Region) -> NDArray[np.uint8]:
        kept = self.micrograph.kept(self)
        if kept is None:
            # Let go of another page first: two decoded pages never exist together.
            self.micrograph.keep(self, None)
            large = self.height * self.width * 3 > LARGEST_KEPT_BYTES
            if wanted == whole or (large and self.decodes_regions):
                return self.decode(wanted)
            kept = self.decode(whole)
            self.micrograph.keep(self, kept)
        return kept[wanted.slices].copy()
