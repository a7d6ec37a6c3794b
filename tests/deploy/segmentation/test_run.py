from __future__ import annotations

import csv
import json
import re
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.errors import InputError, ResultsError, UsageError
from hptl_deploy.files import TEMPORARY_SUFFIX
from hptl_deploy.model import load_model
from hptl_deploy.segmentation import RunSummary, SegmentOptions, segment
from hptl_deploy.segmentation.ledger import LEDGER_FILE
from support.drawings import blobs, folder_of, rectangles, save
from support.sinks import Recorder
from support.threshold_model import write_threshold_model


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def fields(summary: RunSummary) -> list[dict[str, str]]:
    return table(summary.out / "fields.csv")


def failures(summary: RunSummary) -> list[dict[str, str]]:
    return table(summary.out / "failures.csv")


def run_json(summary: RunSummary) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((summary.out / "run.json").read_text(encoding="utf-8"))
    return document


def maps(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*_classes.tif")
    }


def test_area_fractions_of_drawn_shapes(tmp_path: Path, engine: Engine) -> None:
    # 613 x 407 is no multiple of the stride: the filled-up pixels must not count.
    pixels = rectangles(407, 613, grey=(10, 60, 20, 220), dark=(300, 407, 500, 613))
    save(tmp_path / "in" / "a.png", pixels)
    summary = segment(SegmentOptions(tmp_path / "in"), engine)
    area = 407 * 613
    mg2si, fe = 50 * 200 / area, 107 * 113 / area
    (row,) = fields(summary)
    assert summary.out == tmp_path / "in-segmented"
    assert summary.exit_code == 0
    assert float(row["mg2si_area_fraction"]) == pytest.approx(mg2si, abs=1e-9)
    assert float(row["fe_area_fraction"]) == pytest.approx(fe, abs=1e-9)
    assert float(row["al_area_fraction"]) == pytest.approx(1 - mg2si - fe, abs=2e-9)
    assert summary.area_fractions["fe"] == pytest.approx(fe)
    # The model is surest where it is dark: 255 - level / 2.
    sure = 155 * (1 - mg2si - fe) + 195 * mg2si + 235 * fe
    assert float(row["mean_confidence"]) == pytest.approx(sure / 255, abs=1e-6)
    assert (row["width_px"], row["height_px"], row["page"]) == ("613", "407", "1")
    assert (row["pixel_size_um"], row["model"]) == ("", "threshold")
    assert row["model_sha256"] == engine.model.sha256
    assert (summary.out / "a_overlay.jpg").is_file()
    assert (summary.out / "failures.csv").read_text() == "file,stage,reason\n"


def test_a_tree_is_mirrored_and_recorded(tmp_path: Path, engine: Engine) -> None:
    names = [
        "µm größe 日本.tif",
        "sub/deep/a.png",
        "sub/a.tif",
        "sub/a.jpg",
        "CON.png",
        "sub/n.txt",
    ]
    for name in names[:-1]:
        save(tmp_path / "in" / name, blobs(40, 48, seed=3))
    (tmp_path / "in" / "sub" / "n.txt").write_text("no micrograph")
    options = SegmentOptions(tmp_path / "in", confidence=True, overlay="png", pixel_size_um=0.5)
    summary = segment(options, engine)
    found = {row["file"]: row["classes_file"] for row in fields(summary)}
    assert found == {
        "CON.png": "CON__classes.tif",
        "sub/a.jpg": "sub/a.jpg_classes.tif",
        "sub/a.tif": "sub/a.tif_classes.tif",
        "sub/deep/a.png": "sub/deep/a_classes.tif",
        "µm größe 日本.tif": "µm größe 日本_classes.tif",
    }
    for name in found.values():
        assert (summary.out / name).is_file()
        assert (summary.out / name.replace("_classes.tif", "_confidence.tif")).is_file()
        assert (summary.out / name.replace("_classes.tif", "_overlay.png")).is_file()
    document = run_json(summary)
    assert document["state"] == "finished"
    assert document["counts"] == {
        "done": 5, "skipped": 0, "failed": 0, "remaining": 0, "ignored": 1,
    }  # fmt: skip
    assert document["renamed"] == {"CON.png": "CON_"}
    assert document["calibration_sources"] == {"--pixel-size": 5}
    assert document["results"][0] == {
        "file": "CON.png", "page": 1, "classes_file": "CON__classes.tif",
    }  # fmt: skip
    assert set(document["busy_seconds"]) == {"read", "infer", "write"}
    assert not list(summary.out.rglob(f"*{TEMPORARY_SUFFIX}"))


def test_one_file(tmp_path: Path, engine: Engine) -> None:
    path = save(tmp_path / "a.png", blobs(40, 48, seed=3))
    summary = segment(SegmentOptions(path), engine)
    assert summary.out == tmp_path / "a-segmented"
    assert (summary.out / "a_classes.tif").is_file()


def test_pages_and_sixteen_bits(tmp_path: Path, engine: Engine) -> None:
    pages = np.stack([blobs(40, 48, seed=seed) for seed in range(3)])
    (tmp_path / "in").mkdir()
    tifffile.imwrite(
        tmp_path / "in" / "stack.tif",
        pages.astype(np.uint16) * 257,
        photometric="minisblack",
        resolution=(20_000, 20_000),
        resolutionunit="CENTIMETER",
    )
    summary = segment(SegmentOptions(tmp_path / "in"), engine)
    rows = fields(summary)
    assert [row["page"] for row in rows] == ["1", "2", "3"]
    assert [row["classes_file"] for row in rows] == [
        f"stack_p000{page}_classes.tif" for page in (1, 2, 3)
    ]
    assert rows[0]["pixel_size_um"] == "0.5"
    for row, page in zip(rows, pages, strict=True):
        classes = tifffile.imread(summary.out / row["classes_file"])
        np.testing.assert_array_equal(classes, (page < 145) * 1 + (page < 85) * 1)


def test_bad_files_are_failures_and_the_others_are_done(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 3)
    (source / "empty.tif").write_bytes(b"")
    (source / "cut.png").write_bytes((source / "m00.png").read_bytes()[:300])
    (source / "vendor.oir").write_bytes(b"x")
    if sys.platform != "win32":
        (source / "broken.tif").symlink_to(source / "nowhere.tif")
    sink = Recorder()
    summary = segment(SegmentOptions(source), engine, sink)
    assert summary.exit_code == 1
    assert len(fields(summary)) == 3
    rows = [(row["file"], row["stage"]) for row in failures(summary)]
    assert [row for row in rows if row[0] != "broken.tif"] == [
        ("cut.png", "read"), ("empty.tif", "read"), ("vendor.oir", "list"),
    ]  # fmt: skip
    assert (("broken.tif", "list") in rows) == (sys.platform != "win32")
    for row in failures(summary):
        assert f"{row['file']}: {row['reason']}" in sink.notes
        assert "Traceback" not in row["reason"]
    assert sorted(sink.advanced) == ["cut.png", "empty.tif", "m00.png", "m01.png", "m02.png"]


def test_a_rerun_skips_what_is_done_and_retries_failures(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 3)
    good = (source / "m02.png").read_bytes()
    (source / "m02.png").write_bytes(good[:200])
    options = SegmentOptions(source)
    first = segment(options, engine)
    assert first.counts["failed"] == 1
    before = {p: p.stat().st_mtime_ns for p in first.out.glob("*_classes.tif")}
    again = segment(options, engine)
    assert (again.counts["skipped"], again.counts["failed"]) == (2, 1)
    assert len(fields(again)) == 2
    (source / "m02.png").write_bytes(good)
    last = segment(options, engine)
    assert (last.counts["skipped"], last.counts["done"], last.exit_code) == (2, 1, 0)
    assert len(fields(last)) == 3
    assert {p: p.stat().st_mtime_ns for p in before} == before


@pytest.mark.parametrize(
    "change",
    [
        {"overwrite": True},
        {"overlay": "png"},
        {"overlay": "none"},
        {"confidence": True},
        {"pixel_size_um": 0.5},
    ],
)
def test_other_settings_do_it_again(tmp_path: Path, engine: Engine, change: dict[str, Any]) -> None:
    options = SegmentOptions(folder_of(tmp_path / "in", 2))
    segment(options, engine)
    summary = segment(replace(options, **change), engine)
    assert summary.counts["done"] == 2
    # What the old settings wrote and the new ones do not is gone.
    assert len(list(summary.out.glob("*.jpg"))) == (0 if "overlay" in change else 2)


def test_tiles_and_devices_are_no_settings(tmp_path: Path, engine: Engine) -> None:
    options = SegmentOptions(folder_of(tmp_path / "in", 2))
    segment(options, engine)
    assert segment(replace(options, tile=16), engine).counts["skipped"] == 2


def test_another_content_model_or_missing_result_does_it_again(
    tmp_path: Path, engine: Engine
) -> None:
    source = folder_of(tmp_path / "in", 4)
    options = SegmentOptions(source)
    out = segment(options, engine).out
    save(source / "m00.png", blobs(64, 96, seed=99))
    (out / "m01_classes.tif").unlink()
    (out / "m02_overlay.jpg").write_bytes(b"cut short")
    assert segment(options, engine).counts["done"] == 3
    path = write_threshold_model(tmp_path / "models", thresholds=(100, 50))
    with open_engine(load_model(path), "cpu") as other:
        summary = segment(options, other)
    assert summary.counts["done"] == 4
    assert {row["model_sha256"] for row in fields(summary)} == {other.model.sha256}


def test_what_is_not_among_the_inputs_any_more_counts_nowhere(
    tmp_path: Path, engine: Engine
) -> None:
    source, sink = folder_of(tmp_path / "in", 3), Recorder()
    first = segment(SegmentOptions(source), engine, sink)
    assert not any("earlier runs" in note for note in sink.notes)
    (source / "m01.png").unlink()
    (source / "m02.png").rename(source / "new.png")
    found = segment(SegmentOptions(source), engine, sink)
    assert (
        "not among the inputs any more: 2 inputs of earlier runs, such as m01.png; results of them "
        "stay in the folder, in no table"
    ) in sink.notes
    assert [row["file"] for row in fields(found)] == ["m00.png", "new.png"]
    assert (first.out / "m01_classes.tif").exists()
    for name in ("particles.csv", "fields.csv", "statistics.csv", "report.html"):
        assert "m01" not in re.sub('base64,[^"]*', "", (found.out / name).read_text("utf-8"))


def test_a_torn_ledger_line_is_done_again(tmp_path: Path, engine: Engine) -> None:
    options = SegmentOptions(folder_of(tmp_path / "in", 3))
    first = segment(options, engine)
    ledger = first.out / LEDGER_FILE
    ledger.write_bytes(ledger.read_bytes()[:-20])
    summary = segment(options, engine)
    assert (summary.counts["skipped"], summary.counts["done"]) == (2, 1)
    assert len(fields(summary)) == 3


def test_names_that_change_leave_nothing_stale(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 1)
    options = SegmentOptions(source)
    segment(options, engine)
    save(source / "m00.tif", blobs(64, 96, seed=7))  # now both carry their extension
    summary = segment(options, engine)
    assert set(maps(summary.out)) == {"m00.png_classes.tif", "m00.tif_classes.tif"}
    (source / "m00.png").unlink()  # now the other one has the stem for itself
    summary = segment(options, engine)
    assert summary.counts["done"] == 1
    assert "m00_classes.tif" in maps(summary.out)
    assert "m00.tif_classes.tif" not in maps(summary.out)
    assert [row["file"] for row in fields(summary)] == ["m00.tif"]


def test_fewer_pages_leave_no_stale_pages(tmp_path: Path, engine: Engine) -> None:
    path = tmp_path / "in" / "s.tif"
    path.parent.mkdir()
    for pages in (3, 2):
        tifffile.imwrite(path, np.zeros((pages, 40, 48), np.uint8), photometric="minisblack")
        summary = segment(SegmentOptions(path.parent), engine)
        assert len(maps(summary.out)) == pages


@pytest.mark.parametrize("tile", [32, 64, 200])
def test_tiled_equals_whole(tmp_path: Path, tile: int) -> None:
    source = tmp_path / "in"
    save(source / "a.png", blobs(407, 613, seed=5))
    save(source / "b.png", blobs(5, 3, seed=6))
    model = load_model(write_threshold_model(tmp_path / "models", stride=8, smoothing=3))
    with open_engine(model, "cpu") as engine:
        whole = segment(SegmentOptions(source, tmp_path / "whole", confidence=True), engine)
        tiled = segment(
            SegmentOptions(source, tmp_path / "tiled", tile=tile, confidence=True), engine
        )
    assert len(maps(whole.out)) == 2
    assert maps(whole.out) == maps(tiled.out)
    sure = [(out / "a_confidence.tif").read_bytes() for out in (whole.out, tiled.out)]
    assert sure[0] == sure[1]


def test_too_short_a_halo_would_be_seen(tmp_path: Path) -> None:
    """The model of the test above does look beyond its tiles."""
    source = tmp_path / "in"
    save(source / "a.png", blobs(407, 613, seed=5))
    model = load_model(write_threshold_model(tmp_path / "models", stride=8, smoothing=3))
    blind = replace(model, card=replace(model.card, halo=0))
    with open_engine(blind, "cpu") as engine:
        whole = segment(SegmentOptions(source, tmp_path / "whole"), engine)
        tiled = segment(SegmentOptions(source, tmp_path / "tiled", tile=64), engine)
    assert maps(whole.out) != maps(tiled.out)


def test_a_recorded_budget_cuts_frames_as_before(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 2)
    options = SegmentOptions(source)
    first = segment(options, engine)
    path = first.out / "run.json"
    document = run_json(first)
    document["memory"]["budget_bytes"] = 500_000_000
    path.write_text(json.dumps(document), encoding="utf-8")
    assert run_json(segment(options, engine))["memory"]["budget_bytes"] == 500_000_000
    other = segment(replace(options, confidence=True), engine)
    assert run_json(other)["memory"]["budget_bytes"] != 500_000_000


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, engine: Engine) -> None:
    path = tmp_path / "in" / "s.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, np.zeros((200, 40, 48), np.uint8), photometric="minisblack")
    save(path.with_name("a.png"), blobs(40, 48, seed=1))

    def grow(name: str) -> None:
        if name == "a.png":  # the queues are short: many pages of s.tif are still to be read
            with path.open("ab") as handle:
                handle.write(b"more")

    summary = segment(SegmentOptions(path.parent), engine, Recorder(grow))
    assert failures(summary) == [
        {
            "file": "s.tif",
            "stage": "read",
            "reason": "was changed while it was being read. Run again when it is complete",
        }
    ]
    assert set(maps(summary.out)) == {"a_classes.tif"}  # no half of a file's pages


def test_a_stop_finishes_what_is_in_hand_and_a_rerun_the_rest(
    tmp_path: Path, engine: Engine
) -> None:
    # More than the queues hold: all that is in hand when the first is done will be finished.
    files = 120
    source = folder_of(tmp_path / "in", files)
    stop = threading.Event()
    sink = Recorder(lambda name: stop.set())
    options = SegmentOptions(source)
    summary = segment(options, engine, sink, stop)
    assert summary.state == "interrupted"
    assert summary.exit_code == 130
    assert 0 < summary.counts["done"] < files
    assert summary.counts["done"] + summary.counts["remaining"] == files
    assert len(fields(summary)) == summary.counts["done"] == len(maps(summary.out))
    assert run_json(summary)["state"] == "interrupted"
    rest = segment(options, engine)
    assert rest.counts["done"] == summary.counts["remaining"]
    assert len(fields(rest)) == files


def test_a_result_that_cannot_be_written_is_that_files_failure(
    tmp_path: Path, engine: Engine
) -> None:
    source = folder_of(tmp_path / "in", 2)
    out = tmp_path / "out"
    (out / "m00_classes.tif").mkdir(parents=True)  # a folder stands in its place
    summary = segment(SegmentOptions(source, out), engine)
    (failure,) = failures(summary)
    assert (failure["file"], failure["stage"]) == ("m00.png", "write")
    assert failure["reason"].startswith(f"{out}: ")
    assert [row["file"] for row in fields(summary)] == ["m01.png"]


def test_without_a_ledger_the_run_stops(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 20)
    out = tmp_path / "out"
    sink = Recorder(lambda name: (out / LEDGER_FILE).unlink(missing_ok=True))
    with pytest.raises(ResultsError) as caught:
        segment(SegmentOptions(source, out), engine, sink)
    assert str(caught.value) == (
        f"{out / LEDGER_FILE}: has been deleted, so the run stops. Start it again; without this "
        "file all micrographs are done anew"
    )
    assert json.loads((out / "run.json").read_text())["state"] == "interrupted"


def test_results_folders_are_not_mixed(tmp_path: Path, engine: Engine) -> None:
    first, second = folder_of(tmp_path / "one", 1), folder_of(tmp_path / "two", 1)
    out = tmp_path / "out"
    segment(SegmentOptions(first, out), engine)
    with pytest.raises(InputError) as caught:
        segment(SegmentOptions(second, out), engine)
    assert str(caught.value) == (
        f"{out}: holds the results of {first}, not of {second}. Choose another --out"
    )
    first.rename(tmp_path / "moved")
    assert segment(SegmentOptions(tmp_path / "moved", out), engine).counts["skipped"] == 1


def test_what_is_in_the_way_of_results(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 1)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="because a file is in its place"):
        segment(SegmentOptions(source, tmp_path / "file"), engine)
    with pytest.raises(UsageError, match="is the folder of the micrographs themselves"):
        segment(SegmentOptions(source, source), engine)
    other = tmp_path / "other"
    other.mkdir()
    (other / "fields.csv").write_text("somebody's own")
    with pytest.raises(InputError, match=r"holds a fields\.csv that this program did not write"):
        segment(SegmentOptions(source, other), engine)
    with pytest.raises(UsageError, match="--tile 30: expected a positive multiple"):
        segment(SegmentOptions(source, tile=30), engine)
    with pytest.raises(UsageError, match="--overlay gif: expected jpg, png or none"):
        segment(SegmentOptions(source, overlay="gif"), engine)


def test_a_model_that_fails_on_a_frame_is_that_frames_failure(
    tmp_path: Path, engine: Engine
) -> None:
    path = write_threshold_model(tmp_path / "models", thresholds=(145, 85, 60, 50))
    source = folder_of(tmp_path / "in", 1)
    save(source / "white.png", np.full((32, 32), 255, np.uint8))
    with open_engine(load_model(path), "cpu") as liar:
        summary = segment(SegmentOptions(source), liar)
    (failure,) = failures(summary)
    assert (failure["file"], failure["stage"]) == ("m00.png", "infer")
    assert failure["reason"].startswith("the class map holds index 3, the model's card lists 3")
    assert [row["file"] for row in fields(summary)] == ["white.png"]
