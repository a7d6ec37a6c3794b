"""A page read band by band: the same pixels, each piece decoded once, in the memory foretold."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import Page, bands, open_micrograph, tiff, tiff_rows
from hptl_deploy.micrographs.raster import RasterMicrograph
from hptl_deploy.tiling import Region
from support.micrograph_samples import SAMPLES, Sample


def _steps(height: int, rows: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Bands of `rows` rows from top to bottom, each repeating `overlap` of the one before."""
    top = 0
    while True:
        bottom = min(top + rows, height)
        yield top, bottom
        if bottom == height:
            return
        top = bottom - overlap


def _noise(height: int, width: int, dtype: type = np.uint8, channels: int = 3) -> NDArray[Any]:
    rng = np.random.default_rng(height + width)
    return rng.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)


def _write(path: Path, array: NDArray[Any], **options: Any) -> Path:
    options.setdefault("photometric", "rgb")
    tifffile.imwrite(path, array, metadata=None, **options)
    return path


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_bands_equal_the_whole(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bands, "_LEAST_ROWS", 4)  # many blocks in a small picture
    with open_micrograph(sample.file(tmp_path)) as micrograph:
        for page in micrograph.pages:
            whole = page.read()
            with page.bands(3) as reader:
                for y0, y1 in [*_steps(page.height, 10, 3), (2, 6), (0, page.height), (5, 5)]:
                    band = reader.read(y0, y1)
                    assert np.array_equal(band, whole[y0:y1])
                    assert band.dtype == np.uint8
                    band[...] = 99  # the caller's own


@pytest.mark.parametrize(
    ("options", "pieces"),
    [
        ({"tile": (64, 48), "compression": "deflate"}, 10 * 4),
        ({"tile": (16, 192)}, 38),
        ({"rowsperstrip": 7, "compression": "zstd"}, 86),
        ({"rowsperstrip": 1, "compression": "lzw"}, 600),
        ({"rowsperstrip": 600, "compression": "deflate"}, 1),
    ],
)
def test_every_piece_is_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], pieces: int
) -> None:
    array = _noise(600, 180)
    decoded: list[int] = []
    decode = tiff._TiffPicture._decode_segment

    def counted(self: Any, page: Any, segment: Any) -> Any:
        decoded.append(segment.index)
        return decode(self, page, segment)

    monkeypatch.setattr(tiff._TiffPicture, "_decode_segment", counted)
    with open_micrograph(_write(tmp_path / "x.tif", array, **options)) as micrograph:
        page = micrograph.pages[0]
        with page.bands(50) as reader:
            for y0, y1 in _steps(600, 130, 50):
                assert np.array_equal(reader.read(y0, y1), array[y0:y1])
    assert sorted(decoded) == list(range(pieces))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_what_cannot_be_decoded_by_parts_is_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / f"x{suffix}"
    Image.fromarray(_noise(300, 50)).save(path)
    with open_micrograph(path) as micrograph:
        assert isinstance(micrograph, RasterMicrograph)
        page = cast(Any, micrograph.pages[0])
        decode = page.decode
        regions: list[Region] = []

        def counted(region: Region) -> Any:
            regions.append(region)
            return decode(region)

        monkeypatch.setattr(page, "decode", counted)
        with page.bands() as reader:
            read = [reader.read(y0, y1) for y0, y1 in _steps(300, 90, 0)]
    assert np.array_equal(np.concatenate(read), np.asarray(Image.open(path)))
    assert regions == [Region(0, 300, 0, 50)]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "options",
    [{}, {"planarconfig": "separate"}, {"rowsperstrip": 23}, {"bigtiff": True},
     {"photometric": "minisblack"}],
    ids=str,
)  # fmt: skip
def test_rows_of_uncompressed_strips(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    dtype: type,
    order: str,
) -> None:
    monkeypatch.setattr(tiff_rows, "_READ_BYTES", 1000)  # a few rows at a time
    array = _noise(100, 61, dtype)
    stored = array[..., 0] if "photometric" in options else array
    stored = np.moveaxis(array, -1, 0) if "planarconfig" in options else stored
    path = _write(tmp_path / "x.tif", stored, byteorder=order, **options)
    levels = array.astype(np.float64) * 255 / np.iinfo(dtype).max
    expected = np.rint(levels).astype(np.uint8)
    if "photometric" in options:
        expected = np.repeat(expected[..., :1], 3, axis=2)
    with open_micrograph(path) as micrograph:
        page = micrograph.pages[0]
        assert np.array_equal(page.read(), expected)
        with page.bands() as reader:
            assert np.array_equal(reader.read(40, 95), expected[40:95])


class _Counting:
    """A file that knows how much was read of it."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self.bytes = 0

    def read(self, size: int) -> bytes:
        self.bytes += size
        return self._handle.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)


def test_of_an_uncompressed_strip_only_the_rows_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hptl_deploy.micrographs.decoded.LARGEST_KEPT_BYTES", 0)
    monkeypatch.setattr(tiff_rows, "_READ_BYTES", 1000)
    array = _noise(500, 40)
    with open_micrograph(_write(tmp_path / "x.tif", array)) as opened:
        micrograph = cast(Any, opened)
        micrograph.handle = counting = _Counting(micrograph.handle)
        region = Region(300, 307, 5, 9)
        assert np.array_equal(opened.pages[0].read(region), array[region.slices])
    assert counting.bytes == 7 * 40 * 3


def _sparse(path: Path, shape: tuple[int, ...], dtype: str, **options: Any) -> int:
    """A BigTIFF of zeros that takes no room on the disk; returns where its pixels begin."""
    tifffile.imwrite(
        path, shape=shape, dtype=dtype, photometric="rgb", bigtiff=True, metadata=None, **options
    )
    with tifffile.TiffFile(path) as file:
        return int(file.pages.first.dataoffsets[0])


def _peak(page: Page, y0: int, y1: int) -> tuple[NDArray[np.uint8], int]:
    page.read(Region(0, 1, 0, 1))  # imports
    tracemalloc.start()
    try:
        with page.bands() as reader:
            return reader.read(y0, y1), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("order", "<>")
def test_one_strip_beyond_four_gigabytes(tmp_path: Path, order: str) -> None:
    side, path = 32768, tmp_path / "x.btf"
    start = _sparse(path, (side, side, 3), "uint16", byteorder=order)
    row = np.arange(side * 3, dtype=np.uint16).reshape(side, 3)
    with path.open("rb+") as handle:
        handle.seek(start + (side - 2) * side * 6)  # beyond 6 GB
        handle.write(row.astype(f"{order}u2").tobytes())
    with open_micrograph(path) as micrograph:
        page = micrograph.pages[0]
        assert (page.height, page.width) == (side, side)
        band, peak = _peak(page, side - 40, side)
        assert peak <= page.band_bytes(40) < 2**26
    expected = np.rint(row.astype(np.float64) * 255 / 65535)
    assert np.array_equal(band[-2], expected)
    assert not band[:-2].any()
    assert not band[-1].any()


def test_planes_beyond_four_gigabytes(tmp_path: Path) -> None:
    side, path = 40000, tmp_path / "x.tif"
    start = _sparse(path, (3, side, side), "uint8", planarconfig="separate")
    with path.open("rb+") as handle:
        for plane in range(3):
            handle.seek(start + plane * side**2 + (side - 1) * side)
            handle.write(bytes([50 + plane]) * side)
    with open_micrograph(path) as micrograph:
        band, peak = _peak(micrograph.pages[0], side - 40, side)
        assert peak <= micrograph.pages[0].band_bytes(40) < 2**27
    assert np.array_equal(band[-1], np.tile([50, 51, 52], (side, 1)))
    assert not band[:-1].any()


def test_tiles_beyond_four_gigabytes(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.tif", _noise(512, 512), tile=(256, 256), compression="deflate",
                  bigtiff=True)  # fmt: skip
    expected = tifffile.imread(path)
    far = 5 * 2**30
    with tifffile.TiffFile(path, mode="r+") as file:
        page, handle = file.pages.first, file.filehandle
        handle.seek(page.dataoffsets[3])
        stored = handle.read(page.databytecounts[3])
        handle.seek(page.dataoffsets[3])
        handle.write(bytes(len(stored)))
        handle.seek(far)  # a hole before it
        handle.write(stored)
        page.tags["TileOffsets"].overwrite([*page.dataoffsets[:3], far])
    with open_micrograph(path) as micrograph, micrograph.pages[0].bands(10) as reader:
        for y0, y1 in _steps(512, 200, 10):
            assert np.array_equal(reader.read(y0, y1), expected[y0:y1])


def test_many_tiles_are_opened_and_planned_at_once(tmp_path: Path) -> None:
    side, path = 32768, tmp_path / "x.tif"
    stored = tifffile.TIFF.COMPRESSORS[50000](np.full((256, 256, 3), 7, np.uint8))
    tifffile.imwrite(path, iter([stored] * 128**2), shape=(side, side, 3), dtype="uint8",
                     tile=(256, 256), photometric="rgb", compression="zstd", metadata=None,
                     bigtiff=True)  # fmt: skip
    with open_micrograph(path) as micrograph:
        page = micrograph.pages[0]
        band, peak = _peak(page, side - 300, side)
        assert peak <= page.band_bytes(300) < 300 * side * 3 + 256 * side * 3 + 2**21
    assert np.unique(band).tolist() == [7]


@pytest.mark.parametrize(
    "options",
    [
        {"tile": (128, 128), "compression": "deflate"},
        {"rowsperstrip": 90, "compression": "lzw"},
        {},
    ],
    ids=str,
)
@pytest.mark.parametrize(("rows", "overlap"), [(400, 150), (300, 299), (100, 0)])
def test_memory_is_what_was_foretold(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    rows: int,
    overlap: int,
) -> None:
    monkeypatch.setattr(tiff_rows, "_READ_BYTES", 10**5)  # as small as the picture is
    path = _write(tmp_path / "x.tif", _noise(2000 if overlap < 299 else 700, 1000), **options)
    with open_micrograph(path) as micrograph:
        page = micrograph.pages[0]
        page.read(Region(0, 1, 0, 1))
        tracemalloc.start()
        with page.bands(overlap) as reader:
            for y0, y1 in _steps(page.height, rows, overlap):
                reader.read(y0, y1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        foretold = page.band_bytes(rows, overlap)
    # Python's own small objects come on top.
    assert peak <= foretold + 2**18
    assert foretold <= (rows + overlap) * 1000 * 3 + 3.2e6  # and two blocks and a piece


def test_a_region_of_a_large_page_does_not_bring_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hptl_deploy.micrographs.decoded.LARGEST_KEPT_BYTES", 2**20)
    path = _write(tmp_path / "x.tif", _noise(2000, 1000), tile=(64, 64), compression="deflate")
    with open_micrograph(path) as micrograph:
        page = micrograph.pages[0]
        page.read(Region(0, 1, 0, 1))
        tracemalloc.start()
        page.read(Region(500, 600, 200, 300))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 100 * 100 * 3 + 7 * 64 * 64 * 3 + 2**16


def test_a_single_compressed_strip_has_to_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = _noise(2000, 1000)
    compressed = _write(tmp_path / "c.tif", array, compression="deflate", rowsperstrip=2000)
    plain = _write(tmp_path / "p.tif", array)

    class Little:
        available = 30 * 10**6

    monkeypatch.setattr("psutil.virtual_memory", Little)
    monkeypatch.setattr(tiff_rows, "_READ_BYTES", 10**6)
    with open_micrograph(plain) as micrograph:
        micrograph.pages[0].bands().read(0, 10)
    with pytest.raises(MicrographError) as caught:
        open_micrograph(compressed)
    assert str(caught.value) == (
        "declares 1000 x 2000 pixels: decoding them needs 0.0 GiB of memory, 0.0 GiB are free. "
        "Close other programs or cut the micrograph into pieces"
    )


def test_mistakes_of_the_caller(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.tif", _noise(20, 30))
    with open_micrograph(path) as micrograph:
        page = micrograph.pages[0]
        with pytest.raises(ValueError, match=r"^an overlap of -1 rows; expected 0 or more$"):
            page.bands(-1)
        reader = page.bands()
        for y0, y1 in ((0, 21), (-1, 3), (5, 4)):
            with pytest.raises(ValueError, match="leave the page of 20 rows"):
                reader.read(y0, y1)
    with pytest.raises(MicrographError, match=r"^was closed before its pixels were read$"):
        reader.read(0, 5)
