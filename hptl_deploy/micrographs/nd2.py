"""Nikon ND2: its metadata are decoded by nd2 (optional), its rows are read here.

Every picture that the file holds (of a position, at a time, in a focal plane) is a page, in the
order of acquisition. A picture has one component, or three: blue, green and red, in that order
(github.com/ome/bioformats/pull/4321, by comparison with NIS-Elements; nd2 hands them out as they
are stored). Several channels are refused, because which of them would be red, green and blue is a
matter of display.

The rows are not read by nd2: it maps the file into memory, where a file that becomes shorter ends
the process, and it hands out black for a picture that is missing.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import calibration as calibrations
from hptl_deploy.micrographs import limits
from hptl_deploy.micrographs.base import UNCALIBRATED, Calibration
from hptl_deploy.micrographs.decoded import DecodedMicrograph
from hptl_deploy.micrographs.nd2_directory import Chunk, check_text, pictures, read_map
from hptl_deploy.micrographs.raw import RawPage, Samples
from hptl_deploy.micrographs.sniff import file_size

INSTALL = 'pip install "hptl-deploy[nd2]"'
_TEXTS = {
    2: ("ImageAttributes", "ImageMetadataSeq|0"),
    3: ("ImageAttributesLV", "ImageMetadataSeqLV|0"),
}
"""By the version of the file, the parts that describe the pictures."""
_VERSION_AT = 16 + 32 + 3
_DEFLATE_RATIO = 1040.0


class _Attributes(Protocol):
    """What is used of nd2's Attributes."""

    bitsPerComponentInMemory: int  # noqa: N815
    bitsPerComponentSignificant: int  # noqa: N815
    componentCount: int  # noqa: N815
    channelCount: int  # noqa: N815
    heightPx: int  # noqa: N815
    widthPx: int  # noqa: N815
    widthBytes: int  # noqa: N815
    compressionType: str | None  # noqa: N815
    tileWidthPx: int | None  # noqa: N815
    pixelDataType: str  # noqa: N815


class Nd2Micrograph(DecodedMicrograph):
    """An ND2 file of version 2 or 3."""

    def __init__(self, path: Path, handle: BinaryIO) -> None:
        super().__init__(path, handle)
        positions = read_map(handle)
        texts = _TEXTS[_version(handle)]
        for name in (f"{text}!".encode() for text in texts):
            if name not in positions:
                raise MicrographError(
                    f"is damaged: it has no part {name.decode()!r}; copy it again"
                )
            check_text(handle, positions[name], name)
        attributes, metadata = _described(handle, texts[1])
        samples = _samples(attributes)
        packed = attributes.compressionType == "lossless"
        calibration = _calibration(metadata)
        self.pages: list[RawPage] = []
        chunks = pictures(handle, positions)
        limits.check_pictures(len(chunks), sum(chunk.size for chunk in chunks), file_size(handle))
        for index, chunk in enumerate(chunks):
            _check_size(samples, chunk, packed=packed)
            if packed:
                self.pages.append(PackedPage(self, index, samples, calibration, chunk))
            else:
                placed = replace(samples, position=chunk.position)
                self.pages.append(RawPage(self, index, placed, calibration))
        if not self.pages:
            raise MicrographError("holds no picture; export it again from NIS-Elements")


class PackedPage(RawPage):
    """A picture that is compressed as a whole."""

    decodes_regions = False

    def __init__(
        self,
        micrograph: DecodedMicrograph,
        index: int,
        samples: Samples,
        calibration: Calibration,
        chunk: Chunk,
    ) -> None:
        super().__init__(micrograph, index, samples, calibration)
        self._chunk = chunk

    @property
    def piece_rows(self) -> int:
        """See `DecodesRows`."""
        return self.height

    def decoding_bytes(self, rows: int) -> int:
        """See `DecodesRows`."""
        # Unpacked pieces are put together at the end, which takes them twice.
        unpacked = self.samples.bytes_of(self.height)
        return super().decoding_bytes(self.height) + unpacked + self._chunk.size

    def stored_rows(self, y0: int, y1: int) -> bytes:
        """See `RawPage.stored_rows`; all of the picture is unpacked."""
        self.micrograph.handle.seek(self._chunk.position)
        stored = self.micrograph.handle.read(self._chunk.size)
        wanted = self.samples.bytes_of(self.height)
        rows = zlib.decompressobj().decompress(stored, wanted)
        if len(rows) < wanted:
            raise MicrographError(
                f"is damaged: a picture unpacks to {len(rows)} bytes, expected {wanted}; "
                "copy it again"
            )
        start = y0 * self.samples.row_bytes
        return rows[start : start + self.samples.bytes_of(y1 - y0)]


class _Unmapped:
    """The handle as nd2 is to see it: no file that could be mapped or closed."""

    closed = False

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle

    def read(self, size: int | None = -1, /) -> bytes:
        return self._handle.read(-1 if size is None else size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._handle.seek(offset, whence)

    def close(self) -> None:
        self.closed = True


def _version(handle: BinaryIO) -> int:
    handle.seek(_VERSION_AT)
    digit = handle.read(1)
    if digit not in (b"2", b"3"):
        raise MicrographError(
            f"is an ND2 file of version {digit.decode('latin-1')!r}; expected 2 or 3",
            hint="Export it as TIFF from NIS-Elements",
        )
    return int(digit)


def _described(handle: BinaryIO, text: str) -> tuple[_Attributes, dict[str, Any]]:
    """(What the pictures look like, what is known about the first one)."""
    try:
        from nd2 import ND2File
    except ImportError as exc:
        raise MicrographError(
            "is a Nikon ND2 file, and the package that reads these is not installed here",
            hint=f"Install it: {INSTALL}",
        ) from exc
    with ND2File(_Unmapped(handle)) as file:
        attributes = cast("_Attributes", file.attributes)
        content = file.unstructured_metadata(strip_prefix=False, include={text}).get(text)
    metadata = content if isinstance(content, dict) else {}
    return attributes, metadata.get("SLxPictureMetadata", metadata)


def _samples(attributes: _Attributes) -> Samples:
    """Of every picture; the position is a packed one's, 0."""
    bits, components = attributes.bitsPerComponentInMemory, attributes.componentCount
    if attributes.channelCount > 1 or components not in (1, 3):
        channels = max(attributes.channelCount, components)
        raise MicrographError(
            f"holds {channels} channels; expected one, grey or colour",
            hint="Choose one in NIS-Elements and save it as a file of its own",
        )
    if bits not in (8, 16) or attributes.pixelDataType != "unsigned":
        raise MicrographError(
            f"holds samples of {bits} bits; expected unsigned integers of 8 or 16 bits",
            hint="Convert it to 16 bit in NIS-Elements",
        )
    if attributes.compressionType == "lossy" or attributes.tileWidthPx:
        kind = "compressed with losses" if not attributes.tileWidthPx else "divided into tiles"
        raise MicrographError(
            f"holds pictures that are {kind}, which is not known here",
            hint="Export it as TIFF from NIS-Elements",
        )
    limits.check_size(attributes.widthPx, attributes.heightPx)
    sample = bits // 8
    if attributes.widthBytes < attributes.widthPx * components * sample:
        raise MicrographError(
            f"is damaged: a row of {attributes.widthPx} pixels has {attributes.widthBytes} bytes; "
            "copy it again"
        )
    significant = attributes.bitsPerComponentSignificant
    return Samples(
        attributes.heightPx,
        attributes.widthPx,
        0,
        attributes.widthBytes,
        components * sample,
        (0,) if components == 1 else (2 * sample, sample, 0),
        bits,
        significant if 1 <= significant <= bits else bits,
    )


def _check_size(samples: Samples, chunk: Chunk, *, packed: bool) -> None:
    limits.check_declared(
        samples.width,
        samples.height,
        samples.bytes_of(samples.height),
        chunk.size,
        _DEFLATE_RATIO if packed else 1.0,
    )


def _calibration(metadata: dict[str, Any]) -> Calibration:
    size, aspect = metadata.get("dCalibration"), metadata.get("dAspect")
    if not metadata.get("bCalibrated") or not isinstance(size, float) or size <= 0:
        return UNCALIBRATED
    # Of the height of a pixel to its width, or the other way round: it has to be 1.
    ratio = aspect if isinstance(aspect, float) and aspect > 0 else 1.0
    return calibrations.from_computed(size, size * ratio, "ND2")
