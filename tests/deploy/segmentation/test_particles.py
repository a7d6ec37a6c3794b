"""Tables of particles in a results folder: what is in them, in the row, and when there is none."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
from numpy.typing import NDArray

from hptl_deploy.cli.main import run as command_line
from hptl_deploy.engines import Engine
from hptl_deploy.measurement.particle_fields import field_figures
from hptl_deploy.measurement.particle_table import write_particles
from hptl_deploy.measurement.particles import measure_particles
from hptl_deploy.measurement.runs import label_image, runs_of
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.segmentation import SegmentOptions, segment
from hptl_deploy.segmentation.classmap import write_class_map
from hptl_deploy.segmentation.ledger import LEDGER_FILE, read_entries
from hptl_deploy.segmentation.overlay import write_overlay
from hptl_deploy.synthesis.frame import make_frame
from support.drawings import DARK, GREY, MATRIX, blobs, folder_of, save
from support.mosaic_runs import HEIGHT, LIMITS, WIDTH, colours, save_tiff
from support.particles import measured
from support.sinks import Recorder

SIZE_UM = 0.5


def scene() -> NDArray[np.uint8]:
    """Levels [240, 320]: 3 grey squares, of which the border cuts one; a dark one."""
    pixels = np.full((240, 320), MATRIX, np.uint8)
    pixels[0:30, 40:80] = GREY
    pixels[100:120, 100:140] = GREY
    pixels[200:210, 200:260] = GREY
    pixels[60:90, 200:220] = DARK
    return pixels


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "fields.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_table_and_the_row(tmp_path: Path, engine: Engine) -> None:
    save(tmp_path / "in" / "sub" / "a.png", scene())
    out = segment(SegmentOptions(tmp_path / "in", pixel_size_um=SIZE_UM), engine).out
    (row,) = rows_of(out)
    assert row["particles_file"] == "sub/a_particles.parquet"
    mm2 = 240 * 320 * (SIZE_UM / 1000) ** 2
    assert row["mg2si_particles"] == "3"
    assert float(row["mg2si_number_per_mm2"]) == pytest.approx(2.5 / mm2)
    assert row["fe_particles"] == "1"
    # 30 rows and 20 columns meet the dark square once each.
    path = (1 - 600 / 76800) / (50 / (2 * 76800)) * SIZE_UM
    assert float(row["fe_mean_free_path_um"]) == pytest.approx(path)
    table = pq.read_table(out / row["particles_file"])
    top, dark, middle, low = table.to_pylist()
    assert [one["phase"] for one in (top, dark, middle, low)] == ["mg2si", "fe", "mg2si", "mg2si"]
    assert top["touches_border"]
    assert top["max_feret_um"] is None
    assert middle["file"] == "sub/a.png"
    assert middle["min_feret_um"] == pytest.approx(20 * SIZE_UM)
    assert low["aspect_ratio"] == pytest.approx(6)
    # The model is surest where it is dark: 255 - level / 2.
    assert dark["mean_confidence"] == pytest.approx((255 - DARK / 2) / 255)
    assert middle["nearest_neighbour_um"] == pytest.approx(SIZE_UM * np.hypot(60, 95))
    assert dark["model_sha256"] == engine.model.sha256[:12]
    (entry,) = read_entries(out)
    assert entry.outputs[row["particles_file"]] == (out / row["particles_file"]).stat().st_size


def test_columns_of_fields_csv(tmp_path: Path, engine: Engine) -> None:
    save(tmp_path / "in" / "a.png", scene())
    header = list(rows_of(segment(SegmentOptions(tmp_path / "in"), engine).out)[0])
    first = header.index("fe_area_fraction") + 1
    assert header[first : first + 6] == [
        "mg2si_particles",
        "mg2si_number_per_mm2",
        "mg2si_mean_free_path_um",
        "fe_particles",
        "fe_number_per_mm2",
        "fe_mean_free_path_um",
    ]
    assert header[header.index("classes_file") + 1] == "particles_file"


def test_particles_are_numbered_as_in_the_label_image(tmp_path: Path, engine: Engine) -> None:
    save(tmp_path / "in" / "a.png", blobs(200, 300, seed=4))
    out = segment(SegmentOptions(tmp_path / "in"), engine).out
    classes = tifffile.imread(out / "a_classes.tif")
    labels = label_image(runs_of(classes, 3), classes.shape)
    table = pq.read_table(out / "a_particles.parquet")
    areas = np.bincount(labels.ravel())[1:]
    assert table["particle"].to_pylist() == list(range(1, len(areas) + 1))
    assert table["area_px"].to_pylist() == areas.tolist()
    assert not table["area_um2"].drop_null()  # the pixel size is not known
    (row,) = rows_of(out)
    assert int(row["mg2si_particles"]) + int(row["fe_particles"]) == len(areas)
    assert row["mg2si_number_per_mm2"] == row["fe_mean_free_path_um"] == ""


def test_without_particles(tmp_path: Path, engine: Engine) -> None:
    save(tmp_path / "in" / "a.png", scene())
    options = SegmentOptions(tmp_path / "in", pixel_size_um=SIZE_UM)
    out = segment(options, engine).out
    assert (out / "a_particles.parquet").exists()
    summary = segment(replace(options, particles=False), engine)
    assert summary.counts["done"] == 1  # another setting
    (row,) = rows_of(out)
    assert row["particles_file"] == row["mg2si_particles"] == row["fe_mean_free_path_um"] == ""
    assert not (out / "a_particles.parquet").exists()  # swept


def test_no_particles_on_the_command_line(tmp_path: Path, model_path: Path) -> None:
    save(tmp_path / "in" / "a.png", scene())
    words = ["segment", str(tmp_path / "in"), "--model", str(model_path), "--device", "cpu"]
    assert command_line([*words, "--no-particles"]) == 0
    assert not list((tmp_path / "in-segmented").glob("*.parquet"))
    assert command_line(words) == 0
    assert (tmp_path / "in-segmented" / "a_particles.parquet").exists()


def test_a_map_that_is_noise_has_no_particles(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hptl_deploy.measurement.particles.most_runs", lambda pixels: pixels // 16)
    noise = np.random.default_rng(0).choice(np.array([MATRIX, GREY, DARK], np.uint8), (64, 96))
    save(tmp_path / "in" / "a.png", noise)
    save(tmp_path / "in" / "b.png", scene())
    out = segment(SegmentOptions(tmp_path / "in", pixel_size_um=SIZE_UM), engine).out
    noisy, plain = rows_of(out)
    assert noisy["particles_file"] == noisy["fe_particles"] == noisy["fe_number_per_mm2"] == ""
    assert float(noisy["fe_area_fraction"]) > 0.2
    assert plain["particles_file"] == "b_particles.parquet"
    assert "too many particles to be any" in noisy["flags"].split("; ")
    assert "too many" not in plain["flags"]
    notes = [row["particles_note"] for row in _ledger_rows(out)]
    assert sorted(notes, key=bool) == [None, "too many particles to be any"]
    assert not (out / "a_particles.parquet").exists()


def test_what_fails_leaves_no_table(tmp_path: Path, engine: Engine) -> None:
    pages = [scene(), scene()]
    tifffile.imwrite(tmp_path / "s.tif", np.stack(pages), photometric="minisblack")
    content = (tmp_path / "s.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "s.tif") as file:
        second = file.pages[1].dataoffsets[0]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "s.tif").write_bytes(content[: second + 100])
    out = segment(SegmentOptions(tmp_path / "in"), engine).out
    assert not list(out.glob("s_*"))


def test_a_table_that_was_damaged_is_made_again(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 2)
    out = segment(SegmentOptions(source), engine).out
    path = out / "m01_particles.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    summary = segment(SegmentOptions(source), engine)
    assert (summary.counts["done"], summary.counts["skipped"]) == (1, 1)
    assert path.read_bytes() == content


def both_ways(tmp_path: Path, seeing: Engine, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Results of one page as a mosaic in bands, and whole."""
    source = save_tiff(tmp_path / "in" / "m.tif", colours())
    found = segment(SegmentOptions(source, tmp_path / "w", pixel_size_um=SIZE_UM), seeing).out
    for name, value in LIMITS.items():
        monkeypatch.setattr(f"hptl_deploy.segmentation.{name}", value)
    sink = Recorder()
    bands = segment(SegmentOptions(source, tmp_path / "b", pixel_size_um=SIZE_UM), seeing, sink).out
    assert len(sink.advanced) > 2  # not whole
    return bands, found


def test_a_mosaic_has_the_table_of_the_whole_page(
    tmp_path: Path, seeing: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    bands, whole = both_ways(tmp_path, seeing, monkeypatch)
    table = pq.read_table(whole / "m_particles.parquet")
    assert len(table) > 100
    assert with_value(table, "solidity") > 10
    name = "m_particles.parquet"
    assert (bands / name).read_bytes() == (whole / name).read_bytes()
    # Focus, light and scale bars need all of a page's pixels at once.
    blank = dict.fromkeys(("flags", "focus", "illumination_range", "left_out"), "")
    assert [row | blank for row in rows_of(bands)] == [row | blank for row in rows_of(whole)]


def with_value(table: pa.Table, name: str) -> int:
    """How many have a value."""
    return len(table) - int(table[name].null_count)


def test_fields_of_a_mosaic_are_in_the_ledger_alone(
    tmp_path: Path, seeing: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for side in ("WIDTH", "HEIGHT"):
        monkeypatch.setattr(f"hptl_deploy.measurement.particle_fields.FIELD_{side}", 350)
    bands, whole = both_ways(tmp_path, seeing, monkeypatch)
    (row,) = _ledger_rows(bands)
    assert "mosaic_fields" not in _ledger_rows(whole)[0]
    assert "mosaic_fields" not in rows_of(bands)[0]
    found = row["mosaic_fields"]
    assert len(found) == 3 * 2
    classes = tifffile.imread(bands / "m_classes.tif")
    particles = measured(classes)
    for field in found:
        x, y = field["x_px"], field["y_px"]
        part = classes[y : y + field["height_px"], x : x + field["width_px"]]
        assert field["fe_area_fraction"] == pytest.approx((part == 2).mean())
        assert field["al_area_fraction"] == pytest.approx((part == 0).mean())
        there = (particles.phase == 2) & (particles.x >= x) & (particles.x < x + part.shape[1])
        there &= (particles.y >= y) & (particles.y < y + part.shape[0])
        assert field["fe_particles"] == there.sum()
        alone = field_figures(measured(part), part.size, PAPER_PHASES, SIZE_UM)
        name = "fe_mean_free_path_um"
        assert field[name] == alone[name] is not None
    total = sum(field["fe_particles"] for field in found)
    assert total == int(rows_of(bands)[0]["fe_particles"])
    assert sum(field["width_px"] * field["height_px"] for field in found) == HEIGHT * WIDTH
    paths = [field["fe_mean_free_path_um"] for field in found]
    with (bands / "statistics.csv").open(encoding="utf-8", newline="") as file:
        (line,) = (
            one for one in csv.DictReader(file)
            if (one["phase"], one["quantity"]) == ("fe", "mean_free_path")
        )  # fmt: skip
    assert line["n_fields"] == "6"
    assert float(line["mean"]) == pytest.approx(np.mean(paths))
    assert float(line["s"]) == pytest.approx(np.std(paths, ddof=1))


def _ledger_rows(out: Path) -> list[dict[str, Any]]:
    lines = (out / LEDGER_FILE).read_text(encoding="utf-8").splitlines()
    return [row for line in lines for row in json.loads(line)["rows"]]


def test_a_mosaic_that_is_noise_has_fields_without_particles(
    tmp_path: Path, seeing: Engine, monkeypatch: pytest.MonkeyPatch, small_limits: None
) -> None:
    monkeypatch.setattr("hptl_deploy.segmentation.mosaics.measured.most_runs", lambda _: 900)
    source = save_tiff(tmp_path / "in" / "m.tif", colours())
    out = segment(SegmentOptions(source, tmp_path / "out"), seeing).out
    (row,) = _ledger_rows(out)
    assert row["particles_file"] is row["fe_particles"] is None
    (field,) = row["mosaic_fields"]
    assert field["fe_particles"] is field["fe_mean_free_path_um"] is None
    assert field["fe_area_fraction"] == row["fe_area_fraction"]
    assert not (out / "m_particles.parquet").exists()


def test_results_take_a_fifth_of_the_frame_at_most(tmp_path: Path) -> None:
    """On a synthetic frame, whose grain and particles compress as a micrograph's do."""
    frame = make_frame(2026, 0, 960, 1280)
    pixels, classes = frame.pixels(), frame.labels
    found = measure_particles(classes, np.full_like(classes, 230))
    about: dict[str, Any] = {
        "model": "m", "model_sha256": "0" * 64, "precision": "fp32", "pixel_size_um": 0.1,
        "software": "hptl-deploy", "phases": [phase.to_json() for phase in PAPER_PHASES],
    }  # fmt: skip
    assert found is not None
    write_class_map(tmp_path / "a.tif", classes, PAPER_PHASES, about)
    write_overlay(tmp_path / "a.jpg", pixels, classes, PAPER_PHASES, "jpg", about)
    write_particles(
        tmp_path / "a.parquet", found.particles,
        file="a.tif", page=1, phases=PAPER_PHASES, about=about,
    )  # fmt: skip
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= pixels.nbytes / 5
