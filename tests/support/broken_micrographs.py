"""Writing broken files, and the sentence that is said about them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import open_micrograph

PIXELS = (np.arange(64 * 80, dtype=np.int64) * 2654435761 >> 7).astype(np.uint8).reshape(64, 80)


def sentence(path: Path) -> str:
    """What is said on opening or reading; never a line break, never the path."""
    with pytest.raises(MicrographError) as caught, open_micrograph(path) as micrograph:
        for page in micrograph.pages:
            page.read()
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) not in text
    assert path.name not in text
    return text


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def grey_tiff(tmp_path: Path, array: Any = PIXELS, **options: Any) -> Path:
    options.setdefault("photometric", "minisblack")
    tifffile.imwrite(tmp_path / "x.tif", array, metadata=None, **options)
    return tmp_path / "x.tif"


def patched(path: Path, code: int, value: int) -> Path:
    """Overwrite the value of a tag of the first page."""
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags[code].overwrite(value)
    return path


def grey_png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
