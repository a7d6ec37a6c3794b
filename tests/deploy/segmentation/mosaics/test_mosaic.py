"""Mosaics: band by band, with the whole page's results."""

from __future__ import annotations

import csv
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from hptl_deploy.engines import Engine
from hptl_deploy.engines.memory.host import HostMemory
from hptl_deploy.micrographs.bands import BandReader, DecodesRows
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.results import OVERVIEW_FILES
from hptl_deploy.segmentation import SegmentOptions, segment
from hptl_deploy.segmentation import overlay as overlays
from hptl_deploy.segmentation.mosaics.mosaic import BANDS_FOLDER, Mosaic
from hptl_deploy.segmentation.overlay import reduced_picture
from hptl_deploy.tiling import FramePlan
from support.drawings import blobs, save
from support.mosaic_runs import BANDS, HEIGHT, REDUCED, TILES, WIDTH, colours, save_tiff, whole
from support.sinks import Recorder
from support.stand_in_tensorrt import open_stand_in


def fields(out: Path) -> list[dict[str, str]]:
    with (out / "fields.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def check_maps(out: Path, base: str, engine: Engine, pixels: NDArray[np.uint8]) -> None:
    """Class map, confidence map and row are those of one call for the whole page."""
    classes, confidence = whole(engine, pixels)
    with tifffile.TiffFile(out / f"{base}_classes.tif") as file:
        assert file.is_bigtiff
        assert len(file.series[0].levels) > 1
    np.testing.assert_array_equal(tifffile.imread(out / f"{base}_classes.tif"), classes)
    if (path := out / f"{base}_confidence.tif").exists():
        np.testing.assert_array_equal(tifffile.imread(path), confidence)
    (row,) = [row for row in fields(out) if row["classes_file"] == f"{base}_classes.tif"]
    assert (row["width_px"], row["height_px"]) == (str(pixels.shape[1]), str(pixels.shape[0]))
    for index, phase in enumerate(PAPER_PHASES):
        fraction = float(row[f"{phase.key}_area_fraction"])
        assert fraction == pytest.approx((classes == index).mean(), abs=1e-9)
    assert float(row["mean_confidence"]) == pytest.approx(confidence.mean() / 255, abs=1e-6)


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (1025, 513), (1024, 512)])
def test_maps_and_figures_are_the_whole_pages(
    tmp_path: Path, small_limits: None, seeing: Engine, size: tuple[int, int]
) -> None:
    pixels = colours(*size)
    source = save_tiff(tmp_path / "in" / "m.tif", pixels)
    out = segment(SegmentOptions(source, tmp_path / "out", confidence=True), seeing).out
    check_maps(out, "m", seeing, pixels)
    assert not (out / BANDS_FOLDER).exists()
    assert {path.name for path in out.iterdir()} == {
        "failures.csv", "fields.csv", "ledger.jsonl", "m_classes.tif", "m_confidence.tif",
        "m_overlay.jpg", "m_particles.parquet", "run.json",
        *OVERVIEW_FILES,
    }  # fmt: skip


def test_the_page_is_cut_as_these_tests_rely_on(
    tmp_path: Path, small_limits: None, seeing: Engine, calls: list[tuple[int, ...]]
) -> None:
    source = save_tiff(tmp_path / "m.tif", colours())
    sink = Recorder()
    segment(SegmentOptions(source), seeing, sink)
    assert len(sink.advanced) == BANDS + 1
    assert sum(shape[0] for shape in calls) == sum(TILES)


def without_blanks(out: Path) -> list[dict[str, str]]:
    """Rows of fields.csv, without what a mosaic has no figures of, and the flags they decide."""
    with (out / "fields.csv").open(encoding="utf-8", newline="") as handle:
        found = list(csv.DictReader(handle))
    for row in found:
        for name in ("flags", "focus", "illumination_range", "left_out"):
            del row[name]
    return found


def test_fields_are_those_of_a_run_without_bands(
    tmp_path: Path, request: pytest.FixtureRequest, seeing: Engine
) -> None:
    source = save_tiff(tmp_path / "in" / "m.tif", colours()).parent
    save(source / "s.png", blobs(64, 96, seed=3))
    plain = segment(SegmentOptions(source, tmp_path / "plain"), seeing).out
    request.getfixturevalue("small_limits")
    banded = segment(SegmentOptions(source, tmp_path / "banded"), seeing).out
    assert without_blanks(banded) == without_blanks(plain)
    assert (banded / "s_classes.tif").read_bytes() == (plain / "s_classes.tif").read_bytes()
    assert (banded / "m_classes.tif").read_bytes() != (plain / "m_classes.tif").read_bytes()


@pytest.mark.parametrize("tile", [64, 200, 512])
def test_a_forced_tile(tmp_path: Path, small_limits: None, seeing: Engine, tile: int) -> None:
    source = save_tiff(tmp_path / "m.tif", colours())
    options = SegmentOptions(source, tmp_path / "out", tile=tile, confidence=True)
    check_maps(segment(options, seeing).out, "m", seeing, colours())


def block_means(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """By brute force: the mean of every square, whose missing pixels repeat the last ones."""
    height, width, _ = pixels.shape
    found = np.empty((-(-height // factor), -(-width // factor), 3), np.uint8)
    for row in range(found.shape[0]):
        for column in range(found.shape[1]):
            ys = np.minimum(np.arange(row * factor, (row + 1) * factor), height - 1)
            xs = np.minimum(np.arange(column * factor, (column + 1) * factor), width - 1)
            found[row, column] = np.round(pixels[np.ix_(ys, xs)].mean((0, 1)))
    return found


@pytest.mark.parametrize("size", [(256, 40), (13, 17), (1, 1), (8, 9)])
@pytest.mark.parametrize("factor", [1, 2, 8])
def test_the_reduced_picture(size: tuple[int, int], factor: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    np.testing.assert_array_equal(reduced_picture(pixels, factor), block_means(pixels, factor))


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_the_overlay_is_reduced(
    tmp_path: Path, small_limits: None, seeing: Engine, kind: str
) -> None:
    pixels = colours(1101, 702)
    source = save_tiff(tmp_path / "m.tif", pixels)
    options = SegmentOptions(source, tmp_path / "out", overlay=kind, pixel_size_um=0.5)
    out = segment(options, seeing).out
    classes, _ = whole(seeing, pixels)
    right = overlays.draw(block_means(pixels, REDUCED), classes[::REDUCED, ::REDUCED], PAPER_PHASES)
    with Image.open(out / f"m_overlay.{kind}") as picture:
        shown = np.asarray(picture.convert("RGB"))
        described = str(picture.info.get("Description") or picture.getexif()[0x010E])
    assert shown.shape == right.shape == (276, 176, 3)
    if kind == "jpg":  # what JPEG makes of it
        encoded = BytesIO()
        Image.fromarray(right).save(encoded, "JPEG", quality=90, subsampling=0)
        right = np.asarray(Image.open(encoded))
    np.testing.assert_array_equal(shown, right)
    assert f'"pixel_size_um": {0.5 * REDUCED}' in described
    assert f'"reduced_by": {REDUCED}' in described


def test_without_overlay_confidence_and_particles(
    tmp_path: Path, small_limits: None, seeing: Engine
) -> None:
    source = save_tiff(tmp_path / "m.tif", colours())
    options = SegmentOptions(source, tmp_path / "out", overlay="none", particles=False)
    out = segment(options, seeing).out
    assert {path.name for path in out.glob("m_*")} == {"m_classes.tif"}


def test_a_stack_of_mosaics_beside_small_frames(
    tmp_path: Path, small_limits: None, seeing: Engine
) -> None:
    pages = np.stack([colours(seed=seed) for seed in (1, 5, 9)])
    source = tmp_path / "in"
    save_tiff(source / "stack.tif", pages, photometric="rgb")
    for number in range(12):
        save(source / f"s{number:02d}.png", blobs(64, 96, seed=number))
    summary = segment(SegmentOptions(source, tmp_path / "out", confidence=True), seeing)
    assert summary.counts["done"] == 13
    assert summary.fields == 15
    for number, page in enumerate(pages, 1):
        check_maps(summary.out, f"stack_p{number:04d}", seeing, page)
    for number in range(12):
        grey = blobs(64, 96, seed=number)
        classes, _ = whole(seeing, np.stack([grey] * 3, axis=-1))
        found = tifffile.imread(summary.out / f"s{number:02d}_classes.tif")
        np.testing.assert_array_equal(found, classes)
    assert not (summary.out / BANDS_FOLDER).exists()


@pytest.mark.parametrize("kind", ["16 bits", "grey", "png", "tiled", "one strip"])
def test_other_inputs(tmp_path: Path, small_limits: None, seeing: Engine, kind: str) -> None:
    grey = blobs(HEIGHT, WIDTH, seed=2)
    pixels = np.stack([grey] * 3, axis=-1)
    path = tmp_path / "in" / "m.tif"
    options: dict[str, Any] = {"photometric": "minisblack"}
    if kind == "png":
        save(path.with_suffix(".png"), grey)
    elif kind == "16 bits":
        save_tiff(path, grey.astype(np.uint16) * 257, **options)
    elif kind == "tiled":
        path.parent.mkdir()
        tifffile.imwrite(path, grey, tile=(128, 128), compression="zlib", **options)
    elif kind == "one strip":
        path.parent.mkdir()
        tifffile.imwrite(path, grey, rowsperstrip=HEIGHT, compression="zlib", **options)
    else:
        save_tiff(path, grey, **options)
    out = segment(SegmentOptions(path.parent, tmp_path / "out"), seeing).out
    check_maps(out, "m", seeing, pixels)


def test_two_mosaics_at_once(tmp_path: Path, small_limits: None, seeing: Engine) -> None:
    source = tmp_path / "in"
    for seed in range(3):
        save_tiff(source / f"m{seed}.tif", colours(seed=seed))
    out = segment(SegmentOptions(source, tmp_path / "out", confidence=True), seeing).out
    for seed in range(3):
        check_maps(out, f"m{seed}", seeing, colours(seed=seed))
    assert not (out / BANDS_FOLDER).exists()


@pytest.mark.parametrize(("most", "together"), [(1, 1), (1 << 40, 3)])
def test_what_readers_keep_between_bands_is_bounded(
    tmp_path: Path,
    small_limits: None,
    seeing: Engine,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    together: int,
) -> None:
    """Of a format that cannot be read by parts that is the whole page, once for every thread."""
    open_now: list[int] = []
    seen: list[int] = []
    all_there = threading.Barrier(together)

    class Reader(BandReader):
        def __init__(self, page: DecodesRows, overlap: int) -> None:
            super().__init__(page, overlap)
            open_now.append(1)
            seen.append(len(open_now))
            all_there.wait(20)

        def close(self) -> None:
            open_now.pop()
            super().close()

    monkeypatch.setattr("hptl_deploy.micrographs.decoded.BandReader", Reader)
    monkeypatch.setattr("hptl_deploy.segmentation.run.threads_per_stage", lambda: 3)
    monkeypatch.setattr("hptl_deploy.segmentation.memory.MemoryPlan.reading", most)
    for seed in range(3):
        save(tmp_path / "in" / f"m{seed}.png", blobs(HEIGHT, WIDTH, seed=seed))
    assert segment(SegmentOptions(tmp_path / "in"), seeing).counts["done"] == 3
    assert max(seen) == together


def test_an_overlay_is_reduced_no_further_than_the_map_has_levels(tmp_path: Path) -> None:
    """By 256: at more, a band would end within a square of pixels."""
    plan = FramePlan(3_000_000, 10, 8, 24, (256, 16), 256)
    assert Mosaic(tmp_path, plan, confidence=False, overlay=True, particles=True).reduced == 8


@pytest.mark.parametrize("room", [None, 900_000])
def test_an_engine_with_profiles_and_a_device_without_room(
    tmp_path: Path, small_limits: None, seeing: Engine, model_path: Path, room: int | None
) -> None:
    """Built for tiles up to 136 x 200 px, and a workspace of 100 bytes for each pixel."""
    source = save_tiff(tmp_path / "m.tif", colours())
    sink = Recorder()
    ring = 4 * (3 + 2) * 4 * 136 * 200
    memory = HostMemory() if room is None else HostMemory(capacity=ring + room)
    with open_stand_in(model_path, memory, scratch=100) as engine:
        out = segment(SegmentOptions(source, tmp_path / "out", confidence=True), engine, sink).out
    shrunk = [note for note in sink.notes if "going on in tiles" in note]
    assert bool(shrunk) == (room is not None)
    check_maps(out, "m", seeing, colours())
