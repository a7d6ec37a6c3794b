from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from hptl_deploy.engines import Engine
from hptl_deploy.errors import ResultsError
from hptl_deploy.files import TEMPORARY_SUFFIX
from hptl_deploy.segmentation import SegmentOptions, segment
from hptl_deploy.segmentation.ledger import Ledger
from hptl_deploy.segmentation.mosaics.mosaic import BANDS_FOLDER
from hptl_deploy.segmentation.shards import merging
from hptl_deploy.segmentation.shards.merging import merge
from hptl_deploy.segmentation.shards.sharding import Shard
from support.drawings import blobs, folder_of, save
from support.shards import content, one, owned, run_json, run_shards, table
from support.sinks import Recorder


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A tree with shared stems, pages, names that some systems forbid, and what cannot be done."""
    source = tmp_path / "in"
    names = ["a.png", "a.bmp", "a_p0002.png", "CON.png", "sub/b.jpg", "sub/c/d.png", "µm größe.png"]
    for seed, name in enumerate(names):
        save(source / name, blobs(40, 48, seed=seed))
    # The input's own folder of the name that shards keep their notes in.
    save(source / "shards" / "1-of-3" / "e.png", blobs(40, 48, seed=20))
    pages = np.stack([blobs(40, 48, seed=seed) for seed in range(2)])
    tifffile.imwrite(source / "stack.tif", pages, photometric="minisblack")
    (source / "bad.tif").write_bytes(b"II*\0")
    (source / "a.oir").write_bytes(b"x")
    (source / "notes.txt").write_text("no micrograph")
    if sys.platform != "win32":
        (source / "gone.tif").symlink_to(source / "nowhere.tif")
    return source


@pytest.mark.parametrize("count", [3, 11])
def test_merged_shards_are_what_one_run_makes(mixed: Path, engine: Engine, count: int) -> None:
    out = run_shards(mixed, engine, count)
    merged = merge(out)
    whole = segment(SegmentOptions(mixed, mixed.parent / "whole"), engine)
    assert content(out) == content(whole.out)
    mine, other = run_json(out), run_json(whole.out)
    for name in (
        "tool", "schema", "state", "input", "split", "counts", "model", "phases", "settings",
        "settings_sha256", "engine", "versions", "calibration_sources", "mean_area_fractions",
        "renamed", "results",
    ):  # fmt: skip
        assert mine[name] == other[name], name
    assert mine["renamed"] == {"CON.png": "CON_"}
    summary = merged.summary
    assert (summary.exit_code, summary.counts) == (whole.exit_code, whole.counts)
    assert (summary.results, summary.failures) == (whole.results, whole.failures)
    assert [run["number"] for run in mine["shards"]["runs"]] == list(range(1, count + 1))
    assert {run["engine"]["device"] for run in mine["shards"]["runs"]} == {"cpu"}
    busy = [run["busy_seconds"].get("write", 0) for run in mine["shards"]["runs"]]
    assert mine["busy_seconds"]["write"] == pytest.approx(sum(busy), abs=0.002)


def test_afterwards_it_is_a_results_folder_like_any_other(mixed: Path, engine: Engine) -> None:
    out = run_shards(mixed, engine, 3)
    merge(out)
    before = content(out)
    again = segment(SegmentOptions(mixed), engine)
    assert (again.counts["done"], again.counts["skipped"]) == (0, 9)
    assert content(out) == before
    assert "shards" not in run_json(out)
    # And shards in another number go on from it.
    assert sum(one(mixed, engine, n, 2).counts["skipped"] for n in (1, 2)) == 9
    merge(out)
    assert content(out) == before


def test_merging_again_changes_nothing(mixed: Path, engine: Engine) -> None:
    out = run_shards(mixed, engine, 2)
    first = merge(out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    again = merge(out)
    assert (first.already, again.already) == (False, True)
    assert vars(again.summary) == vars(first.summary)
    assert again.summary.exit_code == 1
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_the_ledger_gets_every_line_once(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where merge was killed behind it, and where shards were run again after it."""
    source = folder_of(tmp_path / "in", 4)
    out = run_shards(source, engine, 2)

    def killed(out: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(merging, "remove_leftovers", killed)
        with pytest.raises(KeyboardInterrupt):
            merge(out)
    assert (out / "ledger.jsonl").read_bytes().count(b"\n") == 4
    merge(out)
    run_shards(source, engine, 2)
    merge(out)
    assert (out / "ledger.jsonl").read_bytes().count(b"\n") == 4


def test_what_holds_no_shards(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 1)
    hint = "Name the results folder, which is INPUT-segmented where --out did not say otherwise"
    whole = segment(SegmentOptions(source), engine).out
    for folder, sentence in (
        (tmp_path / "none", f"{tmp_path / 'none'}: is not a folder. {hint}"),
        (source, f"{source}: holds no shards (looked for shards/1-of-8 and the like). {hint}"),
        (whole, f"{whole}: holds no shards, but the results of a run without --shard. "
                "There is nothing to merge"),
    ):  # fmt: skip
        with pytest.raises(ResultsError) as caught:
            merge(folder)
        assert str(caught.value) == sentence


def test_a_file_that_comes_between_two_shards(tmp_path: Path, engine: Engine) -> None:
    """Its shard takes it if it has yet to look; else merge names it. Never twice, never lost."""
    source = folder_of(tmp_path / "in", 4)
    one(source, engine, 1, 2)
    late, early = owned(1, 2)[0], owned(2, 2)[0]
    for name in (late, early):
        save(source / name, blobs(40, 48, seed=9))
    out = one(source, engine, 2, 2).out
    summary = merge(out).summary
    rows = [row["file"] for row in table(out / "fields.csv")]
    assert rows == sorted([early, "m00.png", "m01.png", "m02.png", "m03.png"])
    assert table(out / "failures.csv") == [
        {
            "file": late,
            "stage": "list",
            "reason": "came after shard 1/2 had listed the folder. Run segment on it once more, "
            "without --shard",
        }
    ]
    assert (summary.exit_code, summary.counts["failed"]) == (1, 1)
    rest = segment(SegmentOptions(source), engine)
    assert (rest.counts["done"], rest.counts["skipped"], rest.exit_code) == (1, 5, 0)


def test_an_input_that_is_out_of_sight(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 2)
    out = run_shards(source, engine, 2)
    source.rename(tmp_path / "away")
    sink = Recorder()
    assert merge(out, sink).summary.exit_code == 0
    assert sink.notes == [
        f"inputs that came after the shards had looked cannot be seen: {source}: is not there"
    ]


def test_another_folder_in_the_inputs_place(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 2)
    out = run_shards(source, engine, 2)
    shutil.rmtree(source)
    save(source / "x.png", blobs(40, 48, seed=1))
    sink = Recorder()
    assert merge(out, sink).summary.failures == ()
    assert sink.notes[0].endswith(f"{source}: holds none of the shards' inputs")


def test_a_folder_that_one_machine_cannot_read(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the business of a shard whose machine can read it."""
    folder = next(f"f{k}" for k in range(60) if Shard(2, 2).takes(f"f{k}"))
    source = folder_of(tmp_path / "in", 2)
    save(source / folder / "a.png", blobs(40, 48, seed=1))
    scan = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == folder:
            raise PermissionError(13, "Permission denied")
        return scan(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        one(source, engine, 1, 2)
        assert one(source, engine, 1, 2).failures == ()
    out = one(source, engine, 2, 2).out
    monkeypatch.setattr(os, "scandir", refuse)
    (failure,) = merge(out).summary.failures
    assert (failure.file, failure.reason) == (
        folder,
        "the folder cannot be read (Permission denied)",
    )


def test_half_written_files_go_once_nobody_writes(tmp_path: Path, engine: Engine) -> None:
    out = run_shards(folder_of(tmp_path / "in", 2), engine, 2)
    half = out / f".0123456789abcdef-1{TEMPORARY_SUFFIX}"
    half.write_bytes(b"half")
    band = Shard(1, 2).home(out) / BANDS_FOLDER / "0123" / "0000.classes"  # of a mosaic that failed
    band.parent.mkdir(parents=True)
    band.write_bytes(b"band")
    merge(out)
    assert not half.exists()
    assert not (out / "shards").exists()


STEPS = [("write_json", 0), ("write_json", 1), ("remove_leftovers", 0), ("_retire", 0)]


@pytest.mark.parametrize(("step", "calls"), [*STEPS, ("rmdir", 0)])
def test_killed_at_any_step_it_is_merged_again(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch, step: str, calls: int
) -> None:
    source = folder_of(tmp_path / "in", 3)
    (source / "m01.png").write_bytes(b"")
    one(source, engine, 2, 2, overlay="png")
    out = run_shards(source, engine, 2)
    whole = segment(SegmentOptions(source, tmp_path / "whole"), engine)
    # `rmdir` is called between the first shard's folder and the second's.
    where = Path if step == "rmdir" else merging
    original, left = getattr(where, step), [calls]

    def killed(*arguments: Any) -> Any:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(where, step, killed)
        with pytest.raises(KeyboardInterrupt):
            merge(out)
    again = merge(out)
    assert again.already == (step in ("_retire", "rmdir"))
    assert not (out / "shards").exists()
    assert content(out) == content(whole.out)
    assert segment(SegmentOptions(source), engine).counts["done"] == 0


def test_merge_keeps_others_out(tmp_path: Path, engine: Engine) -> None:
    out = run_shards(folder_of(tmp_path / "in", 2), engine, 2)
    with Ledger(out), pytest.raises(ResultsError) as caught:
        merge(out)
    assert str(caught.value) == (
        f"{out}: another run is writing these results. Wait until it ends, or choose another --out"
    )
