"""The check before the LZW decoder, against a decoder written out code by code."""

from __future__ import annotations

import time
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hptl_deploy.micrographs.lzw import is_sound


def _walk(data: bytes) -> bool:
    """The definition, one code at a time."""
    if data[:1] == b"\0" and data[1:2] and data[1] & 1:
        return False
    bits = "".join(f"{byte:08b}" for byte in data)
    at, width, free, first = 0, 9, 258, True
    while at + width <= len(bits):
        code = int(bits[at : at + width], 2)
        at += width
        if code == 257:
            return True
        if code == 256:
            width, free, first = 9, 258, True
            continue
        if code > (255 if first else free) or free > 4095:
            return False
        free += not first
        first = False
        if free in {511, 1023, 2047}:
            width += 1
    return True


def _samples() -> list[bytes]:
    random = np.random.default_rng(1)
    return [
        b"", b"a", bytes(100_000), bytes(range(256)) * 50,
        random.integers(0, 256, 30_000, np.uint8).tobytes(),
        random.integers(0, 3, 30_000, np.uint8).tobytes(),
    ]  # fmt: skip


_SAMPLES = _samples()


@pytest.mark.parametrize("content", _SAMPLES, ids=len)
def test_sound_streams(content: bytes) -> None:
    data = bytes(imagecodecs.lzw_encode(content))
    assert is_sound(data)
    assert _walk(data)
    reverse = bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)
    assert is_sound(reverse, reversed_bits=True)
    assert all(is_sound(data[:length]) for length in range(0, len(data), 997))


def test_streams_of_libtiff(tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 9, (300, 400), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.tif", compression="tiff_lzw")
    content = (tmp_path / "x.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        page = file.pages.first
        for start, size in zip(page.dataoffsets, page.databytecounts, strict=True):
            assert is_sound(content[start : start + size])


@settings(max_examples=150, database=None)
@given(
    which=st.integers(3, 5),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=3
    ),
)
def test_altered_streams(which: int, changes: list[tuple[float, int]]) -> None:
    altered = bytearray(imagecodecs.lzw_encode(_SAMPLES[which][:3000]))
    for place, value in changes:
        altered[int(place * len(altered))] = value
    assert is_sound(bytes(altered)) == _walk(bytes(altered))


def test_a_beginning_that_the_decoder_takes_for_a_first_draft() -> None:
    """Codes from low to high bits: what is sound one way need not be so the other way."""
    data = bytearray(imagecodecs.lzw_encode(bytes(999)))
    data[:2] = 0x00, 0x3F
    assert not is_sound(bytes(data))
    assert not is_sound(bytes(int(f"{byte:08b}"[::-1], 2) for byte in data), reversed_bits=True)
    data[1] = 0x3E
    assert is_sound(bytes(data)) == _walk(bytes(data))


def test_code_without_entry_right_after_a_clear() -> None:
    codes = [256, 312, 257]
    digits = "".join(f"{code:09b}" for code in codes).ljust(32, "0")
    assert not is_sound(int(digits, 2).to_bytes(4, "big"))


def test_a_stream_of_clears_is_refused_at_once() -> None:
    digits = f"{256:09b}" * 8 * 4_000
    data = int(digits, 2).to_bytes(len(digits) // 8, "big")
    start = time.perf_counter()
    assert not is_sound(data)
    assert time.perf_counter() - start < 5
