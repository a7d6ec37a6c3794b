"""Chains that are killed, interrupted and resumed, as real processes."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tomli_w
import torch
from safetensors.torch import load_file

from hptl_train.recipe import Wishes
from support.chains import command, same_run, train, train_alone
from support.labelled import write_data_set
from support.tiny import recipe


def test_killed_at_random_moments_it_ends_with_the_same_numbers(
    unbroken: Path, data: Path, recipe_file: Path, tmp_path: Path
) -> None:
    rng = random.Random(7)
    arguments: tuple[object, ...] = (data, "--recipe", recipe_file, "--name", "run")
    kills = 0
    for _ in range(4):
        process = subprocess.Popen(
            command(tmp_path, *arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        metrics = tmp_path / "run" / "metrics.jsonl"
        before = metrics.stat().st_size if metrics.exists() else 0
        # Let it get somewhere first, or the test would only ever kill imports.
        while process.poll() is None and (not metrics.exists() or metrics.stat().st_size <= before):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        kills += process.wait() != 0
        if (tmp_path / "run" / "run.json").exists():
            arguments = ("--resume", "--name", "run")
    assert kills >= 3
    done = train_alone(tmp_path, "--resume")
    assert done.returncode == 0, done.stderr
    assert same_run(unbroken, tmp_path / "run")


@pytest.mark.slow
def test_killed_and_resumed_it_keeps_the_same_best_weights(data: Path, tmp_path: Path) -> None:
    chain = recipe(
        iterations=16, checkpoints={"seconds": 0}, validation={"every": 2, "keep": "best"}
    )
    wishes = Wishes(source_data="none", seed=2)
    table = wishes.chain(chain).model_dump(mode="json", exclude_none=True)
    del table["steps"][1:]
    # It soon finds the matrix alone: after 8 iterations, and never better again.
    table["steps"][0]["optimiser"]["learning_rate"] = 0.003
    path = tmp_path / "best.toml"
    path.write_text(tomli_w.dumps(table))
    arguments: tuple[object, ...] = (data, "--recipe", path, "--name", "run")
    done = train(tmp_path / "unbroken", *arguments)
    assert done.returncode == 0, done.stderr
    unbroken, broken = tmp_path / "unbroken" / "run", tmp_path / "broken" / "run"
    for lines in (2, 5):
        process = subprocess.Popen(
            command(tmp_path / "broken", *arguments),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        metrics = broken / "metrics.jsonl"
        while not metrics.exists() or metrics.read_bytes().count(b"\n") < lines:
            assert process.poll() is None
            time.sleep(0.002)
        process.kill()
        process.wait()
        arguments = ("--resume", "--name", "run")
    done = train(tmp_path / "broken", "--resume")
    assert done.returncode == 0, done.stderr
    (step,), (again,) = (
        json.loads((run / "run.json").read_text(encoding="utf-8"))["steps"]
        for run in (unbroken, broken)
    )
    assert step["kept_iteration"] == again["kept_iteration"] < 16
    assert step["validation"] == again["validation"]
    names = ("last.safetensors", "weights.safetensors")
    for run in (unbroken, broken):
        assert tuple(sorted(f.name for f in (run / "1-fcn32s").iterdir())) == names
    kept, last = (load_file(broken / "1-fcn32s" / name) for name in reversed(names))
    assert not torch.equal(kept["fc6.weight"], last["fc6.weight"])
    for name in names:
        assert (unbroken / "1-fcn32s" / name).read_bytes() == (
            broken / "1-fcn32s" / name
        ).read_bytes()


def test_killed_between_the_end_of_a_step_and_its_pictures_nothing_is_missing(
    unbroken: Path, data: Path, tmp_path: Path
) -> None:
    """As a kill behind the last step's entry in run.json leaves it."""
    shutil.copytree(unbroken, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    record["state"] = "running"
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    (tmp_path / "run" / "curves.png").unlink()
    (tmp_path / "run" / "4-fcn8s" / "checkpoint-0000011.safetensors").write_bytes(b"old")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "run.json").write_text('{"schema": 1}')
    done = train(tmp_path, "--resume")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "curves.png").exists()
    assert not list((tmp_path / "run").rglob("checkpoint*"))
    assert same_run(unbroken, tmp_path / "run")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to whole consoles")
def test_ctrl_c_saves_the_work_and_says_how_to_go_on(
    unbroken: Path, data: Path, recipe_file: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        command(tmp_path, data, "--recipe", recipe_file, "--name", "run"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list((tmp_path / "run").glob("*/checkpoint.json")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, screen = process.communicate()
    assert process.returncode == 130, screen
    assert "the work done is saved. Go on with: hptl-deploy train --resume" in screen
    assert "Traceback" not in screen
    assert train_alone(tmp_path, "--resume").returncode == 0
    assert same_run(unbroken, tmp_path / "run")


def test_changed_data_cannot_be_resumed_on(recipe_file: Path, tmp_path: Path) -> None:
    folder = write_data_set(tmp_path / "drawn", count=5)
    source = tmp_path / "source"
    for name in ("a", "b"):
        (source / name).mkdir(parents=True)
        shutil.copy(folder / "images" / "frame00.png", source / name)
    process = subprocess.Popen(
        command(
            tmp_path / "runs", folder, "--recipe", recipe_file, "--name", "run",
            "--source-data", source,
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not (tmp_path / "runs" / "run" / "metrics.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    shutil.copy(folder / "images" / "frame01.png", source / "b")
    grown = train(tmp_path / "runs", "--resume")
    assert grown.returncode == 2
    assert f"source domain {source}: has changed since the run was started" in grown.stderr
    (source / "b" / "frame01.png").unlink()
    moved = folder.rename(tmp_path / "moved")
    gone = train(tmp_path / "runs", "--resume")
    assert gone.returncode == 2
    assert "Name its new place: hptl-deploy train NEWPLACE --resume" in gone.stderr
    folder = moved
    label = folder / "labels" / "frame00.png"
    label.write_bytes((folder / "labels" / "frame01.png").read_bytes())
    done = train(tmp_path / "runs", folder, "--resume")
    assert done.returncode == 2
    assert f"data set {folder}: has changed since the run was started on it" in done.stderr
    options = train(tmp_path / "runs", "--resume", "--width", "0.5", "--recipe", "hptl")
    assert options.returncode == 2
    assert "--recipe, --width cannot change it" in options.stderr
