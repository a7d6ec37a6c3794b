"""A page read band by band: the same pixels, each piece decoded once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import bands, open_micrograph, tiff, tiff_rows
from hptl_deploy.micrographs.raster import RasterMicrograph
from hptl_deploy.tiling import Region
from support.bands import noise, steps, write_tiff
from support.micrograph_samples import SAMPLES, Sample


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_bands_equal_the_whole(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bands, "_LEAST_ROWS", 4)  # many blocks in a small picture
    with open_micrograph(sample.file(tmp_path)) as micrograph:
        for page in micrograph.pages:
            whole = page.read()
            with page.bands(3) as reader:
                for y0, y1 in [*steps(page.height, 10, 3), (2, 6), (0, page.height), (5, 5)]:
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
    array = noise(600, 180)
    decoded: list[int] = []
    decode = tiff._TiffPicture._decode_segment

    def counted(self: Any, page: Any, segment: Any) -> Any:
        decoded.append(segment.index)
        return decode(self, page, segment)

    monkeypatch.setattr(tiff._TiffPicture, "_decode_segment", counted)
    with open_micrograph(write_tiff(tmp_path / "x.tif", array, **options)) as micrograph:
        page = micrograph.pages[0]
        with page.bands(50) as reader:
            for y0, y1 in steps(600, 130, 50):
                assert np.array_equal(reader.read(y0, y1), array[y0:y1])
    assert sorted(decoded) == list(range(pieces))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_what_cannot_be_decoded_by_parts_is_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / f"x{suffix}"
    Image.fromarray(noise(300, 50)).save(path)
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
            read = [reader.read(y0, y1) for y0, y1 in steps(300, 90, 0)]
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
    array = noise(100, 61, dtype)
    stored = array[..., 0] if "photometric" in options else array
    stored = np.moveaxis(array, -1, 0) if "planarconfig" in options else stored
    path = write_tiff(tmp_path / "x.tif", stored, byteorder=order, **options)
    levels = array.astype(np.float64) * 255 / np.iinfo(dtype).max
    expected = np.rint(levels).astype(np.uint8)
    if "photometric" in options:
        expected = np.repeat(expected[..., :1], 3, axis=2)
    with open_micrograph(path) as micrograph:
        page = micrograph.pages[0]
        assert np.array_equal(page.read(), expected)
        with page.bands() as reader:
            assert np.array_equal(reader.read(40, 95), expected[40:95])


def test_mistakes_of_the_caller(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "x.tif", noise(20, 30))
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
