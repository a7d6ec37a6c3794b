"""Nikon ND2 files of version 3 (and 2), written byte by byte, with their pixels in closed form."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.micrograph_samples import RED, Sample, grey, ramp, red, scaled

MAGIC = 0x0ABECEDA
NAME_BYTES = {"picture": 4072, "other": 48}
"""Of a chunk's name, which is filled up: a picture's pixels begin 4096 bytes after the chunk."""


@dataclass(frozen=True)
class Nd2:
    """Pictures as they are stored: blue, green, red."""

    pictures: tuple[NDArray[Any], ...]
    depth: int | None = None
    um: float | None = None
    padding: int = 0
    """Bytes that follow each row."""
    packed: bool = False
    channels: int = 1
    aspect: float = 1.0
    version: int = 3
    attributes: Mapping[str, int] | None = None
    """What is declared instead."""

    def __call__(self, path: Path) -> None:
        """Write the file."""
        path.write_bytes(_file(self))


def _chunk(name: bytes, data: bytes, name_bytes: int) -> bytes:
    return struct.pack("<IIQ", MAGIC, name_bytes, len(data)) + name.ljust(name_bytes, b"\0") + data


def _file(what: Nd2) -> bytes:
    version = f"Ver{what.version}.0".encode().ljust(64, b"\0")
    content = _chunk(b"ND2 FILE SIGNATURE CHUNK NAME01!", version, 32)
    listed = b""
    for name, data in _parts(what):
        pixels = name.startswith(b"ImageDataSeq")
        chunk = _chunk(name, data, NAME_BYTES["picture" if pixels else "other"])
        listed += name + struct.pack("<QQ", len(content), len(data))
        content += chunk
    signature = b"ND2 CHUNK MAP SIGNATURE 0000001!"
    tail = signature + struct.pack("<Q", len(content))
    return content + _chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", listed + tail, 32) + tail


def _parts(what: Nd2) -> list[tuple[bytes, bytes]]:
    text = _level if what.version == 3 else _xml
    suffix = ("LV|0!", "LV!") if what.version == 3 else ("|0!", "!")
    attributes, metadata = _attributes(what), _metadata(what)
    parts = [
        (f"ImageAttributes{suffix[1]}".encode(), text("SLxImageAttributes", attributes)),
        (f"ImageMetadataSeq{suffix[0]}".encode(), text("SLxPictureMetadata", metadata)),
    ]
    for number, picture in enumerate(what.pictures):
        rows = picture.reshape(picture.shape[0], -1)
        data = b"".join(row.tobytes() + b"\xee" * what.padding for row in rows)
        data = zlib.compress(data) if what.packed else data
        parts.append((f"ImageDataSeq|{number}!".encode(), struct.pack("<d", number) + data))
    return parts


def _attributes(what: Nd2) -> dict[str, Any]:
    first = what.pictures[0]
    components = 1 if first.ndim == 2 else first.shape[2]
    stored = 8 * first.itemsize
    return {
        "uiWidth": first.shape[1],
        "uiWidthBytes": first.shape[1] * components * first.itemsize + what.padding,
        "uiHeight": first.shape[0],
        "uiComp": components,
        "uiBpcInMemory": stored,
        "uiBpcSignificant": what.depth or stored,
        "uiSequenceCount": len(what.pictures),
        "uiTileWidth": first.shape[1],
        "uiTileHeight": 0,
        "eCompression": 0 if what.packed else 2,
    } | dict(what.attributes or {})


def _metadata(what: Nd2) -> dict[str, Any]:
    components = 1 if what.pictures[0].ndim == 2 else what.pictures[0].shape[2]
    plane = {"uiCompCount": components // what.channels, "pFluorescentProbe": {"uiColor": 0}}
    return {
        "bCalibrated": what.um is not None,
        "dCalibration": what.um or 1.0,
        "dAspect": what.aspect,
        "sPicturePlanes": {
            "uiCount": what.channels,
            "sPlaneNew": {f"a{number}": plane for number in range(what.channels)},
        },
    }


def _level(name: str, values: Mapping[str, Any]) -> bytes:
    """A record of records; each is its kind, the letters of its name, the name, its value."""
    records = [_record(key, value) for key, value in values.items()]
    body = b"".join(records)
    head = _named(11, name)
    starts, at = b"", len(head) + 12
    for record in records:
        starts += struct.pack("<Q", at)
        at += len(record)
    return head + struct.pack("<IQ", len(records), at) + body + starts


def _record(name: str, value: Any) -> bytes:
    match value:
        case bool():
            return _named(1, name) + struct.pack("<B", value)
        case int():
            return _named(3, name) + struct.pack("<I", value)
        case float():
            return _named(6, name) + struct.pack("<d", value)
        case _:
            return _level(name, value)


def _named(kind: int, name: str) -> bytes:
    return struct.pack("<BB", kind, len(name) + 1) + f"{name}\0".encode("utf-16-le")


def _xml(name: str, values: Mapping[str, Any]) -> bytes:
    def element(key: str, value: Any) -> str:
        match value:
            case bool():
                return f'<{key} runtype="bool" value="{str(value).lower()}"/>'
            case int():
                return f'<{key} runtype="lx_uint32" value="{value}"/>'
            case float():
                return f'<{key} runtype="double" value="{value!r}"/>'
            case _:
                inner = "".join(element(*item) for item in value.items())
                return f'<{key} runtype="CLxVariant">{inner}</{key}>'

    inner = "".join(element(*item) for item in values.items())
    return (
        f'<?xml version="1.0"?><variant version="1.0"><no_name>{inner}</no_name></variant>'.encode()
    )


def packed_text(data: bytes) -> bytes:
    """Metadata as NIS-Elements compresses them."""
    return b"L\0" + bytes(10) + zlib.compress(data)


_GREY8, _GREY16, _GREY12 = ramp(8), ramp(16), ramp(12)
_RGB8, _RGB16 = ramp(8, 3), ramp(16, 3)
_STACK = tuple(ramp(16, start=k) for k in range(11))


def _sample(
    name: str, write: Callable[[Path], None], *pages: NDArray[np.uint8], size: float | None = None
) -> Sample:
    return Sample(f"nd2-{name}", ".nd2", write, pages, 0, size)


ND2_SAMPLES = [
    _sample("red", Nd2((RED[..., ::-1],), um=0.5), RED, size=0.5),
    _sample("red16", Nd2((red(np.uint16)[..., ::-1],)), RED),
    _sample("red-packed", Nd2((RED[..., ::-1],), packed=True, um=0.25), RED, size=0.25),
    _sample("red-version-2", Nd2((RED[..., ::-1],), um=0.5, version=2), RED, size=0.5),
    _sample("rgb-filled-rows", Nd2((_RGB8[..., ::-1],), padding=1), _RGB8),
    _sample("rgb16-packed", Nd2((_RGB16[..., ::-1],), packed=True), scaled(_RGB16, 16)),
    _sample("grey8", Nd2((_GREY8,)), grey(_GREY8)),
    _sample("grey12", Nd2((_GREY12,), depth=12, um=0.33), grey(scaled(_GREY12, 12)), size=0.33),
    _sample("grey16-filled-rows", Nd2((_GREY16,), padding=2), grey(scaled(_GREY16, 16))),
    _sample("stack", Nd2(_STACK), *(grey(scaled(plane, 16)) for plane in _STACK)),
]  # fmt: skip
