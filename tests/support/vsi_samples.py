"""Olympus VSI files and their files of pixels, written byte by byte, with known pixels."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from support.micrograph_samples import RED, Sample, grey, ramp, red, scaled

RAW, JPEG, JPEG_2000 = 0, 2, 3
Z, T, CHANNEL = 1, 2, 4
INT, DOUBLES, TEXT, RECTANGLE = 5, 260, 8192, 259
_SECOND, _VOLUME, _INLINE = 0x08000000, 0x10000000, 0x40000000


@dataclass(frozen=True)
class Picture:
    """Pixels as they are stored, [..., rows, columns] or [..., rows, columns, 3]."""

    pixels: NDArray[Any]
    axes: tuple[int, ...] = ()
    """Of the array's first dimensions, in the order of the file."""
    tile: tuple[int, int] = (16, 16)
    """Rows, columns."""
    compression: int = RAW
    um: float | None = None
    unit: str = "10^-6m^1"
    depth: int | None = None
    kind: int = 0
    """0 a micrograph, 1 an overview, 256 a macro picture."""
    space: int | None = None
    """Colour space: 1 grey, 3 from red to blue, 4 from blue to red."""
    order: int = 0
    """1: from blue to red."""
    origin: tuple[int, int] = (0, 0)
    """Of the first tile, x and y in pixels of the picture, 0 or below."""
    pyramid: bool = True
    without: Sequence[tuple[int, int]] = ()
    """Tiles that are not there: column, row."""
    external: int = 1
    name: str = "20x"

    @property
    def planes(self) -> int:
        """Leading dimensions."""
        return len(self.axes)


def vsi(*pictures: Picture, pixels: bool = True) -> Callable[[Path], None]:
    """A writer of a file of these pictures and, with `pixels`, of the folder beside it."""

    def write(path: Path) -> None:
        images = [_image(picture, number) for number, picture in enumerate(pictures)]
        tree = _volume([_nested(2000, _volume(images))])
        path.write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(tree)) + tree + _preview(tree))
        for number, picture in enumerate(pictures if pixels else ()):
            file = ets_of(path, number)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(ets(picture))

    return write


def ets_of(path: Path, number: int = 0) -> Path:
    """The file of pixels of a picture."""
    return path.parent / f"_{path.stem}_" / f"stack{_folder(number)}" / "frame_t.ets"


def ets(picture: Picture) -> bytes:
    """A file of pixels."""
    rows, columns = picture.tile
    colours = picture.pixels.shape[picture.planes + 2 :] or (1,)
    content = bytearray(64 + 512)
    entries = []
    for place, tile in _tiles(picture):
        data = _packed(tile, picture.compression)
        entries.append((place, len(content), len(data)))
        content += data
    numbers = 2 + picture.planes + 1
    table = b"".join(
        struct.pack(f"<I{numbers}iQII", 0, *place, at, length, 0) for place, at, length in entries
    )
    head = ("<4sIIIQIIQIIQII", b"SIS\0", 64, 2, numbers, 64, 512, 0, len(content), len(entries))
    struct.pack_into(head[0], content, 0, *head[1:], 0, 0, 0, 0)
    space = picture.space or (1 if colours == (1,) else 3)
    kind = 2 if picture.pixels.itemsize == 1 else 4
    numbers_of = (0x30001, kind, colours[0], space, picture.compression, 90, columns, rows, 1)
    struct.pack_into("<4s9I", content, 64, b"ETS\0", *numbers_of)
    struct.pack_into("<II", content, 64 + 148, picture.order, picture.pyramid)
    struct.pack_into("<3i", content, 64 + 172, *picture.origin, 0)
    height, width = picture.pixels.shape[picture.planes : picture.planes + 2]
    extents = (width, height, *picture.pixels.shape[: picture.planes])
    struct.pack_into(f"<I{len(extents)}I", content, 64 + 184, len(extents), *extents)
    return bytes(content) + table


def _tiles(picture: Picture) -> list[tuple[tuple[int, ...], NDArray[Any]]]:
    """(Place, pixels) of the tiles of every level."""
    found = []
    for where in np.ndindex(picture.pixels.shape[: picture.planes]):
        plane = picture.pixels[where]
        for level in range(2 if picture.pyramid else 1):
            (x, y), (rows, columns) = picture.origin, picture.tile
            stored = np.pad(
                plane[:: 1 << level, :: 1 << level],
                [(-y, -(plane.shape[0] - y) % rows + rows), (-x, columns * 2)]
                + [(0, 0)] * (plane.ndim - 2),
                mode="edge",
            )
            down = -(-(plane.shape[0] - y) // rows) if level == 0 else 1
            across = -(-(plane.shape[1] - x) // columns) if level == 0 else 1
            for row, column in np.ndindex(down, across):
                if level == 0 and (column, row) in picture.without:
                    continue
                tile = stored[
                    row * rows : (row + 1) * rows, column * columns : (column + 1) * columns
                ]
                found.append(((column, row, *where, level), tile))
    return found


def _packed(tile: NDArray[Any], compression: int) -> bytes:
    whole = np.ascontiguousarray(tile)
    if compression == JPEG:
        return bytes(imagecodecs.jpeg8_encode(whole, level=95, subsampling="444"))
    if compression == JPEG_2000:
        return bytes(imagecodecs.jpeg2k_encode(whole, level=0, reversible=True))
    return whole.tobytes()


def _folder(number: int) -> int:
    """As cellSens numbers them."""
    return 1 if number == 0 else 10000 + number - 1


def _image(picture: Picture, number: int) -> bytes:
    height, width = picture.pixels.shape[picture.planes : picture.planes + 2]
    properties = [
        _field(2030, TEXT, f"{picture.name}\0".encode("utf-16-le")),
        _small(2074, picture.kind),
    ]
    if picture.um is not None:
        properties += [
            _field(2019, DOUBLES, struct.pack("<2d", picture.um, picture.um)),
            _field(2020, TEXT, f"{picture.unit}\0".encode("utf-16-le")),
        ]
    if picture.depth is not None:
        camera = _nested(120114, _volume([_small(100049, picture.depth)]))
        properties.append(_nested(2043, _volume([_nested(35, _volume([camera]), 0)])))
    external = [
        _field(2053, RECTANGLE, struct.pack("<4i", 0, 0, width, height)),
        _small(20005, picture.external),
    ]
    if picture.origin != (0, 0):
        external.append(_field(2410, 256, struct.pack("<2i", *picture.origin)))
    frame = _nested(2002, _volume([_nested(2018, _volume(external))]), 0)
    dimensions = [
        _nested(2007, _volume([_nested(2008, _volume([_small(2023, kind)]), 0)]), place)
        for place, kind in enumerate(picture.axes)
    ]
    inside = [_nested(2005, _volume(properties)), frame, *dimensions]
    return _nested(2001, _volume(inside), _folder(number))


def _volume(fields: Sequence[bytes]) -> bytes:
    """A list of fields; each says how far from the list's beginning the next one lies."""
    content, at = b"", 24
    for number, field in enumerate(fields):
        at += len(field)
        following = at if number + 1 < len(fields) else 0
        content += field[:8] + struct.pack("<I", following) + field[12:]
    return struct.pack("<HHIqII", 24, 21321, 0x30001, 24, len(fields), 0) + content


def _field(tag: int, kind: int, value: bytes) -> bytes:
    return struct.pack("<IiII", kind, tag, 0, len(value)) + value


def _small(tag: int, value: int) -> bytes:
    """A number that lies where others say their size."""
    return struct.pack("<IiII", _INLINE | INT, tag, 0, value)


def _nested(tag: int, volume: bytes, second: int | None = None) -> bytes:
    if second is None:
        return struct.pack("<IiII", _VOLUME | 1, tag, 0, len(volume)) + volume
    head = struct.pack("<IiIIi", _VOLUME | _SECOND | 1, tag, 0, len(volume), second)
    return head + volume


def _preview(tree: bytes) -> bytes:
    """A TIFF's directory of one grey picture of 4 x 4 pixels, and its pixels."""
    start = 8 + len(tree)
    tags = [(256, 4), (257, 4), (258, 8), (259, 1), (262, 1), (277, 1), (278, 4), (279, 16)]
    tags.append((273, start + 2 + 12 * 9 + 4))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags))
    return struct.pack("<H", len(tags)) + entries + bytes(4) + bytes(range(16))


_GREY8, _GREY16, _GREY12 = ramp(8), ramp(16), ramp(12)
_RGB8, _RGB16 = ramp(8, 3), ramp(16, 3)
_STACK = np.stack([ramp(16, start=k) for k in range(6)])
_STACK_PAGES = [grey(scaled(plane, 16)) for plane in _STACK]
_HOLED = _RGB8.copy()
_HOLED[16:32, 32:48] = 0
_OVERVIEW = Picture(_GREY8, kind=1, name="overview")


def _sample(
    name: str,
    write: Callable[[Path], None],
    *pages: NDArray[np.uint8],
    size: float | None = None,
    tolerance: int = 0,
) -> Sample:
    return Sample(f"vsi-{name}", ".vsi", write, pages, tolerance, size)


VSI_SAMPLES = [
    _sample("red", vsi(Picture(RED, um=0.5)), RED, size=0.5),
    _sample("red-bgr", vsi(Picture(RED[..., ::-1], space=4)), RED),
    _sample("red16", vsi(Picture(red(np.uint16))), RED),
    _sample("red-jpeg", vsi(Picture(RED, compression=JPEG, um=0.25)), RED, size=0.25, tolerance=2),
    _sample("red-jpeg2000", vsi(Picture(RED, compression=JPEG_2000)), RED),
    _sample("rgb-one-tile", vsi(Picture(_RGB8, tile=(64, 64), pyramid=False)), _RGB8),
    _sample("rgb16-jpeg2000", vsi(Picture(_RGB16, compression=JPEG_2000)), scaled(_RGB16, 16)),
    _sample("rgb-holed", vsi(Picture(_RGB8, without=[(2, 1)])), _HOLED),
    _sample("rgb-origin", vsi(Picture(_RGB8, origin=(-5, -7), tile=(16, 32))), _RGB8),
    _sample("grey8", vsi(Picture(_GREY8)), grey(_GREY8)),
    _sample("grey12", vsi(Picture(_GREY12, depth=12, um=0.33)), grey(scaled(_GREY12, 12)),
            size=0.33),
    _sample("stack", vsi(Picture(_STACK, (Z,), um=0.25)), *_STACK_PAGES, size=0.25),
    _sample("times-and-planes", vsi(Picture(_STACK.reshape(2, 3, *_GREY16.shape), (Z, T))),
            *(_STACK_PAGES[plane * 3 + time] for time in range(3) for plane in range(2))),
    _sample("overview-and-two", vsi(_OVERVIEW, Picture(RED), Picture(_RGB8)), RED, _RGB8),
]  # fmt: skip
