"""Bands of a mosaic's map as bytes: they come back, and damage is told."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from hptl_deploy.errors import ResultsError
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.segmentation.mosaics.band import (
    BandedMap,
    check_band,
    encode_band,
    read_rows,
    read_tiles,
)
from hptl_deploy.segmentation.mosaics.tiff import (
    write_class_mosaic,
)
from support.mosaics import ABOUT, BANDED, class_map, store_bands


@pytest.fixture(scope="module")
def classes() -> NDArray[np.uint8]:
    return class_map()


@pytest.fixture
def banded() -> BandedMap:
    return BANDED


@pytest.mark.parametrize(
    ("sides", "levels"),
    [((1, 1), 0), ((1024, 900), 0), ((1025, 3), 1), ((2048, 2048), 1), ((2049, 1), 2),
     ((32768, 32768), 5), ((32768, 32769), 6), ((10**6, 5), 8)],
)  # fmt: skip
def test_levels_go_down_to_what_a_screen_shows(sides: tuple[int, int], levels: int) -> None:
    assert BandedMap(*sides, 256).levels == levels


def test_a_band_says_what_it_was_given(banded: BandedMap, classes: NDArray[np.uint8]) -> None:
    for number in (0, 4):
        rows = classes[slice(*banded.rows(number))]
        source = partial(encode_band, banded, number, rows)
        check_band(banded, number, source)
        for level in range(3):
            step = 2**level
            found = read_rows(banded, number, source, level)
            assert np.array_equal(found, rows[::step, ::step])
            found[...] = 9  # the caller's own
        assert len(read_tiles(banded, number, source)) == 9


def _cut(content: bytes) -> bytes:
    return content[:-1]


def _empty(content: bytes) -> bytes:
    return content[:0]


def _flip(at: float, content: bytes) -> bytes:
    altered = bytearray(content)
    altered[int(at * len(content))] ^= 1
    return bytes(altered)


@pytest.mark.parametrize(
    "damage", [_cut, _empty, *(partial(_flip, at) for at in (0, 0.0001, 0.001, 0.5, 0.999))]
)
def test_a_damaged_band_is_told(
    tmp_path: Path,
    banded: BandedMap,
    classes: NDArray[np.uint8],
    damage: Callable[[bytes], bytes],
) -> None:
    bands = store_bands(banded, classes, tmp_path)
    bands[1].write_bytes(damage(bands[1].read_bytes()))
    sentence = (
        f"band 2 of 5 ({bands[1]}): is not what was written (cut short or altered); "
        "delete it and run again"
    )
    with pytest.raises(ResultsError) as caught:
        check_band(banded, 1, bands[1])
    assert str(caught.value) == sentence
    with pytest.raises(ResultsError) as caught:
        write_class_mosaic(tmp_path / "x.tif", banded, bands, PAPER_PHASES, ABOUT)
    assert str(caught.value) == sentence


def test_a_header_that_claims_gigabytes(tmp_path: Path, banded: BandedMap) -> None:
    claim = struct.pack("<8sII", b"HPTLBAND", 2**32 - 1, 0) + bytes(100)
    with pytest.raises(ResultsError, match="is not what was written"):
        check_band(banded, 0, lambda: claim)


def test_mistakes_of_the_caller(banded: BandedMap, classes: NDArray[np.uint8]) -> None:
    for wrong in (classes[:255], classes[:256, 1:], classes[:256].astype(np.uint16)):
        with pytest.raises(ValueError, match=r"^band 0 is uint.*; expected uint8 \[256, 2221\]$"):
            encode_band(banded, 0, cast(Any, wrong))
    for arguments in ((10, 10, 100), (0, 10, 256), (10, 10, 0)):
        with pytest.raises(ValueError, match="expected positive sides and a multiple of 256 rows"):
            BandedMap(*arguments)
