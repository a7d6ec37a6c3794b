"""Leica LIF files, written byte by byte, with their pixels in closed form."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.micrograph_samples import RED, Sample, grey, ramp, red, scaled

DIMENSIONS = {"X": 1, "Y": 2, "Z": 3, "T": 4, "L": 5, "M": 10}
GREY, RGB, BGR = (0,), (1, 2, 3), (3, 2, 1)


@dataclass(frozen=True)
class Image:
    """Pixels as they are stored, [..., rows, columns] or [..., rows, columns, channels]."""

    pixels: NDArray[Any]
    axes: str = "YX"
    """Of the array, without the channels; slowest first."""
    tags: Sequence[int] = GREY
    """Of the channels, in the order of the file: 1 red, 2 green, 3 blue, 0 none."""
    depth: int = 8
    metres: float = 0.0
    padding: int = 0
    """Bytes that follow each row."""
    name: str = "Series001"
    data_type: int = 0
    unit: str = "m"
    block: int | None = None
    """Of another image, which holds its pixels."""


def lif(*images: Image, version: int = 2) -> Callable[[Path], None]:
    """A writer of a project of these images."""

    def write(path: Path) -> None:
        elements = "".join(_element(image, number) for number, image in enumerate(images))
        xml = (
            f'<LMSDataContainerHeader Version="{version}"><Element Name="project">'
            f"<Children>{elements}</Children></Element></LMSDataContainerHeader>"
        )
        parts = [_segment(struct.pack("<BI", 0x2A, len(xml)) + xml.encode("utf-16-le"))]
        for number, image in enumerate(images):
            if image.block is not None:
                continue
            name, data = f"MemBlock_{number}", _stored(image)
            size = "<BQ" if version == 2 else "<BI"
            head = struct.pack(size, 0x2A, len(data)) + struct.pack("<BI", 0x2A, len(name))
            parts += [_segment(head + name.encode("utf-16-le")), data]
        path.write_bytes(b"".join(parts))

    return write


def _segment(content: bytes) -> bytes:
    return struct.pack("<II", 0x70, len(content)) + content


def _stored(image: Image) -> bytes:
    rows = image.pixels.reshape(-1, _row_bytes(image) // image.pixels.itemsize)
    filled = [row.tobytes() + b"\xee" * image.padding for row in rows]
    return b"".join(filled)


def _row_bytes(image: Image) -> int:
    """Without padding."""
    return int(image.pixels.shape[image.axes.index("X")] * _pixel_bytes(image))


def _pixel_bytes(image: Image) -> int:
    interleaved = image.pixels.shape[len(image.axes) :]
    return int(image.pixels.itemsize * prod(interleaved))


def _element(image: Image, number: int) -> str:
    channels = "".join(
        f'<ChannelDescription DataType="{image.data_type}" ChannelTag="{tag}" '
        f'Resolution="{image.depth}" NameOfMeasuredQuantity="" Min="0" Max="1" Unit="" '
        f'LUTName="Gray" IsLUTInverted="0" BytesInc="{at * image.pixels.itemsize}" BitInc="0"/>'
        for at, tag in enumerate(image.tags)
    )
    distances = {"X": _pixel_bytes(image), "Y": _row_bytes(image) + image.padding}
    sizes = dict(zip(image.axes, image.pixels.shape, strict=False))
    distance = distances["Y"] * sizes["Y"]
    for axis in reversed(image.axes[:-2]):
        distances[axis], distance = distance, distance * sizes[axis]
    dimensions = "".join(
        f'<DimensionDescription DimID="{DIMENSIONS[axis]}" NumberOfElements="{sizes[axis]}" '
        f'Origin="0" Length="{image.metres * (sizes[axis] - 1):.9e}" '
        f'Unit="{image.unit if axis in "XY" else ""}" BitInc="0" BytesInc="{distances[axis]}"/>'
        for axis in reversed(image.axes)
    )
    block = number if image.block is None else image.block
    return (
        f'<Element Name="{image.name}" UniqueID="{number}"><Data><Image><ImageDescription>'
        f"<Channels>{channels}</Channels><Dimensions>{dimensions}</Dimensions>"
        "</ImageDescription></Image></Data>"
        f'<Memory Size="{len(_stored(image))}" MemoryBlockID="MemBlock_{block}"/></Element>'
    )


_GREY8, _RGB8, _RGB16, _GREY12 = ramp(8), ramp(8, 3), ramp(16, 3), ramp(12)
_STACK = np.stack([ramp(16, start=k) for k in range(6)])
_STACK_PAGES = [grey(scaled(plane, 16)) for plane in _STACK]


def _sample(
    name: str,
    write: Callable[[Path], None],
    *pages: NDArray[np.uint8],
    size: float | None = None,
) -> Sample:
    return Sample(f"lif-{name}", ".lif", write, pages, 0, size)


LIF_SAMPLES = [
    _sample("red", lif(Image(RED, tags=RGB, metres=5e-7)), RED, size=0.5),
    _sample("red-bgr", lif(Image(RED[..., ::-1], tags=BGR)), RED),
    _sample("red16", lif(Image(red(np.uint16), tags=RGB, depth=16)), RED),
    _sample("rgb-filled-rows", lif(Image(_RGB8, tags=RGB, padding=9)), _RGB8),
    _sample("grey8", lif(Image(_GREY8)), grey(_GREY8)),
    _sample("grey8-version-1", lif(Image(_GREY8), version=1), grey(_GREY8)),
    _sample("grey12", lif(Image(_GREY12, depth=12)), grey(scaled(_GREY12, 12))),
    _sample("rgb16", lif(Image(_RGB16, tags=RGB, depth=16)), scaled(_RGB16, 16)),
    _sample("stack", lif(Image(_STACK, "ZYX", depth=16, metres=2.5e-7)), *_STACK_PAGES, size=0.25),
    _sample("times-and-positions",
            lif(Image(_STACK.reshape(3, 2, *_GREY8.shape), "TMYX", depth=16)),
            *(_STACK_PAGES[time * 2 + position] for position in range(2) for time in range(3))),
    _sample("images-of-one-name", lif(Image(RED, tags=RGB), Image(_RGB8, tags=RGB)), RED, _RGB8),
]  # fmt: skip
