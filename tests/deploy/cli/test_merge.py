from __future__ import annotations

import json
from pathlib import Path

import pytest

from hptl_deploy.cli.main import run
from hptl_deploy.measurement.evaluation import evaluate
from hptl_deploy.segmentation.shards.sharding import Shard
from support.drawings import blobs, folder_of, save
from support.labelled import write_data_set
from support.processes import start
from support.threshold_model import write_threshold_model

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    write_threshold_model(tmp_path / "models")
    return tmp_path / "models"


def segment(source: Path, models: Path, *options: str | Path) -> int:
    words = ["segment", source, "--models", models, "--device", "cpu", *options]
    return run([str(word) for word in words])


def tables(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.suffix in (".csv", ".tif", ".jpg")
    }


def test_two_shards_at_once_are_one_run(tmp_path: Path, models: Path, capsys: Capture) -> None:
    """Real processes in one results folder, their class maps scored as those of one run."""
    data = write_data_set(tmp_path / "set", count=12)
    out, whole = tmp_path / "set-segmented", tmp_path / "whole"
    processes = [
        start("segment", data, "--models", models, "--device", "cpu", "--shard", f"{number}/2")
        for number in (1, 2)
    ]
    for process in processes:
        _, told = process.communicate(timeout=60)
        assert process.returncode == 0, told
    done = [
        len(json.loads((Shard(n, 2).home(out) / "run.json").read_text())["results"]) for n in (1, 2)
    ]
    assert min(done) > 0
    assert sum(done) == 12
    assert run(["evaluate", str(out), str(data)]) == 2
    assert capsys.readouterr().err == (
        f"hptl-deploy: results {out}: hold shards that are not merged yet. Join them first with "
        f"`hptl-deploy merge {out}`\n"
    )
    assert run(["merge", str(out)]) == 0
    assert segment(data, models, "--out", whole) == 0
    assert tables(out) == tables(whole)
    scores = [evaluate(folder, data, "all").to_json() for folder in (out, whole)]
    assert scores[0] == scores[1]
    assert scores[0]["micrographs"] == 12


def test_what_is_said(tmp_path: Path, models: Path, capsys: Capture) -> None:
    source = folder_of(tmp_path / "in", 3)
    (source / "bad.tif").write_bytes(b"II*\0")
    out = tmp_path / "in-segmented"
    codes = [segment(source, models, "--shard", f"{number}/2") for number in (1, 2)]
    assert sorted(codes) == [0, 1]
    said = capsys.readouterr().out
    assert f"shard 1/2 has ended; once all 2 have: hptl-deploy merge {out}" in said
    assert run(["merge", str(out)]) == 1
    said, noted = capsys.readouterr()
    lines = said.splitlines()
    assert lines[:3] == [
        "shards: 2 merged",
        "micrographs: 3 done, 1 failed",
        "failed: failures.csv in the results says which and why",
    ]
    assert lines[-2:] == [f"results: {out}", f"report: {out / 'report.html'}"]
    assert noted.startswith("bad.tif: ")
    assert run(["merge", str(out)]) == 1
    assert capsys.readouterr().out.startswith("shards: 2 merged before\n")


def test_what_is_left_out_is_said(tmp_path: Path, models: Path, capsys: Capture) -> None:
    source, out = folder_of(tmp_path / "in", 3), tmp_path / "in-segmented"
    for number in (1, 2):
        assert segment(source, models, "--shard", f"{number}/2", "--crop-bottom", "4") == 0
    for _ in ("merged", "merged before"):
        capsys.readouterr()
        assert run(["merge", str(out)]) == 0
        assert "left out: something in 3 of 3 fields" in capsys.readouterr().out


def test_json_is_one_document(tmp_path: Path, models: Path, capsys: Capture) -> None:
    source, out = folder_of(tmp_path / "in", 3), tmp_path / "in-segmented"
    for number in (1, 2):
        assert segment(source, models, "--shard", f"{number}/2", "--json") == 0
        assert json.loads(capsys.readouterr().out)["shard"] == f"{number}/2"
    assert run(["merge", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["counts"]["done"] == document["fields"] == len(document["results"]) == 3
    assert document["state"] == "finished"
    assert (document["exit_code"], document["merged_before"]) == (0, False)
    assert [one["number"] for one in document["shards"]["runs"]] == [1, 2]
    assert set(document["mean_area_fractions"]) == {"al", "mg2si", "fe"}


def test_a_missing_shard_is_wrong_usage(tmp_path: Path, models: Path, capsys: Capture) -> None:
    source, out = folder_of(tmp_path / "in", 2), tmp_path / "in-segmented"
    assert segment(source, models, "--shard", "1/2") == 0
    capsys.readouterr()
    assert run(["merge", str(out), "--json"]) == 2
    said, noted = capsys.readouterr()
    assert noted == (
        f"hptl-deploy: {out}: its shards cannot be merged\n"
        f"  - shard 2/2: has not been run: hptl-deploy segment {source} --shard 2/2 --out {out} "
        f"--model {models / 'threshold' / 'model.onnx'} --precision fp32\n"
    )
    assert json.loads(said)["exit_code"] == 2


@pytest.mark.parametrize("text", ["0/4", "5/4", "a/b", "3"])
def test_shards_that_are_none(tmp_path: Path, models: Path, capsys: Capture, text: str) -> None:
    source = folder_of(tmp_path / "in", 1)
    assert segment(source, models, "--shard", text) == 2
    noted = capsys.readouterr().err
    assert noted.startswith(f"hptl-deploy: --shard {text}: ")
    assert noted.count("\n") == 1  # before any model is opened
    assert not (tmp_path / "in-segmented").exists()


def test_an_empty_shard_ends_with_0(tmp_path: Path, models: Path, capsys: Capture) -> None:
    source = tmp_path / "in"
    name = next(f"n{k}.png" for k in range(60) if Shard(1, 2).takes(f"n{k}.png"))
    save(source / name, blobs(40, 48, seed=1))
    assert segment(source, models, "--shard", "2/2") == 0
    said, noted = capsys.readouterr()
    assert said.startswith("micrographs: 0 done\n")
    assert "none of the 1 inputs falls to it" in noted


def test_one_shard_is_no_results_folder(tmp_path: Path, models: Path, capsys: Capture) -> None:
    source, out = folder_of(tmp_path / "in", 2), tmp_path / "in-segmented"
    assert segment(source, models, "--shard", "1/1") == 0
    home = Shard(1, 1).home(out)
    capsys.readouterr()
    assert run(["evaluate", str(home), str(source)]) == 2
    assert capsys.readouterr().err == (
        f"hptl-deploy: results {home}: is what one shard of {out} notes down. Join the shards with "
        f"`hptl-deploy merge {out}` and evaluate that\n"
    )
