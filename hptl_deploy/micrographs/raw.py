"""Pictures that lie uncompressed in a file, row by row: a region costs its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import limits
from hptl_deploy.micrographs.base import Calibration
from hptl_deploy.micrographs.decoded import DecodedMicrograph, DecodedPage
from hptl_deploy.micrographs.sniff import file_size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hptl_deploy.tiling import Region

_LOOKING_UP_BYTES = 2**20
"""Copies and indices of the samples that are looked up at once, and the table."""


@dataclass(frozen=True)
class Samples:
    """Where the samples of a picture lie, in bytes; all are little-endian and unsigned."""

    height: int
    width: int
    position: int
    """Of the first pixel: in the file, or in what `RawPage.stored_rows` makes of it."""
    row_bytes: int
    """From one row to the next one."""
    pixel_bytes: int
    """From one pixel of a row to the next one."""
    offsets: tuple[int, ...]
    """From a pixel's position to its grey sample, or to red, green and blue."""
    bits: int
    """8 or 16 of a sample, as stored."""
    depth: int
    """Significant bits."""

    def bytes_of(self, rows: int) -> int:
        """From the first sample of so many rows to behind the last one."""
        if rows == 0:
            return 0
        last = (rows - 1) * self.row_bytes + (self.width - 1) * self.pixel_bytes
        return last + max(self.offsets) + self.bits // 8


class RawPage(DecodedPage):
    """A page of such samples."""

    decodes_regions = True

    def __init__(
        self,
        micrograph: DecodedMicrograph,
        index: int,
        samples: Samples,
        calibration: Calibration,
    ) -> None:
        limits.check_size(samples.width, samples.height)
        super().__init__(micrograph, index, samples.height, samples.width, calibration)
        self.samples = samples

    @property
    def piece_rows(self) -> int:
        """See `DecodesRows`."""
        return 1

    def decoding_bytes(self, rows: int) -> int:
        """See `DecodesRows`."""
        # What is stored, the levels of one colour, RGB, and what looking levels up takes.
        rows = min(rows, self.height)
        return rows * (self.samples.row_bytes + self.width * (1 + 3)) + _LOOKING_UP_BYTES

    def decode(self, region: Region) -> NDArray[np.uint8]:
        """See `DecodedPage.decode`."""
        import numpy as np

        from hptl_deploy.micrographs.pixels import look_up, scaling_table

        kind, dtype = self.samples, np.dtype(f"<u{self.samples.bits // 8}")
        rgb = np.empty((*region.shape, 3), np.uint8)
        if 0 in region.shape:
            return rgb
        limits.check_memory(self.width, self.height, self.decoding_bytes(region.height))
        stored = self.stored_rows(region.y0, region.y1)
        table = scaling_table(kind.bits, kind.depth)
        for colour, offset in enumerate(kind.offsets):
            plane = np.ndarray(
                region.shape,
                dtype,
                stored,
                region.x0 * kind.pixel_bytes + offset,
                (kind.row_bytes, kind.pixel_bytes),
            )
            rgb[..., colour] = plane if kind.depth == kind.bits == 8 else look_up(table, plane)
        if len(kind.offsets) == 1:
            rgb[..., 1:] = rgb[..., :1]
        return rgb

    def stored_rows(self, y0: int, y1: int) -> bytes:
        """The bytes of rows y0 to y1, from the first pixel's on."""
        kind, handle = self.samples, self.micrograph.handle
        position, length = kind.position + y0 * kind.row_bytes, kind.bytes_of(y1 - y0)
        handle.seek(position)
        stored = handle.read(length)
        if len(stored) < length:
            raise MicrographError(
                f"is cut short: rows {y0} to {y1} end at byte {position + length}, the file has "
                f"{file_size(handle)}; copy it again"
            )
        return stored
