"""Mosaics of another pixel size than the model learned from: in bands as in one piece."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.engines.base import Capacity
from hptl_deploy.errors import MicrographError
from hptl_deploy.model import load_model
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.rescaling.grid import Grid
from hptl_deploy.rescaling.page import PartsPlan
from hptl_deploy.segmentation import SegmentOptions, segment
from hptl_deploy.segmentation.memory import MemoryPlan
from hptl_deploy.segmentation.mosaics import banding
from hptl_deploy.segmentation.mosaics.mosaic import BANDS_FOLDER, Mosaic
from hptl_deploy.segmentation.rescaled import plan_rescaled
from hptl_deploy.tiling import Region
from support.mosaic_runs import colours, save_tiff, whole
from support.threshold_model import write_threshold_model

TRAINED_UM = 0.5
MIB = 2**20


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A model that sees round a pixel, stride 8 and halo 24, trained at `TRAINED_UM`."""
    folder = tmp_path_factory.mktemp("trained")
    path = write_threshold_model(folder, smoothing=2, pixel_size_um=TRAINED_UM)
    with open_engine(load_model(path), "cpu") as opened:
        yield opened


def expected(
    engine: Engine, pixels: NDArray[np.uint8], ratio: Fraction
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(classes, confidence) of one call for the whole page."""
    height, width, _ = pixels.shape
    grid = Grid(height, width, ratio)
    area = Region(0, height, 0, width)
    classes, confidence = whole(engine, grid.resample(pixels))
    return grid.bring_back(classes, 0, area), grid.bring_back(confidence, 0, area)


@pytest.mark.parametrize(
    ("pixel_um", "ratio", "size"),
    [
        (0.25, Fraction(1, 2), (1100, 700)),
        (0.3047, Fraction(39, 64), (1100, 700)),
        (0.3047, Fraction(39, 64), (1025, 513)),
        (0.7, Fraction(7, 5), (1025, 513)),
        (1.5, Fraction(3), (1025, 513)),
    ],
)
def test_maps_and_figures_are_the_whole_pages(
    tmp_path: Path,
    small_limits: None,
    trained: Engine,
    pixel_um: float,
    ratio: Fraction,
    size: tuple[int, int],
) -> None:
    pixels = colours(*size)
    source = save_tiff(tmp_path / "in" / "m.tif", pixels)
    options = SegmentOptions(source, tmp_path / "out", pixel_size_um=pixel_um, confidence=True)
    summary = segment(options, trained)
    assert summary.failures == ()
    classes, confidence = expected(trained, pixels, ratio)
    with tifffile.TiffFile(summary.out / "m_classes.tif") as file:
        assert file.is_bigtiff
        np.testing.assert_array_equal(file.asarray(), classes)
    np.testing.assert_array_equal(tifffile.imread(summary.out / "m_confidence.tif"), confidence)
    with (summary.out / "fields.csv").open(encoding="utf-8", newline="") as handle:
        (row,) = csv.DictReader(handle)
    assert (int(row["height_px"]), int(row["width_px"])) == size
    assert float(row["pixel_size_um"]) == pixel_um
    assert float(row["segmented_pixel_size_um"]) == pytest.approx(pixel_um / float(ratio))
    for index, phase in enumerate(PAPER_PHASES):
        fraction = float(row[f"{phase.key}_area_fraction"])
        assert fraction == pytest.approx((classes == index).mean(), abs=1e-9)


def test_it_goes_on_behind_the_last_band(
    tmp_path: Path, small_limits: None, trained: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = colours(1100, 700)
    source = save_tiff(tmp_path / "in" / "m.tif", pixels)
    options = SegmentOptions(source, tmp_path / "out", pixel_size_um=0.3047, confidence=True)
    put = Mosaic.put
    stored: list[object] = []

    def twice(self: Mosaic, *args: object) -> None:
        if len(stored) == 2:
            raise RuntimeError("the power fails")
        stored.append(args)
        put(self, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Mosaic, "put", twice)
        assert segment(options, trained).failures
    assert list((tmp_path / "out" / BANDS_FOLDER).glob("*/*.json"))
    summary = segment(options, trained)
    assert summary.failures == ()
    classes, _ = expected(trained, pixels, Fraction(39, 64))
    np.testing.assert_array_equal(tifffile.imread(summary.out / "m_classes.tif"), classes)


@pytest.mark.parametrize("ratio", [Fraction(1, 8), Fraction(39, 64), Fraction(41, 39), Fraction(4)])
def test_parts_cover_the_bands_and_need_what_is_planned(ratio: Fraction) -> None:
    capacity = Capacity(stride=32, halo=288, bytes_per_pixel=100)
    memory = MemoryPlan(4096 * MIB, None, 0)
    rescaled = plan_rescaled(memory, (9000, 7000), ratio, capacity, None)
    own, seen = rescaled.own_plan, rescaled.plan
    assert isinstance(seen, PartsPlan)
    assert seen.core is not None
    assert seen.band is not None
    assert own.band is not None
    assert own.band % banding.GRID == 0
    assert rescaled.held <= memory.frames
    most, read = 0, []
    for area, part in zip(own.areas, seen.areas, strict=True):
        top, bottom = rescaled.grid.seen_rows(area.y0, area.y1)
        assert part == rescaled.part(area)
        assert part.y0 % 32 == 0
        assert part.y0 <= top < bottom <= part.y1 <= part.y0 + seen.band
        tiles = list(seen.tiles(part))
        assert {tile.read.height for tile in tiles} <= set(seen.reads[0])
        assert {tile.read.width for tile in tiles} <= set(seen.reads[1])
        assert all(side % 32 == 0 for tile in tiles for side in tile.read.shape)
        covered = np.zeros(seen.height, bool)
        for tile in tiles:
            covered[tile.write.y0 : tile.write.y1] = True
        assert covered[part.y0 : part.y1].all()
        assert covered.sum() == part.height
        rows = rescaled.own_rows(area)
        assert rows.y0 <= area.y0
        assert rows.y1 >= area.y1
        read.append(rows)
        seen_rows = seen.rows_for(part)
        most = max(most, rows.height * 7000 * 12 + seen_rows.height * seen.width * 16)
    assert rescaled.held == most
    assert rescaled.reading[0] == max(rows.height for rows in read)
    assert all(below.y0 >= above.y1 - rescaled.reading[1] for above, below in pairwise(read))
    columns = replace(seen, core=(seen.core[0], seen.padded.width))
    heights = [tile.read.height for part in seen.areas for tile in columns.tiles(part)]
    assert list(seen.reads[0]) == heights


def test_what_the_network_sees_counts_as_memory() -> None:
    """A frame that fits as it is, and does not at four times its size."""
    capacity = Capacity(stride=8, halo=24, bytes_per_pixel=64)
    memory = MemoryPlan(700 * MIB, None, 0)
    assert memory.plan(1500, 2000, capacity, None).band is None
    assert plan_rescaled(memory, (1500, 2000), Fraction(1, 2), capacity, None).plan.band is None
    enlarged = plan_rescaled(memory, (1500, 2000), Fraction(4), capacity, None)
    assert enlarged.plan.band is not None
    assert enlarged.held <= memory.frames
    with pytest.raises(MicrographError) as caught:
        plan_rescaled(MemoryPlan(20 * MIB, None, 0), (1500, 2000), Fraction(4), capacity, None)
    assert str(caught.value) == (
        "rescaled to 8000 x 6000 px: 2000 x 1500 px cannot be cut into bands that fit: 5 MiB are "
        "planned for a band, 15 MiB for inference. Cut the micrograph into parts or use a machine "
        "with more memory, or segment it as it is with --rescale off"
    )
