"""Micrograph files of every kind that the tests can write, each with its pixels in closed form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

HEIGHT, WIDTH = 37, 53  # no multiple of a tile, of 8, or of each other


@dataclass(frozen=True)
class Sample:
    name: str
    suffix: str
    write: Callable[[Path], None]
    pages: Sequence[NDArray[np.uint8]]
    """RGB uint8 [H, W, 3] of each page."""
    tolerance: int = 0
    """Lossy compression: largest difference of a pixel."""
    pixel_size_um: float | None = None

    def file(self, folder: Path) -> Path:
        path = folder / f"{self.name}{self.suffix}"
        self.write(path)
        return path


def scaled(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Python's exact arithmetic, value by value."""
    levels = {
        int(v): min(255, round(Fraction(int(v) * 255, 2**bits - 1))) for v in np.unique(values)
    }
    return np.asarray(np.vectorize(levels.__getitem__, otypes=[np.uint8])(values), np.uint8)


def grey(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack([levels] * 3, axis=-1)


def ramp(bits: int, channels: int = 1, start: int = 0) -> NDArray[Any]:
    """Samples spread over all of `bits` bits: [H, W] or [H, W, channels]."""
    count = HEIGHT * WIDTH * channels
    values = (np.arange(count, dtype=np.int64) * 2654435761 + start) % 2**bits
    values[:2] = 0, 2**bits - 1
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    return np.asarray(values.reshape(shape), np.uint8 if bits <= 8 else np.uint16)


def red(dtype: type = np.uint8, channels: int = 3) -> NDArray[Any]:
    """Pure red; alpha, if any, is half transparent."""
    full = np.iinfo(dtype).max
    colour = [full, 0, 0, full // 2][:channels]
    return np.full((HEIGHT, WIDTH, channels), colour, dtype)


RED = red()
_TILES = np.full(
    (48, 64, 3), (255, 0, 0), np.uint8
)  # JPEG mixes a cut tile's filling into its edge


def _tiff(array: NDArray[Any], **options: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        tifffile.imwrite(path, array, **options)

    return write


def _pillow(mode: str, array: NDArray[Any], **options: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        picture = Image.fromarray(array).convert(mode)
        picture.save(path, **options)

    return write


def _png(array: NDArray[Any]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(imagecodecs.png_encode(array))

    return write


def _indices() -> NDArray[np.uint8]:
    return (ramp(8) % 4).astype(np.uint8)


PALETTE = np.array([(255, 0, 0), (0, 255, 0), (1, 2, 3), (250, 251, 252)], np.uint8)


def _colour_map(factor: int) -> NDArray[np.uint16]:
    table = np.zeros((3, 256), np.uint16)
    table[:, :4] = PALETTE.T.astype(np.uint16) * factor
    return table


def _palette_picture(path: Path, **options: Any) -> None:
    picture = Image.fromarray(_indices()).convert("L")
    picture = Image.frombytes("P", picture.size, picture.tobytes())
    picture.putpalette(PALETTE.tobytes() + bytes(768 - PALETTE.size))
    picture.save(path, **options)


def _bitmap(path: Path, **options: Any) -> None:
    Image.fromarray(grey_bits() * np.uint8(255)).convert("1", dither=Image.Dither.NONE).save(
        path, **options
    )


def grey_bits() -> NDArray[np.uint8]:
    return (ramp(8) >> 7).astype(np.uint8)


def _png_low_depth(bits: int) -> Callable[[Path], None]:
    """A grey PNG of 1, 2 or 4 bits, packed by hand."""

    def write(path: Path) -> None:
        import struct
        import zlib

        def chunk(name: bytes, data: bytes) -> bytes:
            return (
                struct.pack(">I", len(data))
                + name
                + data
                + struct.pack(">I", zlib.crc32(name + data))
            )

        rows = b""
        for row in ramp(bits):
            digits = "".join(f"{value:0{bits}b}" for value in row)
            digits += "0" * (-len(digits) % 8)
            packed = bytes(int(digits[at : at + 8], 2) for at in range(0, len(digits), 8))
            rows += b"\0" + packed
        header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, 0, 0, 0, 0)
        density = struct.pack(">IIB", 2_000_000, 2_000_000, 1)
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", header)
            + chunk(b"pHYs", density)
            + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b"")
        )

    return write


def _ome(array: NDArray[Any], axes: str, **options: Any) -> Callable[[Path], None]:
    metadata = {"axes": axes, "PhysicalSizeX": 250.0, "PhysicalSizeXUnit": "nm"}
    metadata |= {"PhysicalSizeY": 250.0, "PhysicalSizeYUnit": "nm"} | options
    return _tiff(array, ome=True, photometric="minisblack", metadata=metadata)


def _differing_pages(path: Path) -> None:
    with tifffile.TiffWriter(path) as writer:
        for array in (ramp(8), RED[:9, :11].copy(), ramp(16)):
            colour = "rgb" if array.ndim == 3 else "minisblack"
            writer.write(array, photometric=colour, metadata=None)


_STACK = np.stack([ramp(16, start=k) for k in range(4)])
_STACK_PAGES = [grey(scaled(plane, 16)) for plane in _STACK]
_GREY8, _GREY16 = ramp(8), ramp(16)
_RGB8, _RGB16 = ramp(8, 3), ramp(16, 3)
_CHANNELS = np.moveaxis(_RGB16, -1, 0).copy()

_TIFF_GREY8: dict[str, dict[str, Any]] = {
    "plain": {},
    "lzw": {"compression": "lzw"},
    "lzw-predictor": {"compression": "lzw", "predictor": True},
    "deflate": {"compression": "deflate"},
    "zstd": {"compression": "zstd"},
    "packbits": {"compression": "packbits"},
    "tiled": {"tile": (16, 32)},
    "tiled-deflate": {"tile": (32, 16), "compression": "deflate", "predictor": True},
    "strips": {"rowsperstrip": 5},
    "big-endian": {"byteorder": ">"},
    "bigtiff": {"bigtiff": True},
}


def _tiff_samples() -> list[Sample]:
    def tiff(name: str, array: NDArray[Any], *pages: NDArray[np.uint8], **options: Any) -> Sample:
        size = options.pop("pixel_size_um", None)
        tolerance = options.pop("tolerance", 0)
        options.setdefault("photometric", "minisblack")
        options.setdefault("metadata", None)
        return Sample(f"tiff-{name}", ".tif", _tiff(array, **options), pages, tolerance, size)

    rgb: dict[str, Any] = {"photometric": "rgb"}
    samples = [tiff(f"grey8-{name}", _GREY8, grey(_GREY8), **o) for name, o in _TIFF_GREY8.items()]
    samples += [
        tiff(f"rgb16-{name}", _RGB16, scaled(_RGB16, 16), **rgb, **o)
        for name, o in _TIFF_GREY8.items()
        if name != "packbits"
    ]
    red_planes = np.moveaxis(red(np.uint8, 4), -1, 0).copy()
    grey_alpha = np.stack([_GREY8, ramp(8, start=9)], axis=-1)
    samples += [
        tiff("grey16", _GREY16, grey(scaled(_GREY16, 16))),
        tiff("miniswhite8", _GREY8, grey(255 - _GREY8), photometric="miniswhite"),
        tiff("miniswhite16", _GREY16, grey(255 - scaled(_GREY16, 16)), photometric="miniswhite"),
        tiff("bilevel", grey_bits().astype(bool), grey(grey_bits() * np.uint8(255))),
        tiff(
            "bilevel-white",
            grey_bits().astype(bool),
            grey((1 - grey_bits()) * np.uint8(255)),
            photometric="miniswhite",
        ),
        tiff("red8", RED, RED, **rgb),
        tiff("red16", red(np.uint16), RED, **rgb),
        tiff("red-alpha", red(np.uint8, 4), RED, **rgb, extrasamples=["unassalpha"]),
        tiff("red-alpha16", red(np.uint16, 4), RED, **rgb, extrasamples=["assocalpha"]),
        tiff("red-planar", red_planes[:3].copy(), RED, **rgb, planarconfig="separate"),
        tiff("red-planar-tiled", red_planes[:3].copy(), RED, **rgb, planarconfig=2, tile=(16, 16)),
        tiff(
            "red-planar-alpha", red_planes, RED, **rgb, planarconfig=2, extrasamples=["unassalpha"]
        ),
        tiff("grey-alpha", grey_alpha, grey(_GREY8), extrasamples=["unassalpha"], planarconfig=1),
        tiff("red-jpeg", RED, RED, **rgb, compression="jpeg", tolerance=2),
        tiff(
            "red-jpeg-tiled", _TILES, _TILES, **rgb, compression="jpeg", tile=(16, 16), tolerance=2
        ),
        tiff("red-jpeg2000", RED, RED, **rgb, compression="jpeg2000"),
        tiff(
            "palette",
            _indices(),
            PALETTE[_indices()],
            photometric="palette",
            colormap=_colour_map(257),
        ),
        tiff(
            "palette-old",
            _indices(),
            PALETTE[_indices()],
            photometric="palette",
            colormap=_colour_map(1),
        ),
        tiff("stack", _STACK, *_STACK_PAGES, metadata={"axes": "ZYX"}),
        tiff("stack-truncated", _STACK, *_STACK_PAGES, metadata={}, truncate=True),
        tiff("channels-rgb", _CHANNELS, scaled(_RGB16, 16), metadata={"axes": "CYX"}),
        tiff(
            "imagej-stack",
            _STACK,
            *_STACK_PAGES,
            imagej=True,
            photometric=None,
            metadata={"axes": "ZYX", "unit": "micron"},
            resolution=(4, 4),
            pixel_size_um=0.25,
        ),
        tiff(
            "imagej-truncated",
            _STACK,
            *_STACK_PAGES,
            imagej=True,
            photometric=None,
            metadata={"axes": "TYX", "unit": "um"},
            resolution=(4, 4),
            truncate=True,
            pixel_size_um=0.25,
        ),
        tiff(
            "imagej-channels",
            _CHANNELS,
            scaled(_RGB16, 16),
            imagej=True,
            photometric=None,
            metadata={"axes": "CYX"},
        ),
        tiff(
            "imagej-red",
            np.stack([RED, RED]),
            RED,
            RED,
            imagej=True,
            **rgb,
            metadata={"axes": "ZYXS"},
        ),
        tiff(
            "centimetre",
            RED,
            RED,
            **rgb,
            resolution=(20000, 20000),
            resolutionunit=3,
            pixel_size_um=0.5,
        ),
        tiff("bigtiff-btf", RED, RED, **rgb, bigtiff=True),
    ]
    for bits in (2, 4, 9, 10, 12, 14):
        values = ramp(bits)
        samples.append(tiff(f"grey{bits}", values, grey(scaled(values, bits)), bitspersample=bits))
    values = ramp(12)
    declared = {"extratags": [(281, "H", 1, 4095, True)]}
    samples.append(tiff("grey12-in-16", values, grey(scaled(values, 12)), **declared))
    return samples


def _other_tiff_samples() -> list[Sample]:
    twelve = ramp(12)
    differing = [grey(_GREY8), RED[:9, :11], grey(scaled(_GREY16, 16))]
    bits = grey(grey_bits() * np.uint8(255))

    def pillow(
        name: str, write: Callable[[Path], None], pixels: NDArray[np.uint8], tolerance: int = 0
    ) -> Sample:
        return Sample(f"tiff-pillow-{name}", ".tiff", write, [pixels], tolerance)

    def bitmap(compression: str) -> Callable[[Path], None]:
        return lambda path: _bitmap(path, compression=compression)

    return [
        Sample("tiff-ome-stack", ".ome.tif", _ome(_STACK, "TYX"), _STACK_PAGES, 0, 0.25),
        Sample("tiff-ome-channels", ".ome.tif", _ome(_CHANNELS, "CYX"), [scaled(_RGB16, 16)],
               0, 0.25),
        Sample("tiff-ome-12-bit", ".ome.tif", _ome(twelve, "YX", SignificantBits=12),
               [grey(scaled(twelve, 12))], 0, 0.25),
        Sample("tiff-differing", ".tif", _differing_pages, differing),
        pillow("red-lzw", _pillow("RGB", RED, compression="tiff_lzw"), RED),
        pillow("red-jpeg", _pillow("RGB", RED, compression="jpeg"), RED, 2),
        pillow("grey-packbits", _pillow("L", _GREY8, compression="packbits"), grey(_GREY8)),
        pillow("bits", _bitmap, bits),
        pillow("bits-group3", bitmap("group3"), bits),
        pillow("bits-group4", bitmap("group4"), bits),
        pillow("palette", _palette_picture, PALETTE[_indices()]),
    ]  # fmt: skip


def _raster_samples() -> list[Sample]:
    la16 = np.stack([_GREY16, ramp(16, start=5)], axis=-1)
    rgba = red(np.uint8, 4)
    jpeg = {"quality": 100, "subsampling": 0}
    bits = grey(grey_bits() * np.uint8(255))
    samples = [
        Sample("png-grey8", ".png", _pillow("L", _GREY8), [grey(_GREY8)]),
        Sample("png-grey16", ".png", _png(_GREY16), [grey(scaled(_GREY16, 16))]),
        Sample("png-grey16-alpha", ".png", _png(la16), [grey(scaled(_GREY16, 16))]),
        Sample("png-rgb8", ".png", _pillow("RGB", _RGB8), [_RGB8]),
        Sample("png-rgb16", ".png", _png(_RGB16), [scaled(_RGB16, 16)]),
        Sample("png-red", ".png", _pillow("RGB", RED, dpi=(50800, 50800)), [RED], 0, 0.5),
        Sample("png-red16", ".png", _png(red(np.uint16)), [RED]),
        Sample("png-red-alpha", ".png", _png(rgba), [RED]),
        Sample("png-red-alpha16", ".png", _png(red(np.uint16, 4)), [RED]),
        Sample("png-grey-alpha", ".png", _pillow("LA", _GREY8), [grey(_GREY8)]),
        Sample("png-palette", ".png", _palette_picture, [PALETTE[_indices()]]),
        Sample("png-palette-transparent", ".png",
               lambda path: _palette_picture(path, transparency=b"\0\x80\xff\x10"),
               [PALETTE[_indices()]]),
        Sample("png-bits", ".png", _bitmap, [bits]),
        Sample("jpeg-grey", ".jpg", _pillow("L", np.full((HEIGHT, WIDTH), 77, np.uint8), **jpeg),
               [np.full((HEIGHT, WIDTH, 3), 77, np.uint8)], 1),
        Sample("jpeg-red", ".jpeg", _pillow("RGB", RED, dpi=(25400, 25400), **jpeg), [RED], 2, 1.0),
        Sample("jpeg-cmyk", ".jpg", _pillow("CMYK", RED, **jpeg), [RED], 3),
        Sample("bmp-grey", ".bmp", _pillow("L", _GREY8), [grey(_GREY8)]),
        Sample("bmp-red", ".bmp", _pillow("RGB", RED, dpi=(50800, 50800)), [RED], 0, 0.5),
        Sample("bmp-rgb", ".bmp", _pillow("RGB", _RGB8), [_RGB8]),
        Sample("bmp-red-alpha", ".bmp", _pillow("RGBA", rgba), [RED]),
        Sample("bmp-palette", ".bmp", _palette_picture, [PALETTE[_indices()]]),
        Sample("bmp-bits", ".bmp", _bitmap, [bits]),
    ]  # fmt: skip
    for depth in (1, 2, 4):
        pixels = grey(scaled(ramp(depth), depth))
        samples.append(Sample(f"png-grey{depth}", ".png", _png_low_depth(depth), [pixels], 0, 0.5))
    return samples


SAMPLES = [*_tiff_samples(), *_other_tiff_samples(), *_raster_samples()]
