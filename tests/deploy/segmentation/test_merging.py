from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from hptl_deploy.cli.main import run as command_line
from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.errors import ResultsError
from hptl_deploy.files import TEMPORARY_SUFFIX
from hptl_deploy.model import load_model
from hptl_deploy.segmentation import RunSummary, SegmentOptions, merging, segment
from hptl_deploy.segmentation.ledger import Ledger
from hptl_deploy.segmentation.merging import merge
from hptl_deploy.segmentation.sharding import Shard
from support.drawings import blobs, folder_of, save
from support.sinks import Recorder
from support.threshold_model import write_threshold_model


def one(source: Path, engine: Engine, number: int, count: int, **settings: Any) -> RunSummary:
    return segment(SegmentOptions(source, shard=Shard(number, count), **settings), engine)


def run_shards(source: Path, engine: Engine, count: int, **settings: Any) -> Path:
    """All shards, last first; returns the results folder."""
    ended = [one(source, engine, n, count, **settings) for n in range(count, 0, -1)]
    return ended[0].out


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def content(out: Path) -> dict[str, bytes]:
    """Everything that is not of one run: maps, overlays, tables."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in ("run.json", "ledger.jsonl")
    }


def run_json(out: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((out / "run.json").read_text(encoding="utf-8"))
    return document


def owned(number: int, count: int, suffix: str = ".png") -> list[str]:
    """Names that fall to a shard."""
    names = (f"n{index}{suffix}" for index in range(60))
    return [name for name in names if Shard(number, count).takes(name)]


def problems(out: Path) -> list[str]:
    with pytest.raises(ResultsError) as caught:
        merge(out)
    assert caught.value.message.startswith(f"{out}: its shards cannot be merged")
    return caught.value.problems


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
    (source / "a.nd2").write_bytes(b"x")
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


def test_missing_and_unfinished_shards_and_how_to_run_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All problems at once, with command lines that mend them."""
    source = tmp_path / "the input"
    for name in (*owned(1, 4)[:3], *owned(2, 4)[:2], *owned(4, 4)[:1]):
        save(source / name, blobs(40, 48, seed=1))
    out, path = tmp_path / "out", write_threshold_model(tmp_path / "models")
    settings: dict[str, Any] = {"out": out, "overlay": "png", "confidence": True, "tile": 16}
    with open_engine(load_model(path), "cpu") as engine:
        for number in (1, 2):
            one(source, engine, number, 4, pixel_size_um=0.5, **settings)
    for number, change in ((1, {"state": "interrupted"}), (2, {"state": "running"})):
        home = Shard(number, 4).home(out)
        document = run_json(home) | change
        document["counts"]["remaining"] = 3
        (home / "run.json").write_text(json.dumps(document), encoding="utf-8")

    def command(number: int) -> str:
        return (
            f"hptl-deploy segment '{source}' --shard {number}/4 --out {out} --model {path} "
            "--precision fp32 --pixel-size 0.5 --overlay png --confidence --tile 16"
        )

    assert problems(out) == [
        f"shard 3/4: has not been run: {command(3)}",
        f"shard 4/4: has not been run: {command(4)}",
        f"shard 1/4: was interrupted with 3 inputs left: {command(1)}",
        "shard 2/4: has not come to its end; if no machine is at it any more, run it again: "
        f"{command(2)}",
    ]
    assert not (out / "run.json").exists()
    with Ledger(Shard(2, 4).home(out), out):
        assert "shard 2/4: is being run: wait until it ends" in problems(out)
    for number in (1, 2, 3, 4):
        assert command_line([*shlex.split(command(number))[1:], "--device", "cpu"]) == 0
    assert merge(out).summary.counts["skipped"] == 5  # the commands changed no setting
    capsys.readouterr()


def test_models_and_settings_are_not_mixed(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 6)
    out = tmp_path / "in-segmented"
    other = load_model(write_threshold_model(tmp_path, thresholds=(100, 50), name="other"))
    with open_engine(other, "cpu") as odd:
        one(source, engine, 1, 3, overlay="none", confidence=True)
        one(source, engine, 2, 3)
        one(source, odd, 3, 3)
    found = problems(out)
    assert found == [
        f"model: threshold ({engine.model.sha256[:12]}) in 1/3, 2/3; other "
        f"({other.sha256[:12]}) in 3/3",
        "settings: overlay none, confidence True in 1/3; overlay jpg, confidence False in 2/3, 3/3",
    ]
    assert not (out / "fields.csv").exists()
    run_shards(source, engine, 3)  # with one model and one set of settings
    merge(out)
    assert {row["model"] for row in table(out / "fields.csv")} == {"threshold"}
    # What the odd settings had left is gone.
    assert not list(out.glob("*_confidence.tif"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda d: d["engine"].update(precision="fp16"),
            "precision of the engine: fp16 in 1/2; fp32 in 2/2",
        ),
        (
            lambda d: d["model"].update(precision="int8"),
            "precision of the model: int8 in 1/2; fp32 in 2/2",
        ),
        (
            lambda d: d["versions"].update(hptl_deploy="0.0.9"),
            "version of hptl-deploy: 0.0.9 in 1/2; 0.1.0 in 2/2",
        ),
        (lambda d: d.update(split="val"), "split: val in 1/2; all in 2/2"),
        (
            lambda d: d.update(settings_sha256="0123456789abcdef"),
            "settings: 0123456789ab in 1/2; ",
        ),
    ],
)
def test_whatever_must_agree(
    tmp_path: Path, engine: Engine, change: Callable[[dict[str, Any]], None], problem: str
) -> None:
    out = run_shards(folder_of(tmp_path / "in", 2), engine, 2)
    path = Shard(1, 2).home(out) / "run.json"
    document = run_json(path.parent)
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    (found,) = problems(out)
    assert found.startswith(problem)


def test_one_input_may_have_two_names_but_not_two_contents(tmp_path: Path, engine: Engine) -> None:
    """As where machines mount a folder at different places."""
    out = run_shards(folder_of(tmp_path / "in", 3), engine, 2)
    path = Shard(2, 2).home(out) / "run.json"
    document = run_json(path.parent) | {"input": "/elsewhere/in"}
    path.write_text(json.dumps({**document, "shard": {**document["shard"], "listing_sha256": "0"}}))
    assert problems(out) == [f"input: {tmp_path / 'in'} in 1/2; /elsewhere/in in 2/2"]
    path.write_text(json.dumps(document))
    assert merge(out).document["input"] == str(tmp_path / "in")


def test_shards_of_two_counts(tmp_path: Path, engine: Engine) -> None:
    """As where two were begun at the very same moment."""
    out = run_shards(folder_of(tmp_path / "in", 3), engine, 2)
    home = Shard(1, 3).home(out)
    shutil.copytree(Shard(1, 2).home(out), home)
    document = run_json(home)
    document["shard"]["count"] = 3
    (home / "run.json").write_text(json.dumps(document))
    assert problems(out) == [
        "shards of several counts lie side by side (2 shards: 1/2, 2/2; 3 shards: 1/3): finish "
        f"one of them and delete the folders of the others in {out / 'shards'}"
    ]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"tool": "hptl-deploy segment", "schema": 1, "shard": {"number": 1}}']
)
def test_a_run_json_that_is_none(tmp_path: Path, engine: Engine, text: str) -> None:
    out = run_shards(folder_of(tmp_path / "in", 2), engine, 2)
    path = Shard(1, 2).home(out) / "run.json"
    path.write_text(text)
    with pytest.raises(ResultsError) as caught:
        merge(out)
    assert str(caught.value) == (
        f"{path}: is not as this version writes it for shard 1/2. Run the shard again"
    )


def test_results_that_are_not_there(tmp_path: Path, engine: Engine) -> None:
    source = tmp_path / "in"
    names = owned(1, 2)[:6]
    for name in (*names, owned(2, 2)[0]):
        save(source / name, blobs(40, 48, seed=1))
    out = run_shards(source, engine, 2)
    for name in names:
        (out / f"{Path(name).stem}_classes.tif").unlink()
    (found,) = problems(out)
    assert found.startswith(
        f"shard 1/2: results of {', '.join(sorted(names)[:4])} and 2 more are not in {out}: "
        f"hptl-deploy segment {source} --shard 1/2"
    )
    assert one(source, engine, 1, 2).counts["done"] == 6
    assert len(merge(out).summary.results) == 7


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


def test_names_are_those_of_one_run_or_the_shard_is_run_again(
    tmp_path: Path, engine: Engine
) -> None:
    source = tmp_path / "in"
    stem = next(
        f"n{k}" for k in range(60)
        if Shard(1, 2).takes(f"n{k}.png") and Shard(2, 2).takes(f"n{k}.tif")
    )  # fmt: skip
    save(source / f"{stem}.png", blobs(40, 48, seed=1))
    one(source, engine, 1, 2)
    save(source / f"{stem}.tif", blobs(40, 48, seed=2))  # shard 2 knows of both
    out = one(source, engine, 2, 2).out
    (found,) = problems(out)
    assert found.startswith(
        "shard 1/2: the input has changed, and with it what results are called "
        f"({stem}.png as {stem}, not {stem}.png): hptl-deploy segment {source} --shard 1/2"
    )
    one(source, engine, 1, 2)
    merge(out)
    whole = segment(SegmentOptions(source, tmp_path / "whole"), engine).out
    assert content(out) == content(whole)  # what went out of use is gone, too


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
    merge(out)
    assert not half.exists()


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
