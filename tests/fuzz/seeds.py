"""Sound files to begin from: every kind that the readers take, each a few kilobytes."""

from __future__ import annotations

import io
import re
import struct
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, TiffImagePlugin

from support.micrograph_samples import HEIGHT, RED, SAMPLES, WIDTH, grey_bits, ramp

_GREY = (np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) * 2 % 256).astype(np.uint8)
_COLOUR = np.stack([_GREY, _GREY.T.reshape(HEIGHT, WIDTH), 255 - _GREY], axis=-1)
_DEEP = _GREY.astype(np.uint16) * 257

_SCHEMES: dict[str, dict[str, Any]] = {
    "jpegxr": {"compression": "jpegxr"},
    "jpegxl": {"compression": "jpegxl"},
    "lerc": {"compression": "lerc"},
    "lzma": {"compression": "lzma"},
    "png": {"compression": "png"},
    "jpeg2000": {"compression": "jpeg2000"},
    "zstd-predictor": {"compression": "zstd", "predictor": True},
    "deflate-strips": {"compression": "deflate", "rowsperstrip": 8, "predictor": True},
    "lzw-tiled": {"compression": "lzw", "tile": (16, 16)},
    "lzw-big-endian": {"compression": "lzw", "byteorder": ">", "rowsperstrip": 8},
    "bigtiff-big-endian": {"bigtiff": True, "byteorder": ">", "compression": "deflate"},
    "bigtiff-tiled": {"bigtiff": True, "tile": (16, 16)},
}
_COLOURS_ONLY: dict[str, dict[str, Any]] = {
    "webp": {"compression": "webp"},
    "jpeg-subsampled": {"compression": "jpeg", "subsampling": (2, 2)},
    "jpeg-ycbcr": {"compression": "jpeg", "photometric": "ycbcr", "subsampling": (2, 1)},
    "jpeg-strips": {"compression": "jpeg", "rowsperstrip": 16},
    "planar-deflate": {"compression": "deflate", "planarconfig": 2},
}

_UUID, _NO_UUID = re.compile(rb"urn:uuid:[0-9a-f-]{36}"), b"urn:uuid:" + b"0" * 36
"""In OME-XML: another one each time, where a seed has to be the same."""


@dataclass(frozen=True)
class Seed:
    name: str
    suffix: str
    content: bytes


@cache
def picture_seeds() -> tuple[Seed, ...]:
    """Samples of the readers' own tests, and what those have no need of."""
    with tempfile.TemporaryDirectory() as folder:
        known = [Seed(s.name, s.suffix, s.file(Path(folder)).read_bytes()) for s in SAMPLES]
    made = (*_tiffs(), *_pillow_tiffs(), *_pngs(), *_jpegs(), *_bmps())
    found = (*known, *(Seed(name, f".{name.split('-')[0]}", content) for name, content in made))
    return tuple(Seed(s.name, s.suffix, _UUID.sub(_NO_UUID, s.content)) for s in found)


def _tiff(array: Any, **options: Any) -> bytes:
    content = io.BytesIO()
    options.setdefault("metadata", None)
    tifffile.imwrite(content, array, **options)
    return content.getvalue()


def _tiffs() -> Iterator[tuple[str, bytes]]:
    for name, options in _SCHEMES.items():
        if name != "lerc":  # of 8 bits, its last bytes are whatever lay in memory
            yield f"tif-grey-{name}", _tiff(_GREY, photometric="minisblack", **options)
            yield f"tif-rgb-{name}", _tiff(_COLOUR, **{"photometric": "rgb", **options})
        if name != "jpegxr":
            yield f"tif-deep-{name}", _tiff(_DEEP, photometric="minisblack", **options)
    for name, options in _COLOURS_ONLY.items():
        array = np.moveaxis(_COLOUR, -1, 0).copy() if "planarconfig" in options else _COLOUR
        yield f"tif-rgb-{name}", _tiff(array, **{"photometric": "rgb", **options})
    for bits, array in ((8, _GREY), (16, _DEEP)):
        lossless: dict[str, Any] = {"compression": "jpeg", "bitspersample": bits}
        lossless["compressionargs"] = {"lossless": True}
        yield f"tif-lossless-jpeg-{bits}", _tiff(array, photometric="minisblack", **lossless)
        stream = bytes(imagecodecs.ljpeg_encode(array, bitspersample=bits))
        yield f"tif-lossless-dng-{bits}", _around(array, stream, bits)
    yield "tif-pyramid", _pyramid()
    extra = [
        (42113, "s", 0, "-1", True),  # GDAL_NODATA
        (34675, "B", 128, bytes(128), True),  # ICC profile
        (700, "B", 12, b"<x:xmpmeta/>", True),
        (281, "H", 1, 4095, True),
        (338, "H", 0, None, True),
    ]
    yield "tif-tagged", _tiff(ramp(12), photometric="minisblack", extratags=extra[:4])
    metadata = {"axes": "TYX", "Labels": ["a", "b"], "Overlays": [bytes(64)], "unit": "um"}
    yield "tif-imagej", _tiff(np.stack([_DEEP] * 2), imagej=True, metadata=metadata)
    ome = {"axes": "ZCYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm"}
    stack = np.stack([np.moveaxis(_COLOUR, -1, 0)] * 2)
    yield "tif-ome", _tiff(stack, ome=True, photometric="minisblack", metadata=ome, bigtiff=True)


def _around(array: Any, stream: bytes, bits: int) -> bytes:
    """A TIFF of one strip that holds this JPEG."""
    content = io.BytesIO()
    options: dict[str, Any] = {"shape": array.shape, "dtype": array.dtype, "bitspersample": bits}
    options |= {"photometric": "minisblack", "compression": 7, "metadata": None}
    tifffile.imwrite(content, iter([stream]), **options)
    return content.getvalue()


def _pyramid() -> bytes:
    content = io.BytesIO()
    with tifffile.TiffWriter(content) as writer:
        options: dict[str, Any] = {"photometric": "rgb", "tile": (16, 16), "metadata": None}
        writer.write(_COLOUR, subifds=2, compression="deflate", **options)
        writer.write(_COLOUR[::2, ::2].copy(), subfiletype=1, **options)
        writer.write(_COLOUR[::4, ::4].copy(), subfiletype=1, **options)
        writer.write(_GREY[::4, ::4].copy(), photometric="minisblack", subfiletype=1, metadata=None)
    return content.getvalue()


def _pillow_tiffs() -> Iterator[tuple[str, bytes]]:
    bits = Image.fromarray(grey_bits() * np.uint8(255)).convert("1")
    for scheme in ("tiff_ccitt", "group3", "group4", "packbits", "tiff_lzw", "tiff_adobe_deflate"):
        yield f"tif-pillow-bits-{scheme}", _saved(bits, "TIFF", compression=scheme)
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory[270], directory[305], directory[282], directory[283] = "a", "b", 20000.0, 20000.0
    directory[296] = 3
    picture = Image.fromarray(_COLOUR)
    yield "tif-pillow-described", _saved(picture, "TIFF", tiffinfo=directory)
    exif = Image.Exif()
    exif[305] = "microscope"
    exif.get_ifd(34665).update({33434: 0.5, 37500: b"note"})
    yield "tif-pillow-exif", _saved(picture, "TIFF", exif=exif, compression="tiff_lzw")


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
           (0, 1, 1, 2))  # fmt: skip
"""PNG's seven passes: first column, first row, columns apart, rows apart."""


def _interlaced(array: np.ndarray[Any, Any], colour_type: int, *between: bytes) -> bytes:
    """An interlaced PNG of 8 or 16 bits."""
    stored = array.astype(">u2") if array.dtype == np.uint16 else array
    rows = b""
    for x, y, across, down in _PASSES:
        part = stored[y::down, x::across]
        rows += b"".join(b"\0" + row.tobytes() for row in part) if part.size else b""
    depth = array.itemsize * 8
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], depth, colour_type, 0, 0, 1)
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(between) + body


def _pngs() -> Iterator[tuple[str, bytes]]:
    palette = chunk(b"PLTE", bytes(range(256)) * 3)
    yield "png-interlaced-grey", _interlaced(_GREY, 0)
    yield "png-interlaced-rgb", _interlaced(_COLOUR, 2)
    yield "png-interlaced-palette", _interlaced(_GREY, 3, palette, chunk(b"tRNS", bytes(200)))
    yield "png-interlaced-deep", _interlaced(_DEEP, 0)
    yield "png-interlaced-deep-rgb", _interlaced(np.stack([_DEEP] * 3, axis=-1), 2)
    yield "png-chunks", _interlaced(
        _GREY, 0, chunk(b"pHYs", struct.pack(">IIB", 2_000_000, 2_000_000, 1)),
        chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"sBIT", b"\x08"),
        chunk(b"tEXt", b"Title\0a"), chunk(b"zTXt", b"Title\0\0" + zlib.compress(bytes(999))),
        chunk(b"iTXt", b"Title\0\1\0en\0t\0" + zlib.compress(b"a" * 99)),
        chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(200))), chunk(b"tIME", bytes(7)),
    )  # fmt: skip
    frames = [Image.fromarray(_GREY), Image.fromarray(255 - _GREY)]
    yield "png-animated", _saved(frames[0], "PNG", save_all=True, append_images=frames[1:])


def _jpegs() -> Iterator[tuple[str, bytes]]:
    colour, grey = Image.fromarray(_COLOUR), Image.fromarray(_GREY)
    exif = Image.Exif()
    exif[0x011A] = exif[0x011B] = TiffImagePlugin.IFDRational(20000)
    exif[0x0128], exif[0x0131] = 3, "microscope"
    yield "jpg-progressive", _saved(colour, "JPEG", progressive=True)
    yield "jpg-subsampled", _saved(colour, "JPEG", subsampling=2, dpi=(300, 300))
    yield "jpg-exif", _saved(colour, "JPEG", exif=exif, comment=b"c", icc_profile=bytes(200))
    yield "jpg-restarts", _saved(grey, "JPEG", restart_marker_blocks=2)
    yield "jpg-rgb", _saved(colour, "JPEG", keep_rgb=True)
    yield "jpg-cmyk-progressive", _saved(colour.convert("CMYK"), "JPEG", progressive=True)
    yield "jpg-many", _saved(colour, "MPO", save_all=True, append_images=[grey.convert("RGB")])
    yield "jpg-lossless", bytes(imagecodecs.jpeg8_encode(_GREY, lossless=True))
    yield "jpg-arithmetic-none", _saved(Image.fromarray(RED), "JPEG", optimize=True)


def _bmp(depth: int, scheme: int, body: bytes, *, header: int = 40, down: bool = False,
         between: bytes = b"") -> bytes:  # fmt: skip
    size = 8
    if header == 12:
        info = struct.pack("<IHHHH", 12, size, size, 1, depth)
    else:
        height = -size if down else size
        numbers = (size, height, 1, depth, scheme, len(body), 40_000, 40_000, 0, 0)
        info = struct.pack("<IiiHHIIiiII", header, *numbers).ljust(header, b"\0")
    start = 14 + len(info) + len(between)
    return struct.pack("<2sIHHI", b"BM", start + len(body), 0, 0, start) + info + between + body


def _bmps() -> Iterator[tuple[str, bytes]]:
    four, three = bytes(range(256)) * 4, bytes(range(256)) * 3
    masks565 = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    masks888 = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    runs8 = b"\x08\x07\0\0" * 6 + b"\0\x08abcdefgh\0\0\x02\x03\0\2\2\0\4\1\0\1"
    yield "bmp-runs8", _bmp(8, 1, runs8, between=four)
    yield "bmp-runs4", _bmp(4, 2, b"\x08\x71\0\0" * 8 + b"\0\1", between=four[:64])
    yield "bmp-4", _bmp(4, 0, bytes(range(32)), between=four[:64])
    yield "bmp-os2", _bmp(8, 0, bytes(range(64)), header=12, between=three)
    yield "bmp-16", _bmp(16, 0, bytes(range(128)))
    yield "bmp-565", _bmp(16, 3, bytes(range(128)), between=masks565)
    yield "bmp-v4", _bmp(32, 3, bytes(256), header=108, between=b"")
    yield (
        "bmp-v3",
        _bmp(32, 3, bytes(256), header=56).replace(
            struct.pack("<II", 40_000, 40_000) + bytes(8 + 16),
            struct.pack("<II", 40_000, 40_000) + bytes(8) + masks888,
        ),
    )
    yield "bmp-v5-down", _bmp(24, 0, bytes(192), header=124, down=True)
