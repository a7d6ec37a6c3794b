"""Left-out pixels through a whole run: class map, confidence, row, means, settings."""

from __future__ import annotations

import csv
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.left_out.given import LeaveOut
from hptl_deploy.left_out.mask import load_mask
from hptl_deploy.model import load_model
from hptl_deploy.segmentation import RunSummary, SegmentOptions, segment
from hptl_deploy.tiling import Region
from support.czi_samples import Piece, czi
from support.drawings import blobs, save
from support.left_out_pages import with_bar
from support.mosaic_runs import HEIGHT, WIDTH, colours, lower, results, save_tiff, whole
from support.sinks import Recorder
from support.threshold_model import write_threshold_model

TALL, WIDE = 120, 160
OUTER_ROWS = "scale bars looked for in the top and bottom 275 rows alone"
"""Of a mosaic of 1100 rows."""


def rows(summary: RunSummary) -> list[dict[str, str]]:
    with (summary.out / "fields.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def reference(
    engine: Engine, pixels: NDArray[np.uint8], left_out: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Both maps of one call for the whole page, without what is left out."""
    classes, confidence = (part.copy() for part in whole(engine, pixels))
    classes[left_out], confidence[left_out] = 255, 0
    return classes, confidence


def check(
    summary: RunSummary, engine: Engine, pixels: NDArray[np.uint8], left_out: NDArray[np.bool_]
) -> dict[str, str]:
    """Maps and row of the one micrograph `m` are those of the reference; the row."""
    classes, confidence = reference(engine, pixels, left_out)
    np.testing.assert_array_equal(tifffile.imread(summary.out / "m_classes.tif"), classes)
    np.testing.assert_array_equal(tifffile.imread(summary.out / "m_confidence.tif"), confidence)
    (row,) = rows(summary)
    counted = classes != 255
    assert row["left_out_px"] == str((~counted).sum())
    for index, key in enumerate(("al", "mg2si", "fe")):
        fraction = (classes[counted] == index).mean()
        assert float(row[f"{key}_area_fraction"]) == pytest.approx(fraction, abs=1e-9)
        assert summary.area_fractions[key] == pytest.approx(fraction)
    sure = confidence[counted].mean() / 255
    assert float(row["mean_confidence"]) == pytest.approx(sure, abs=1e-9)
    return row


def saved_mask(path: Path, left_out: NDArray[np.bool_]) -> LeaveOut:
    Image.fromarray(left_out).save(path)
    regions = (Region(10, 30, 20, 60), Region(0, 5, 150, 900))
    return LeaveOut(crop_bottom=7, ignore=regions, mask=load_mask(path))


def everything(height: int, width: int, masked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What `saved_mask` leaves out."""
    left_out = masked.copy()
    left_out[height - 7 :] = left_out[10:30, 20:60] = left_out[:5, 150:] = True
    return left_out


def test_given_regions_and_a_mask(tmp_path: Path, engine: Engine) -> None:
    pixels = np.repeat(blobs(TALL, WIDE, seed=3)[..., None], 3, -1)
    save(tmp_path / "in" / "m.png", pixels)
    masked = np.random.default_rng(2).random((TALL, WIDE)) < 0.2
    given = saved_mask(tmp_path / "mask.png", masked)
    summary = segment(SegmentOptions(tmp_path / "in", confidence=True, leave_out=given), engine)
    row = check(summary, engine, pixels, everything(TALL, WIDE, masked))
    assert row["left_out"] == (
        "bottom 7 rows; region 40 x 20 px at (20, 10); region 10 x 5 px at (150, 0); mask mask.png"
    )
    assert summary.left_out == 1


@pytest.fixture
def printed(tmp_path: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """`in/m.png`, with a scale bar."""
    noise = np.random.default_rng(1).normal(150, 4, (300, 400, 1)).clip(0, 255).astype(np.uint8)
    pixels, covered = with_bar(np.repeat(noise, 3, -1))
    save(tmp_path / "in" / "m.png", pixels)
    return pixels, covered


def test_a_scale_bar_is_found(
    tmp_path: Path, engine: Engine, printed: tuple[NDArray[np.uint8], NDArray[np.bool_]]
) -> None:
    pixels, covered = printed
    summary = segment(SegmentOptions(tmp_path / "in", confidence=True), engine)
    left_out = tifffile.imread(summary.out / "m_classes.tif") == 255
    assert left_out[covered].all()
    down, across = (np.flatnonzero(covered.any(axis)) for axis in (1, 0))
    block = Region(int(down[0]), int(down[-1]) + 1, int(across[0]), int(across[-1]) + 1)
    assert left_out.sum() <= (block.height + 20) * (block.width + 20)
    row = check(summary, engine, pixels, left_out)
    x, y = np.flatnonzero(left_out.any(0))[0], np.flatnonzero(left_out.any(1))[0]
    wide, tall = left_out.any(0).sum(), left_out.any(1).sum()
    assert row["left_out"] == f"scale bar {wide} x {tall} px at ({x}, {y})"


def test_a_scale_bar_is_kept(
    tmp_path: Path, engine: Engine, printed: tuple[NDArray[np.uint8], NDArray[np.bool_]]
) -> None:
    given = LeaveOut(scale_bar="keep")
    summary = segment(SegmentOptions(tmp_path / "in", confidence=True, leave_out=given), engine)
    row = check(summary, engine, printed[0], np.zeros((300, 400), bool))
    assert (row["left_out"], row["left_out_px"], summary.left_out) == ("", "0", 0)


def test_tiles_leave_out_what_the_whole_does(
    tmp_path: Path, seeing: Engine, printed: tuple[NDArray[np.uint8], NDArray[np.bool_]]
) -> None:
    options = SegmentOptions(tmp_path / "in", tmp_path / "whole", confidence=True)
    whole_page = results(segment(options, seeing).out)
    tiled = replace(options, out=tmp_path / "tiled", tile=64)
    assert results(segment(tiled, seeing).out) == whole_page


def test_a_field_of_which_nothing_is_left_is_blank(tmp_path: Path, engine: Engine) -> None:
    pixels = np.repeat(blobs(TALL, WIDE, seed=3)[..., None], 3, -1)
    save(tmp_path / "in" / "a.png", pixels[:50])
    save(tmp_path / "in" / "b.png", pixels)
    summary = segment(SegmentOptions(tmp_path / "in", leave_out=LeaveOut(crop_bottom=60)), engine)
    blank, other = rows(summary)
    assert blank["left_out"] == "bottom 50 rows"
    assert blank["left_out_px"] == str(50 * WIDE)
    for column in ("al_area_fraction", "fe_area_fraction", "fe_particles", "mean_confidence"):
        assert blank[column] == ""
        assert other[column] != ""
    # The mean is that of the field that has a value.
    assert summary.area_fractions["fe"] == pytest.approx(float(other["fe_area_fraction"]))


def test_nothing_but_blank_fields_has_no_mean(tmp_path: Path, engine: Engine) -> None:
    save(tmp_path / "in" / "a.png", blobs(TALL, WIDE, seed=3))
    summary = segment(SegmentOptions(tmp_path / "in", leave_out=LeaveOut(crop_bottom=999)), engine)
    assert (summary.area_fractions, summary.exit_code) == ({}, 0)


def test_a_mask_of_another_size_fails_its_micrograph_alone(tmp_path: Path, engine: Engine) -> None:
    save(tmp_path / "in" / "a.png", blobs(TALL, WIDE, seed=3))
    save(tmp_path / "in" / "m.png", blobs(TALL + 1, WIDE, seed=3))
    given = saved_mask(tmp_path / "mask.png", np.eye(TALL, WIDE, dtype=bool))
    summary = segment(SegmentOptions(tmp_path / "in", leave_out=given), engine)
    (failure,) = summary.failures
    assert vars(failure) == {
        "file": "m.png",
        "stage": "read",
        "reason": "is 160 x 121 px, but the mask mask.png (--ignore-mask) is 160 x 120 px; they "
        "must be the same",
    }
    assert [row["file"] for row in rows(summary)] == ["a.png"]


def test_a_mosaic_leaves_out_the_same_band_by_band(
    tmp_path: Path, small_limits: None, seeing: Engine
) -> None:
    pixels = colours()
    source = save_tiff(tmp_path / "in" / "m.tif", pixels)
    masked = np.random.default_rng(2).random((HEIGHT, WIDTH)) < 0.2
    masked[300:800, 100:200] = True  # over several bands
    given = saved_mask(tmp_path / "mask.png", masked)
    options = SegmentOptions(source, tmp_path / "out", confidence=True, leave_out=given)
    row = check(segment(options, seeing), seeing, pixels, everything(HEIGHT, WIDTH, masked))
    assert row["left_out"].endswith(f"; region 550 x 5 px at (150, 0); mask mask.png; {OUTER_ROWS}")


def page_with_two_bars() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The size of `colours`; one at the bottom, one across the end of the first band of 256 rows.

    And what is printed.
    """
    levels = np.random.default_rng(1).normal(150, 4, (HEIGHT, WIDTH, 1))
    pixels = np.repeat(levels.clip(0, 255).astype(np.uint8), 3, -1)
    pixels, below = with_bar(pixels)
    pixels, above = with_bar(pixels, 283)
    return pixels, below | above


def test_a_mosaic_leaves_out_scale_bars_in_all_bands(
    tmp_path: Path, seeing: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the page that is held whole does."""
    pixels, ink = page_with_two_bars()
    source = save_tiff(tmp_path / "in" / "m.tif", pixels)
    options = SegmentOptions(source, tmp_path / "whole", confidence=True)
    plain = segment(options, seeing)
    left_out = tifffile.imread(plain.out / "m_classes.tif") == 255
    assert left_out[ink].all()
    assert left_out[200:256].any()
    assert left_out[256:300].any()
    lower(monkeypatch.setattr)
    summary = segment(replace(options, out=tmp_path / "bands"), seeing)
    with tifffile.TiffFile(summary.out / "m_classes.tif") as file:
        assert file.is_bigtiff  # it was cut into bands
    row = check(summary, seeing, pixels, left_out)
    assert row["left_out"] == f"{rows(plain)[0]['left_out']}; {OUTER_ROWS}"
    assert row["left_out"].count("scale bar ") == 2


def test_a_mosaic_whose_scale_bars_are_kept(
    tmp_path: Path, small_limits: None, seeing: Engine
) -> None:
    pixels, _ = page_with_two_bars()
    source = save_tiff(tmp_path / "in" / "m.tif", pixels)
    given = LeaveOut(scale_bar="keep")
    options = SegmentOptions(source, tmp_path / "out", confidence=True, leave_out=given)
    row = check(segment(options, seeing), seeing, pixels, np.zeros((HEIGHT, WIDTH), bool))
    assert row["left_out"] == ""


@pytest.mark.parametrize("bands", [1, 4])
def test_an_interrupted_mosaic_leaves_out_the_same_scale_bars(
    tmp_path: Path, one_by_one: None, seeing: Engine, bands: int
) -> None:
    source = save_tiff(tmp_path / "in" / "m.tif", page_with_two_bars()[0])
    unbroken = SegmentOptions(source, tmp_path / "unbroken", confidence=True)
    broken, stop = replace(unbroken, out=tmp_path / "broken"), threading.Event()

    def advanced(_: str) -> None:
        if len(sink.advanced) == bands:
            stop.set()

    sink = Recorder(advanced)
    assert segment(broken, seeing, sink, stop).state == "interrupted"
    assert results(segment(broken, seeing).out) == results(segment(unbroken, seeing).out)
    assert (tifffile.imread(tmp_path / "broken" / "m_classes.tif") == 255).any()


def test_an_interrupted_mosaic_goes_on_to_the_same(
    tmp_path: Path, one_by_one: None, seeing: Engine
) -> None:
    source = save_tiff(tmp_path / "in" / "m.tif", colours())
    given = saved_mask(tmp_path / "mask.png", np.eye(HEIGHT, WIDTH, dtype=bool))
    unbroken = SegmentOptions(source, tmp_path / "unbroken", confidence=True, leave_out=given)
    broken = replace(unbroken, out=tmp_path / "broken")
    stop = threading.Event()
    first = segment(broken, seeing, Recorder(lambda _: stop.set()), stop)
    assert first.state == "interrupted"
    assert results(segment(broken, seeing).out) == results(segment(unbroken, seeing).out)


def stepped_czi(folder: Path, tall: int, wide: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """`folder/m.czi` of two tiles, one lower and to the right: its page, and where they are."""
    tile = np.repeat(blobs(tall, wide, seed=5)[..., None], 3, -1)
    down, across = tall // 2 + 6, wide - 4
    folder.mkdir()
    czi(Piece(tile, (-500, 70)), Piece(tile, (across - 500, down + 70)))(folder / "m.czi")
    pixels = np.zeros((tall + down, wide + across, 3), np.uint8)
    covered = np.zeros(pixels.shape[:2], bool)
    for top, left in ((0, 0), (down, across)):
        pixels[top : top + tall, left : left + wide] = tile
        covered[top : top + tall, left : left + wide] = True
    return pixels, covered


def test_gaps_of_a_czi_are_left_out(tmp_path: Path, seeing: Engine) -> None:
    pytest.importorskip("pylibCZIrw")
    pixels, covered = stepped_czi(tmp_path / "in", 48, 64)
    summary = segment(SegmentOptions(tmp_path / "in", confidence=True), seeing)
    row = check(summary, seeing, pixels, ~covered)
    assert row["left_out"] == f"gaps between tiles {(~covered).sum()} px"


def test_gaps_of_a_mosaic_are_left_out_band_by_band(
    tmp_path: Path, small_limits: None, seeing: Engine
) -> None:
    pytest.importorskip("pylibCZIrw")
    pixels, covered = stepped_czi(tmp_path / "in", 520, 400)
    summary = segment(SegmentOptions(tmp_path / "in", confidence=True), seeing)
    with tifffile.TiffFile(summary.out / "m_classes.tif") as file:
        assert file.is_bigtiff  # it was cut into bands
    row = check(summary, seeing, pixels, ~covered)
    gaps = f"gaps between tiles {(~covered).sum()} px"
    assert row["left_out"] == f"{gaps}; {OUTER_ROWS.replace('275', '196')}"


def settings_of(given: LeaveOut) -> Any:
    return SegmentOptions(Path("in"), leave_out=given).settings_sha256()


def test_other_regions_are_other_settings(tmp_path: Path) -> None:
    masked = np.eye(TALL, WIDE, dtype=bool)
    given = saved_mask(tmp_path / "mask.png", masked)
    others = [
        LeaveOut(),
        LeaveOut(scale_bar="keep"),
        replace(given, crop_bottom=8),
        replace(given, ignore=given.ignore[:1]),
        saved_mask(tmp_path / "mask.png", masked[:, ::-1]),
    ]
    assert len({settings_of(one) for one in (given, *others)}) == 6
    # The same pixels in another file are the same.
    assert settings_of(saved_mask(tmp_path / "other.bmp", masked)) == settings_of(given)


def test_what_is_done_is_skipped_and_other_regions_are_done_again(
    tmp_path: Path, engine: Engine
) -> None:
    save(tmp_path / "in" / "m.png", blobs(TALL, WIDE, seed=3))
    options = SegmentOptions(tmp_path / "in", leave_out=LeaveOut(crop_bottom=5))
    segment(options, engine)
    again = segment(options, engine)
    assert (again.counts["done"], again.counts["skipped"]) == (0, 1)
    assert rows(again)[0]["left_out"] == "bottom 5 rows"
    other = segment(replace(options, leave_out=LeaveOut(crop_bottom=6)), engine)
    assert (other.counts["done"], rows(other)[0]["left_out"]) == (1, "bottom 6 rows")


def test_regions_are_in_the_micrographs_own_pixels_when_the_network_sees_others(
    tmp_path: Path,
) -> None:
    model = load_model(write_threshold_model(tmp_path / "models", pixel_size_um=0.1))
    save(tmp_path / "in" / "m.png", blobs(TALL, WIDE, seed=3))
    masked = np.zeros((TALL, WIDE), bool)
    masked[33:36, 41] = True
    given = saved_mask(tmp_path / "mask.png", masked)
    options = SegmentOptions(tmp_path / "in", pixel_size_um=0.25, leave_out=given)
    with open_engine(model, "cpu") as engine:
        summary = segment(options, engine)
        plain = segment(replace(options, out=tmp_path / "plain", leave_out=LeaveOut()), engine)
    (row,) = rows(summary)
    assert float(row["segmented_pixel_size_um"]) == pytest.approx(0.1, rel=0.01)
    expected = tifffile.imread(plain.out / "m_classes.tif")
    expected[everything(TALL, WIDE, masked)] = 255
    np.testing.assert_array_equal(tifffile.imread(summary.out / "m_classes.tif"), expected)
