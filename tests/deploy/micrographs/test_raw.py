"""Uncompressed pictures of vendors' files: what is read of the file, and the memory foretold."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import open_micrograph
from hptl_deploy.tiling import Region
from support.lif_samples import RGB, Image, lif
from support.nd2_samples import Nd2

_RGB16 = (np.arange(1500 * 2000 * 3, dtype=np.uint32) * 2654435761 >> 16).astype(np.uint16)
_PIXELS = _RGB16.reshape(1500, 2000, 3)
_MIB = 2**20

FILES = {
    "x.lif": (lif(Image(_PIXELS, tags=RGB, depth=16)), "liffile"),
    "x.nd2": (Nd2((_PIXELS[..., ::-1],)), "nd2"),
    "packed.nd2": (Nd2((_PIXELS[..., ::-1],), packed=True), "nd2"),
}


@pytest.fixture(params=FILES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write, package = FILES[request.param]
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    cast("Callable[[Path], None]", write)(tmp_path / request.param)
    return tmp_path / str(request.param)


def test_bands_take_the_memory_that_was_foretold(path: Path) -> None:
    expected = np.rint(_PIXELS[1200:1240].astype(np.float64) * 255 / 65535)
    with open_micrograph(path) as micrograph:
        page = micrograph.pages[0]
        page.read(Region(0, 1, 0, 1))  # imports
        cast(Any, micrograph).keep(page, None)
        tracemalloc.start()
        try:
            with page.bands() as bands:
                band = bands.read(1200, 1240)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        foretold = page.band_bytes(40)
    assert np.array_equal(band, expected)
    assert peak <= foretold
    if path.name != "packed.nd2":
        assert foretold < 10 * _MIB  # of 17 as they are stored


def test_a_file_that_becomes_shorter_is_a_sentence(path: Path) -> None:
    with open_micrograph(path) as micrograph:
        with path.open("rb+") as handle:
            handle.truncate(path.stat().st_size // 2)
        with pytest.raises(MicrographError, match=r"is cut short|is damaged"):
            micrograph.pages[0].read()
