"""Zeiss CZI files, written by pylibCZIrw, with their pixels in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from support.micrograph_samples import HEIGHT, RED, WIDTH, Sample, grey, ramp, red, scaled

SUBBLOCK, DIRECTORY, METADATA = b"ZISRAWSUBBLOCK", b"ZISRAWDIRECTORY", b"ZISRAWMETADATA"


@dataclass(frozen=True)
class Piece:
    """A tile as it is written: RGB or grey."""

    pixels: NDArray[Any]
    at: tuple[int, int] = (0, 0)
    scene: int = 0
    plane: dict[str, int] = field(default_factory=dict)


def czi(
    *pieces: Piece, metres: float = 0.0, compression: str | None = None
) -> Callable[[Path], None]:
    """A writer of a file of these tiles."""

    def write(path: Path) -> None:
        from pylibCZIrw.czi import create_czi

        with create_czi(str(path), exist_ok=True, compression_options=compression) as file:
            for piece in pieces:
                stored = piece.pixels
                stored = stored[..., np.newaxis] if stored.ndim == 2 else stored[..., ::-1]
                file.write(
                    np.ascontiguousarray(stored),
                    location=piece.at,
                    plane=dict(piece.plane),
                    scene=piece.scene,
                )
            file.write_metadata("made up", scale_x=metres, scale_y=metres)

    return write


def twelve_bits(path: Path) -> None:
    """Grey of 12 bits, of which the metadata tell."""
    czi(Piece(ramp(12)))(path)
    declared(path, 12)


def declared(path: Path, bits: int) -> None:
    """Write a depth into the metadata, in place of their title and comment."""
    content = path.read_bytes()
    start, end = content.index(b"<Title>"), content.index(b"</Comment>") + len(b"</Comment>")
    depth = f"<ComponentBitCount>{bits}</ComponentBitCount>".encode()
    xml_start = content.index(b"<SizeX>")
    body = content[xml_start:start] + b" " * (end - start - len(depth)) + content[end:]
    path.write_bytes(content[:xml_start] + depth + body)


def jpeg_xr(path: Path) -> None:
    """Grey, compressed as ZEN does by default; pylibCZIrw writes no JPEG XR."""
    pixels = np.broadcast_to(np.uint8(77), (128, 128)).copy()
    czi(Piece(pixels))(path)
    content = bytearray(path.read_bytes())
    stream = imagecodecs.jpegxr_encode(pixels, level=1.0)
    tile = content.index(SUBBLOCK)
    data = content.index(pixels.tobytes(), tile)
    content[data : data + len(stream)] = stream
    content[tile + 40 : tile + 48] = len(stream).to_bytes(8, "little")
    for entry in (tile + 48, content.index(DIRECTORY) + 160):
        content[entry + 18] = 4
    path.write_bytes(content)


def _sample(
    name: str,
    write: Callable[[Path], None],
    *pages: NDArray[np.uint8],
    size: float | None = None,
) -> Sample:
    return Sample(f"czi-{name}", ".czi", write, pages, 0, size)


def _mosaic() -> Sample:
    whole = np.zeros((60, 90, 3), np.uint8)
    tiles = []
    for top, left in ((0, 0), (0, 37), (23, 37)):
        pixels = ramp(8, 3, start=top + left)
        whole[top : top + HEIGHT, left : left + WIDTH] = pixels
        tiles.append(Piece(pixels, (left - 1000, top - 2000)))
    return _sample("mosaic", czi(*tiles, metres=2.5e-7), whole, size=0.25)


_GREY8, _GREY16, _RGB8, _RGB16 = ramp(8), ramp(16), ramp(8, 3), ramp(16, 3)
_STACK = [ramp(16, start=k) for k in range(4)]

CZI_SAMPLES = [
    _sample("red", czi(Piece(RED), metres=5e-7), RED, size=0.5),
    _sample("red16", czi(Piece(red(np.uint16))), RED),
    _sample("grey8", czi(Piece(_GREY8)), grey(_GREY8)),
    _sample("grey16", czi(Piece(_GREY16)), grey(scaled(_GREY16, 16))),
    _sample("grey12-in-16", twelve_bits, grey(scaled(ramp(12), 12))),
    _sample("rgb8-zstd", czi(Piece(_RGB8), compression="zstd0:ExplicitLevel=3"), _RGB8),
    _sample("rgb16-zstd", czi(Piece(_RGB16), compression="zstd1:ExplicitLevel=3"),
            scaled(_RGB16, 16)),
    _sample("jpeg-xr", jpeg_xr, np.full((128, 128, 3), 77, np.uint8)),
    _mosaic(),
    _sample("scenes", czi(Piece(_RGB8, (-70, 5)), Piece(RED, (40, -9), 2)), _RGB8, RED),
    _sample("stack", czi(*(Piece(plane, plane={"T": k // 2, "Z": k % 2})
                           for k, plane in enumerate(_STACK))),
            *(grey(scaled(plane, 16)) for plane in _STACK)),
]  # fmt: skip
