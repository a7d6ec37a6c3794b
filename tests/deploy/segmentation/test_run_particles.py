"""Particles of a whole run joined, against particles counted by scipy in the class maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pytest
import tifffile
from pyarrow import parquet
from scipy import ndimage

from hptl_deploy.csv_text import read_table
from hptl_deploy.engines import Engine
from hptl_deploy.errors import ResultsError
from hptl_deploy.segmentation import SegmentOptions, segment
from hptl_deploy.segmentation.shards.merging import merge
from hptl_deploy.statistics.joined import JoinedTables
from hptl_deploy.statistics.table_options import TableOptions
from support.drawings import blobs, rectangles, save
from support.shards import content, run_shards

SIZE = 0.5


@pytest.fixture
def specimens(tmp_path: Path) -> Path:
    source = tmp_path / "in"
    for seed, name in enumerate(["A/a", "A/b", "B/a"]):
        save(source / f"{name}.png", blobs(180, 240, seed=seed))
    save(source / "B" / "none.png", rectangles(40, 50, grey=(0, 0, 0, 0), dark=(0, 0, 0, 0)))
    return source


def uncut_areas(out: Path, folder: str, index: int) -> list[int]:
    """Pixels of every 8-connected piece of a class that no border touches."""
    found: list[int] = []
    for path in sorted((out / folder).glob("*_classes.tif")):
        pieces, count = ndimage.label(tifffile.imread(path) == index, np.ones((3, 3)))
        areas = ndimage.sum_labels(pieces > 0, pieces, range(1, count + 1))
        rim = {*pieces[0], *pieces[-1], *pieces[:, 0], *pieces[:, -1]}
        found += [int(area) for number, area in enumerate(areas, 1) if number not in rim]
    return found


def test_sizes_are_those_of_the_pieces_in_the_class_maps(specimens: Path, engine: Engine) -> None:
    out = segment(SegmentOptions(specimens, pixel_size_um=SIZE), engine).out
    lines = {(x["group"], x["phase"]): x for x in read_table(out / "particle_statistics.csv")}
    assert list(lines) == [(group, key) for group in ("(all)", "A", "B") for key in ("mg2si", "fe")]
    for folder in "A", "B":
        for index, key in ((1, "mg2si"), (2, "fe")):
            areas = np.array(uncut_areas(out, folder, index)) * SIZE**2
            line, diameters = lines[folder, key], np.sqrt(4 * areas / np.pi)
            assert int(line["measured"]) == areas.size > 1
            assert float(line["mean_diameter"]) == pytest.approx(diameters.mean())
            assert float(line["s_diameter"]) == pytest.approx(diameters.std(ddof=1))
            for weights, name in ((None, "number"), (areas, "area")):
                wanted = np.quantile(
                    diameters, [0.1, 0.5, 0.9], weights=weights, method="inverted_cdf"
                )
                found = [float(line[f"d{share}_by_{name}"]) for share in (10, 50, 90)]
                assert found == pytest.approx(wanted)
            classes = [x for x in read_table(out / "sizes.csv")
                       if (x["group"], x["phase"]) == (folder, key)]  # fmt: skip
            assert sum(int(x["particles"]) for x in classes) == areas.size
            assert sum(float(x["area"]) for x in classes) == pytest.approx(areas.sum())


def test_particles_of_all_pages_are_one_table(specimens: Path, engine: Engine) -> None:
    options = SegmentOptions(specimens, pixel_size_um=SIZE, tables=TableOptions(decimal_comma=True))
    out = segment(options, engine).out
    pages = [parquet.read_table(out / row["particles_file"]) for row in
             read_table(out / "fields.csv")]  # fmt: skip
    whole = parquet.read_table(out / "particles.parquet")
    assert whole.to_pylist() == [row for page in pages for row in page.to_pylist()]
    assert len(pages) == 4
    text = pyarrow.csv.read_csv(
        out / "particles.csv",
        parse_options=pyarrow.csv.ParseOptions(delimiter=";"),
        convert_options=pyarrow.csv.ConvertOptions(decimal_point=","),
    )
    assert text.column_names == whole.column_names
    for name in ("file", "particle", "phase", "area_px", "touches_border", "holes"):
        assert text[name].to_pylist() == whole[name].to_pylist()
    for name in ("x_px", "area_um2", "circularity", "aspect_ratio", "max_feret_um"):
        shown, exact = (np.array(t[name].to_pylist(), float) for t in (text, whole))
        np.testing.assert_allclose(shown, exact, rtol=1e-7, atol=1e-6, equal_nan=True)


def test_numbers_and_free_paths_are_means_of_the_fields(specimens: Path, engine: Engine) -> None:
    out = segment(SegmentOptions(specimens, pixel_size_um=SIZE), engine).out
    fields = read_table(out / "fields.csv")
    for quantity, column in (
        ("number_per_mm2", "fe_number_per_mm2"), ("mean_free_path", "fe_mean_free_path_um"),
    ):  # fmt: skip
        values = [float(row[column]) for row in fields if row[column]]
        (line,) = (
            x for x in read_table(out / "statistics.csv")
            if (x["group"], x["phase"], x["quantity"]) == ("(all)", "fe", quantity)
        )  # fmt: skip
        assert float(line["mean"]) == pytest.approx(np.mean(values))
        assert int(line["n_fields"]) == len(values)
    assert sum(row["fe_mean_free_path_um"] == "" for row in fields) == 1


def test_without_a_pixel_size_sizes_are_in_px(specimens: Path, engine: Engine) -> None:
    out = segment(SegmentOptions(specimens), engine).out
    assert {x["unit"] for x in read_table(out / "sizes.csv")} == {"px"}
    assert {x["quantity"] for x in read_table(out / "statistics.csv")} == {"area_fraction"}


def test_merged_shards_join_what_one_run_joins(specimens: Path, engine: Engine) -> None:
    out = run_shards(specimens, engine, 3, pixel_size_um=SIZE)
    merge(out)
    apart = SegmentOptions(specimens, specimens.parent / "whole", pixel_size_um=SIZE)
    whole = segment(apart, engine)
    assert (out / "particles.parquet").is_file()
    assert content(out) == content(whole.out)


def test_a_mosaic_is_its_fields(
    tmp_path: Path, engine: Engine, small_limits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, length in (("FIELD_WIDTH", 400), ("FIELD_HEIGHT", 300)):
        monkeypatch.setattr(f"hptl_deploy.measurement.particle_fields.{name}", length)
    pixels = blobs(900, 1200, seed=3)
    tifffile.imwrite(save(tmp_path / "in" / "m.tif", pixels), pixels, tile=(64, 64))
    summary = segment(SegmentOptions(tmp_path / "in", pixel_size_um=SIZE), engine)
    classes = tifffile.imread(summary.out / "m_classes.tif")
    values = [
        float((classes[y : y + 300, x : x + 400] == 2).mean())
        for y in range(0, 900, 300) for x in range(0, 1200, 400)
    ]  # fmt: skip
    (line,) = (x for x in summary.findings.area_fractions() if x.phase.key == "fe")
    assert line.estimate.n == 9
    assert line.estimate.mean == pytest.approx(np.mean(values))
    assert line.estimate.s == pytest.approx(np.std(values, ddof=1))
    assert summary.findings.notes == ("1 mosaic divided into 9 fields",)


def test_a_particle_table_that_has_gone_is_named_and_made_again(
    specimens: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = SegmentOptions(specimens, pixel_size_um=SIZE)
    out = segment(options, engine).out
    whole = content(out)
    gone = out / "A" / "b_particles.parquet"
    write = JoinedTables.write

    def without(self: JoinedTables, *args: Any) -> Any:
        gone.unlink()
        return write(self, *args)

    monkeypatch.setattr(JoinedTables, "write", without)
    with pytest.raises(ResultsError) as caught:
        segment(options, engine)
    assert str(caught.value).startswith(f"{gone}: the particle table is missing. Delete it")
    monkeypatch.undo()
    again = segment(options, engine)
    assert again.counts["done"] == 1
    assert content(out) == whole
