"""A mosaic's maps: a pyramid that other programs read, from stored bands."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from hptl_deploy.errors import ResultsError
from hptl_deploy.micrographs import open_micrograph
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.segmentation.mosaics.band import (
    BandedMap,
    check_band,
    encode_band,
)
from hptl_deploy.segmentation.mosaics.tiff import (
    read_mosaic_description,
    write_class_mosaic,
    write_confidence_mosaic,
)
from support.drawings import blobs
from support.mosaics import ABOUT, BANDED, HEIGHT, WIDTH, class_map, store_bands


@pytest.fixture(scope="module")
def classes() -> NDArray[np.uint8]:
    return class_map()


@pytest.fixture
def banded() -> BandedMap:
    return BANDED


@pytest.fixture
def written(tmp_path: Path, banded: BandedMap, classes: NDArray[np.uint8]) -> Path:
    path = tmp_path / "a_classes.tif"
    write_class_mosaic(path, banded, store_bands(banded, classes, tmp_path), PAPER_PHASES, ABOUT)
    return path


def test_tifffile_finds_the_pyramid(written: Path, classes: NDArray[np.uint8]) -> None:
    with tifffile.TiffFile(written) as file:
        assert file.is_bigtiff
        assert file.is_ome
        assert len(file.series) == 1
        assert file.series[0].axes == "YX"
        levels = file.series[0].levels
        assert [level.shape for level in levels] == [(1111, 2221), (556, 1111), (278, 556)]
        for number, level in enumerate(levels):
            page = level.keyframe
            assert np.array_equal(level.asarray(), classes[:: 2**number, :: 2**number])
            assert page.tile == (256, 256)
            assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
            assert page.photometric == tifffile.PHOTOMETRIC.PALETTE
            assert page.colormap is not None
            assert page.colormap[:, 1].tolist() == [65535, 0, 0]
            assert int(page.subfiletype) == (0 if number == 0 else 1)
            above, below = page.tags["XResolution"].value
            assert above / below == pytest.approx(40_000 / 2**number)
            assert page.tags["ResolutionUnit"].value == 3
            assert "DateTime" not in page.tags
        assert file.pages.first.software.startswith("hptl-deploy")


def test_bio_formats_finds_the_pyramid_where_ome_says_it_is(written: Path) -> None:
    # By the standard: the plane's directory holds SubIFDs (330), each a reduced picture, and the
    # first description is OME-XML.
    with tifffile.TiffFile(written) as file:
        page = file.pages.first
        assert len(page.tags[330].value) == 2
        text = page.tags[270].value
        assert len(file.pages) == 1
    root = ET.fromstring(text)
    name = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"
    assert root.tag == f"{name}OME"
    pixels = root.find(f"{name}Image/{name}Pixels")
    assert pixels is not None
    assert (pixels.get("SizeX"), pixels.get("SizeY")) == ("2221", "1111")
    assert pixels.get("PhysicalSizeX") == pixels.get("PhysicalSizeY") == "0.25"
    assert text.isascii()


def test_pillow_and_our_own_reader(written: Path, classes: NDArray[np.uint8]) -> None:
    with Image.open(written) as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), classes)
        shown = np.asarray(image.convert("RGB"))
    with open_micrograph(written) as micrograph:
        assert len(micrograph.pages) == 1
        page = micrograph.pages[0]
        assert page.calibration.pixel_size_um == 0.25
        assert page.calibration.source == "OME"
        assert np.array_equal(page.read(), shown)
    assert (shown[classes == 2] == PAPER_PHASES[2].colour).all()


def test_zarr_reads_the_levels(written: Path, classes: NDArray[np.uint8]) -> None:
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    with tifffile.imread(written, aszarr=True, level=1) as store:
        assert np.array_equal(np.asarray(zarr.open(store, mode="r")), classes[::2, ::2])


def test_the_description_comes_back(written: Path, tmp_path: Path) -> None:
    assert read_mosaic_description(written) == ABOUT
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((4, 4), np.uint8), description="<a/>")
    with pytest.raises(ResultsError, match="does not say what it is; expected a map of a mosaic"):
        read_mosaic_description(tmp_path / "x.tif")


def test_confidence_and_no_pixel_size(tmp_path: Path) -> None:
    pixels, banded = blobs(1100, 700, seed=2), BandedMap(1100, 700, 256)
    path = tmp_path / "c.tif"
    bands = store_bands(banded, pixels, tmp_path)
    write_confidence_mosaic(path, banded, bands, ABOUT | {"pixel_size_um": None})
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        assert page.photometric == tifffile.PHOTOMETRIC.MINISBLACK
        assert page.predictor == 1  # ImageJ's own reader undoes none in deflated files
        assert page.tags["ResolutionUnit"].value == 1
        assert np.array_equal(page.asarray(), pixels)
        assert np.array_equal(file.series[0].levels[1].asarray(), pixels[::2, ::2])
    assert read_mosaic_description(path)["content"] == "probability of the winning class x 255"
    with open_micrograph(path) as micrograph:
        assert micrograph.pages[0].calibration.pixel_size_um is None
    assert np.array_equal(np.asarray(Image.open(path)), pixels)


def test_the_same_map_is_the_same_bytes(
    written: Path, tmp_path: Path, banded: BandedMap, classes: NDArray[np.uint8]
) -> None:
    # From functions instead of files, and in other bands.
    bands = [
        partial(encode_band, banded, n, classes[slice(*banded.rows(n))])
        for n in range(banded.bands)
    ]
    write_class_mosaic(tmp_path / "b.tif", banded, bands, PAPER_PHASES, ABOUT)
    assert (tmp_path / "b.tif").read_bytes() == written.read_bytes()
    other = BandedMap(HEIGHT, WIDTH, 768)
    write_class_mosaic(
        tmp_path / "c.tif", other, store_bands(other, classes, tmp_path), PAPER_PHASES, ABOUT
    )
    assert (tmp_path / "c.tif").read_bytes() == written.read_bytes()


def test_tiles_are_what_tifffile_writes(
    tmp_path: Path, written: Path, classes: NDArray[np.uint8]
) -> None:
    path = tmp_path / "t.tif"
    tifffile.imwrite(path, classes, tile=(256, 256), compression="zlib", maxworkers=1,
                     compressionargs={"level": 6})  # fmt: skip
    with tifffile.TiffFile(path) as one, tifffile.TiffFile(written) as other:
        for each in range(2, 45, 7):
            stored = []
            for file in (one, other):
                page = file.pages.first
                file.filehandle.seek(page.dataoffsets[each])
                stored.append(file.filehandle.read(page.databytecounts[each]))
            assert stored[0] == stored[1]


def test_a_band_of_elsewhere_is_told(
    tmp_path: Path, banded: BandedMap, classes: NDArray[np.uint8]
) -> None:
    bands = store_bands(banded, classes, tmp_path)
    with pytest.raises(ResultsError, match=r"is of another map or place \(band 1 of \{'height'"):
        check_band(banded, 1, bands[0])
    with pytest.raises(ResultsError, match="is of another map or place"):
        check_band(BandedMap(HEIGHT, WIDTH + 1, 256), 0, bands[0])
    with pytest.raises(ResultsError, match=r"^x.tif: 2 bands are there, 1111 rows need 5"):
        write_class_mosaic(tmp_path / "x.tif", banded, bands[:2], PAPER_PHASES, ABOUT)


_ASSEMBLE = """
import re, sys
from pathlib import Path
import numpy as np
import tifffile
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.segmentation.mosaics.band import BandedMap, encode_band
from hptl_deploy.segmentation.mosaics.tiff import write_class_mosaic

folder, side = Path(sys.argv[1]), 8192
banded = BandedMap(side, side, 1024)
rows = np.random.default_rng(0).integers(0, 3, (32, side // 32), np.uint8)
rows = rows.repeat(32, axis=0).repeat(32, axis=1)
bands = []
for number in range(banded.bands):
    bands.append(folder / f"{number}.band")
    bands[-1].write_bytes(encode_band(banded, number, rows))

def peak():
    # Not getrusage: a process inherits the peak of the one that started it.
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

before = peak()
about = {"pixel_size_um": 0.1}
write_class_mosaic(folder / "m.tif", banded, bands, PAPER_PHASES, about)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux tells it")
def test_memory_is_a_few_bands(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _ASSEMBLE, str(tmp_path)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    band = 1024 * 8192
    # The map is eight bands, level 1 alone two.
    assert int(run.stdout) * 1024 < 2 * band, run.stdout


def test_a_mosaic_of_a_few_pixels(tmp_path: Path) -> None:
    banded, pixels = BandedMap(3, 5, 256), np.array([[0, 1, 2, 0, 1]] * 3, np.uint8)
    any_about: dict[str, Any] = ABOUT
    write_class_mosaic(
        tmp_path / "x.tif", banded, [partial(encode_band, banded, 0, pixels)], PAPER_PHASES,
        any_about,
    )  # fmt: skip
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        assert 330 not in file.pages.first.tags
        assert np.array_equal(file.asarray(), pixels)
