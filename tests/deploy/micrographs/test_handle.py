"""Reads that ask for more than a file has take no room for it."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

from hptl_deploy.micrographs import open_micrograph
from hptl_deploy.micrographs.handle import PictureFile
from support.broken_micrographs import grey_png


def test_what_is_asked_for_beyond_the_end(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(range(256)) * 8192)
    with PictureFile(path) as file:
        file.seek(2 << 20)
        assert file.read(1 << 40) == b""
        file.seek((2 << 20) - 5)
        assert file.read(1 << 40) == bytes(range(251, 256))
        file.seek(0)
        assert file.read((1 << 20) + 1) == path.read_bytes()[: (1 << 20) + 1]
        file.seek(3 << 20)  # behind the end
        assert file.read(1 << 40) == b""
        file.seek(1)
        assert len(file.read()) == len(file.read(-1)) + (2 << 20) - 1
        assert file.read(None) == b""


def test_a_chunk_that_announces_gigabytes(tmp_path: Path) -> None:
    content = bytearray(grey_png(8, 8))
    at = content.index(b"IDAT") - 4
    struct.pack_into(">I", content, at, 2**32 - 1)
    (tmp_path / "x.png").write_bytes(content)
    tracemalloc.start()
    try:
        with open_micrograph(tmp_path / "x.png") as micrograph:
            assert micrograph.pages[0].width == 8
    except Exception as exc:
        assert "memory" not in str(exc)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 32 << 20
