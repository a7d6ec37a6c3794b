"""A strip's or tile's own header against the directory, before its decoder believes it."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import open_micrograph
from hptl_deploy.micrographs.tiff_streams import COMPRESSION_RATIO, check_stream
from support.broken_micrographs import PIXELS, grey_tiff, patched, sentence

COLOURS = np.stack([PIXELS, PIXELS.T.reshape(PIXELS.shape), 255 - PIXELS], axis=-1)
ROWS, COLUMNS = PIXELS.shape
_SIZ = b"\xff\x4f\xff\x51"


def _jpeg(width: int, height: int, **options: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(PIXELS).save(content, "JPEG", **options)
    changed = bytearray(content.getvalue())
    frame = changed.index(b"\xff\xc2" if options else b"\xff\xc0")
    struct.pack_into(">HH", changed, frame + 5, height, width)
    return bytes(changed)


def _jpeg_2000(width: int, height: int, codec: str = "j2k", tile: int | None = None) -> bytes:
    changed = bytearray(imagecodecs.jpeg2k_encode(COLOURS, codecformat=codec))
    size = changed.index(_SIZ) + 8
    struct.pack_into(">II", changed, size, width, height)
    if tile is not None:
        struct.pack_into(">II", changed, size + 16, tile, tile)
    return bytes(changed)


def _png(width: int, height: int) -> bytes:
    changed = bytearray(imagecodecs.png_encode(PIXELS))
    struct.pack_into(">II", changed, 16, width, height)
    return bytes(changed)


def _webp_lossless(width: int, height: int) -> bytes:
    changed = bytearray(imagecodecs.webp_encode(COLOURS, lossless=True))
    at = changed.index(b"VP8L") + 9
    bits = int.from_bytes(changed[at : at + 4], "little") >> 28 << 28
    struct.pack_into("<I", changed, at, bits | (height - 1) << 14 | (width - 1))
    return bytes(changed)


def _webp(width: int, height: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(COLOURS).save(content, "WEBP", quality=80)
    changed = bytearray(content.getvalue())
    assert changed[12:16] == b"VP8 "
    struct.pack_into("<HH", changed, 26, width, height)
    return bytes(changed)


def _webp_canvas(width: int, height: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(COLOURS).save(content, "WEBP", quality=80, exif=b"Exif\0\0II*\0" + bytes(8))
    changed = bytearray(content.getvalue())
    assert changed[12:16] == b"VP8X"
    changed[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(changed)


STREAMS: dict[str, tuple[int, Callable[[int, int], bytes]]] = {
    "jpeg": (7, _jpeg),
    "progressive jpeg": (7, lambda width, height: _jpeg(width, height, progressive=True)),
    "jpeg of old": (6, _jpeg),
    "lossy dng": (34892, _jpeg),
    "jpeg 2000": (34712, _jpeg_2000),
    "jpeg 2000 file": (33005, lambda width, height: _jpeg_2000(width, height, codec="jp2")),
    "png": (34933, _png),
    "webp": (50001, _webp),
    "lossless webp": (50001, _webp_lossless),
    "webp with more": (34927, _webp_canvas),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_is_of_its_piece_size(kind: str) -> None:
    scheme, write = STREAMS[kind]
    check_stream(scheme, write(COLUMNS, ROWS), ROWS, COLUMNS)
    check_stream(scheme, write(COLUMNS // 2, ROWS // 2), ROWS, COLUMNS)  # cut at the page's edge
    check_stream(scheme, write(COLUMNS + 64, ROWS + 64), ROWS, COLUMNS)  # whole blocks
    for width, height in ((COLUMNS + 65, ROWS), (COLUMNS, ROWS + 65), (9000, 9000)):
        with pytest.raises(MicrographError) as caught:
            check_stream(scheme, write(width, height), ROWS, COLUMNS)
        assert str(caught.value) == (
            f"is damaged: a piece of {COLUMNS} x {ROWS} pixels says of itself that it has "
            f"{width} x {height}; copy it again"
        )
    for content in (b"", b"\xff\xd8", bytes(100), write(COLUMNS, ROWS)[:20]):
        with pytest.raises(MicrographError, match=r"^is damaged: a piece of its pixels does not b"):
            check_stream(scheme, content, ROWS, COLUMNS)


def test_a_jpeg_frame_is_found_as_the_library_finds_it() -> None:
    whole = _jpeg(9000, 9000)
    start, rest = whole[:2], whole[2:]
    hidden = b"\xff\xe1\x00\x13" + b"\xff\xc0\x00\x0b\x08" + struct.pack(">HH", 8, 8) + bytes(8)
    for content in (
        start + b"\xff\xff\xff" + rest[1:],
        start + b"no marker\xff\0" + rest,
        start + b"\xff\xd0" + rest,
        start + hidden + rest,
    ):
        with pytest.raises(MicrographError, match="says of itself that it has 9000 x 9000"):
            check_stream(7, content, ROWS, COLUMNS)


def test_a_jpeg_2000_stream_of_many_tiles() -> None:
    check_stream(34712, _jpeg_2000(COLUMNS, ROWS, tile=16), ROWS, COLUMNS)
    with pytest.raises(MicrographError, match="says of itself"):
        check_stream(34712, _jpeg_2000(COLUMNS, ROWS, tile=1), ROWS, COLUMNS)
    with pytest.raises(MicrographError, match="says of itself"):
        check_stream(34712, _jpeg_2000(COLUMNS, ROWS, tile=0), ROWS, COLUMNS)


def test_streams_without_a_header_pass() -> None:
    for scheme in set(COMPRESSION_RATIO) - {code for code, _ in STREAMS.values()}:
        if scheme not in {33003, 33004, 33007}:
            check_stream(scheme, b"", ROWS, COLUMNS)


def test_a_stream_that_claims_gigabytes_is_refused_when_it_is_read(tmp_path: Path) -> None:
    content = _jpeg(30_000, 30_000)
    tifffile.imwrite(
        tmp_path / "x.tif", iter([content]), shape=PIXELS.shape, dtype=np.uint8, compression=7,
        photometric="minisblack", metadata=None,
    )  # fmt: skip
    assert sentence(tmp_path / "x.tif") == (
        "is damaged: a piece of 80 x 64 pixels says of itself that it has 30000 x 30000; "
        "copy it again"
    )


@pytest.mark.parametrize("compression", ["jpegxr", "jpegxl", "lerc"])
def test_what_is_rare_and_takes_damage_ill(tmp_path: Path, compression: str) -> None:
    path = grey_tiff(tmp_path, compression=compression)
    scheme = {"jpegxr": "34934, JPEGXR", "jpegxl": "50002, JPEGXL", "lerc": "34887, LERC"}
    assert sentence(path) == (
        "is compressed in a way that is not known here (TIFF compression "
        f"{scheme[compression]}). Export it uncompressed or with LZW"
    )


@pytest.mark.parametrize("compression", ["lzma", "png", "webp", "jpeg2000", "zstd"])
def test_what_is_rare_is_read(tmp_path: Path, compression: str) -> None:
    options: dict[str, Any] = {"compression": compression, "photometric": "rgb"}
    if compression in {"webp", "jpeg2000"}:
        options["compressionargs"] = {"lossless": True} if compression == "webp" else {"level": 0}
    path = grey_tiff(tmp_path, COLOURS, **options)
    with open_micrograph(path) as micrograph:
        assert np.array_equal(micrograph.pages[0].read(), COLOURS)


@pytest.mark.parametrize("compression", ["zstd", "lzma", "webp", "jpeg2000"])
def test_few_bytes_for_many_pixels(tmp_path: Path, compression: str) -> None:
    path = grey_tiff(tmp_path, COLOURS, photometric="rgb", compression=compression)
    for code in (256, 257, 278):
        patched(path, code, 1_000_000)
    assert sentence(path).startswith("declares 1000000 x 1000000 pixels, which ")


def test_blank_pictures_are_no_bombs(tmp_path: Path) -> None:
    """As far as each scheme goes, by its own encoder."""
    blank = np.zeros((4096, 4096), np.uint8)
    for scheme in ("lzw", "deflate", "zstd", "lzma", "packbits", "jpeg", "jpeg2000", "png"):
        path = grey_tiff(tmp_path, blank, compression=scheme, rowsperstrip=4096)
        with open_micrograph(path) as micrograph:
            assert micrograph.pages[0].height == 4096, scheme
