from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hptl_deploy.cli.main import run as command_line
from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.errors import ResultsError
from hptl_deploy.left_out.given import LeaveOut
from hptl_deploy.left_out.mask import load_mask
from hptl_deploy.model import load_model
from hptl_deploy.segmentation import SegmentOptions, segment
from hptl_deploy.segmentation.ledger import Ledger
from hptl_deploy.segmentation.shards.merging import merge
from hptl_deploy.segmentation.shards.sharding import Shard
from hptl_deploy.tiling import Region
from support.drawings import blobs, folder_of, save
from support.shards import content, one, owned, problems, run_json, run_shards, table
from support.threshold_model import write_threshold_model


def test_missing_and_unfinished_shards_and_how_to_run_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All problems at once, with command lines that mend them."""
    source = tmp_path / "the input"
    for name in (*owned(1, 4)[:3], *owned(2, 4)[:2], *owned(4, 4)[:1]):
        save(source / name, blobs(40, 48, seed=1))
    out, path = tmp_path / "out", write_threshold_model(tmp_path / "models")
    settings: dict[str, Any] = {"out": out, "overlay": "png", "confidence": True, "tile": 16}
    settings |= {"particles": False, "also": ("labels", "ome-zarr"), "rescale": "off"}
    mask = save(tmp_path / "mask.png", np.eye(40, 48, dtype=np.uint8))
    settings["leave_out"] = LeaveOut("keep", 3, (Region(1, 3, 0, 5),), load_mask(mask))
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
            "--precision fp32 --pixel-size 0.5 --overlay png --confidence --no-particles "
            "--also labels,ome-zarr --rescale off "
            f"--scale-bar keep --crop-bottom 3 --ignore 0,1,5,2 --ignore-mask {mask} --tile 16"
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


def test_hundreds_of_missing_shards_are_told_in_short(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 1)
    for number in (1, 16, 30):
        out = one(source, engine, number, 40).out
    found = problems(out)
    assert found[0].startswith("shard 2/40: has not been run: ")
    assert found[11].startswith("shard 13/40: has not been run: ")
    assert found[12:] == [
        "25 more shards are missing or have not come to their end: 14-15,17-29,31-40"
    ]


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
