"""The benchmark's mosaics: the same by parts as whole, in every layout, and of real content."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile

from benchmarks import mosaic_data
from benchmarks.mosaic_data import Compression, Layout, Mosaic, write_mosaic
from hptl_deploy.micrographs import open_micrograph

HEIGHT, WIDTH, FIELD = 1300, 2500, 300


@pytest.fixture(scope="module")
def mosaic() -> Mosaic:
    return Mosaic(HEIGHT, WIDTH, seed=4, field=FIELD)


def test_rows_by_parts_are_those_of_the_whole(mosaic: Mosaic) -> None:
    whole = mosaic.rows(0, HEIGHT)
    assert whole.shape == (HEIGHT, WIDTH, 3)
    for y0, y1 in ((0, 1), (1000, 1100), (FIELD, HEIGHT), (7, 1299)):
        assert np.array_equal(mosaic.rows(y0, y1), whole[y0:y1])
        assert np.array_equal(mosaic.labels(y0, y1), mosaic.labels(0, HEIGHT)[y0:y1])


def test_it_is_aluminium_with_its_phases(mosaic: Mosaic) -> None:
    pixels, labels = mosaic.rows(0, HEIGHT).mean(axis=2), mosaic.labels(0, HEIGHT)
    levels = [pixels[labels == index].mean() for index in range(3)]
    assert levels[0] > levels[2]  # phases are darker than the matrix
    assert levels[0] > levels[1]
    shares = np.bincount(labels.ravel(), minlength=3) / labels.size
    assert 0.8 < shares[0] < 0.995
    assert (shares[1:] > 0.001).all()


def test_neighbours_differ_and_seeds_differ(mosaic: Mosaic) -> None:
    frame = np.arange(36, dtype=np.uint8).reshape(6, 6)
    fields = [mosaic_data._field(frame, place, 3) for place in range(32)]
    assert {field.shape for field in fields} == {(3, 3)}
    assert len({field.tobytes() for field in fields}) == 32
    assert len(np.unique(Mosaic(32768, 32768)._places)) == 32
    assert not np.array_equal(Mosaic(9999, 9999, 1)._places, Mosaic(9999, 9999, 2)._places)
    assert np.array_equal(Mosaic(HEIGHT, WIDTH, 4, FIELD)._places, mosaic._places)


@pytest.mark.parametrize("compression", ["none", "deflate", "zstd"])
@pytest.mark.parametrize("layout", ["tiles", "strips", "one-strip"])
def test_every_layout_holds_its_pixels(
    mosaic: Mosaic, tmp_path: Path, layout: Layout, compression: Compression
) -> None:
    path = tmp_path / "m.tif"
    if layout == "one-strip" and compression != "none":
        with pytest.raises(ValueError, match="cannot be compressed by parts"):
            write_mosaic(path, mosaic, layout, compression)
        return
    write_mosaic(path, mosaic, layout, compression)
    whole = mosaic.rows(0, HEIGHT)
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        assert np.array_equal(page.asarray(), whole)
        assert page.is_tiled == (layout == "tiles")
        assert len(page.dataoffsets) == {"tiles": 60, "strips": 82, "one-strip": 1}[layout]
        assert not file.is_bigtiff
    with open_micrograph(path) as micrograph, micrograph.pages[0].bands(10) as bands:
        size = micrograph.pages[0].calibration.pixel_size_um
        assert size == pytest.approx(mosaic.pixel_size_um)
        assert np.array_equal(bands.read(900, 1300), whole[900:])


def test_large_ones_are_bigtiff(
    mosaic: Mosaic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mosaic_data, "_LARGEST_CLASSIC", 10**6)
    write_mosaic(tmp_path / "m.tif", mosaic)
    with tifffile.TiffFile(tmp_path / "m.tif") as file:
        assert file.is_bigtiff


def test_memory_does_not_grow_with_the_height(mosaic: Mosaic, tmp_path: Path) -> None:
    tall = Mosaic(8192, 1000, seed=4, field=FIELD)
    tall.__dict__["_frame"] = mosaic._frame
    tall.rows(0, 1)  # the frame is there
    tracemalloc.start()
    write_mosaic(tmp_path / "m.tif", tall, "one-strip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 256 * 1000 * 3  # of 24 MB
