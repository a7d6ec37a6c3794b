"""Several processes share a batch and train what one process trains."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from safetensors.torch import load_file

from support.labelled import write_data_set
from support.tiny import recipe

TRAIN = ["-m", "hptl_deploy.cli.main", "train"]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    data = write_data_set(tmp_path / "drawn")
    # Labels left out unevenly: a mean of the shares' means would not be the batch's mean.
    (data / "dataset.toml").write_text(
        'ignore = 2\n[[phases]]\nname = "matrix"\nvalue = 0\ncolour = [0, 0, 0]\n'
        '[[phases]]\nname = "disks"\nvalue = 1\ncolour = [255, 0, 0]\n'
        "[split]\ntrain = 0.8\nval = 0.2\n",
        encoding="utf-8",
    )
    # Without dropout, whose masks would differ.
    table = recipe(iterations=10, network={"dropout": 0.0}).model_dump(
        mode="json", exclude_none=True
    )
    for step in table["steps"]:
        step["batch"] = 4
    path = tmp_path / "tiny.toml"
    path.write_text(tomli_w.dumps(table), encoding="utf-8")
    # Without step 1 on flat photographs: there a network as narrow as this one turns a rounding
    # error of 1e-7 into 1e-3 within ten iterations, in one process as in two.
    words = [data, "--recipe", path, "--runs", tmp_path, "--device", "cpu", "--source-data", "none"]
    single = run(*TRAIN, *words, "--name", "one")
    assert single.returncode == 0, single.stderr
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    double = run(*several, *TRAIN, *words, "--name", "two")
    assert double.returncode == 0, double.stderr
    assert double.stdout.count("run finished") == 1  # one process speaks
    one, two = lines(tmp_path / "one"), lines(tmp_path / "two")
    assert [line["iteration"] for line in one] == [line["iteration"] for line in two]
    for first, second in zip(one, two, strict=True):
        if "loss" in first:
            assert second["loss"] == pytest.approx(first["loss"], abs=1e-5)
        else:
            assert second["validation"]["pixels"] == first["validation"]["pixels"]
            assert second["validation"]["loss"] == pytest.approx(
                first["validation"]["loss"], abs=1e-5
            )
    record = json.loads((tmp_path / "two" / "run.json").read_text())
    assert (record["processes"], record["state"]) == (2, "finished")
    final = "3-fcn8s/weights.safetensors"
    left, right = load_file(tmp_path / "one" / final), load_file(tmp_path / "two" / final)
    for name, weights in left.items():
        # Adam's first steps are of its rate's size whatever the gradient's: where that is
        # rounding alone, a weight may go the other way.
        assert (weights - right[name]).abs().max() < 3 * 10 * 1e-4, name


def test_a_batch_that_cannot_be_shared_is_one_sentence(tmp_path: Path) -> None:
    data = write_data_set(tmp_path / "drawn")
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [data, "--runs", tmp_path / "runs", "--device", "cpu", "--batch", "3"]
    done = run(*several, *TRAIN, *words)
    assert done.returncode != 0
    assert (
        "step vgg19: a batch of 3 cannot be shared out among 2 processes, 1 or more pictures each "
        "and all alike. Give a multiple with --batch" in done.stderr
    )
    assert not (tmp_path / "runs").exists()
