"""Several processes share a batch and train what one process trains."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from safetensors.torch import load_file

from hptl_deploy.datasets import load_data_set
from hptl_train.building import build
from hptl_train.compare.methods import load_method
from hptl_train.predictor import Predictor
from hptl_train.recipe import load_chain
from hptl_train.run_folder import RunFolder
from hptl_train.validation import score
from support.labelled import write_data_set
from support.tiny import recipe

TRAIN = ["-m", "hptl_deploy.cli.main", "train"]
SEVERAL = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SGD = {
    "name": "sgd",
    "learning_rate": 0.01,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "schedule": {"name": "fixed"},
}


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
    chain = recipe(iterations=10, network={"dropout": 0.0})
    table = chain.model_dump(mode="json", exclude_none=True)
    for step in table["steps"]:
        # SGD moves a weight by its gradient; Adam would hide a wrong factor in it.
        step |= {"batch": 4, "l2": 0.02, "l2_reduction": "sum", "optimiser": SGD}
    path = tmp_path / "tiny.toml"
    path.write_text(tomli_w.dumps(table), encoding="utf-8")
    # Without step 1 on flat photographs: there a network as narrow as this one turns a rounding
    # error of 1e-7 into 1e-3 within ten iterations, in one process as in two.
    words = [data, "--recipe", path, "--runs", tmp_path, "--device", "cpu", "--source-data", "none"]
    single = run(*TRAIN, *words, "--name", "one")
    assert single.returncode == 0, single.stderr
    double = run(*SEVERAL, *TRAIN, *words, "--name", "two")
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
    # The first step's start is known: how far its weights went is what the gradients were.
    chain = RunFolder(tmp_path / "one").chain()
    start = build(chain, chain.steps[0], 2).network.state_dict()
    first, second = (
        load_file(tmp_path / name / "1-fcn32s" / "weights.safetensors") for name in ("one", "two")
    )
    for name, weights in start.items():
        moved = (first[name] - weights).norm()
        assert (first[name] - second[name]).norm() < 1e-5 * moved, name


@pytest.mark.slow
def test_the_scores_are_those_of_the_weights_that_are_saved(tmp_path: Path) -> None:
    """Batch normalisation counts each process's own share: all must score with one network."""
    data = write_data_set(tmp_path / "drawn")
    (data / "dataset.toml").write_text(
        '[[phases]]\nname = "matrix"\nvalue = 0\ncolour = [0, 0, 0]\n'
        '[[phases]]\nname = "disks"\nvalue = 1\ncolour = [255, 0, 0]\n'
        '[[phases]]\nname = "bars"\nvalue = 2\ncolour = [0, 255, 0]\n'
        "[split]\ntrain = 0.6\nval = 0.4\n",
        encoding="utf-8",
    )
    table = load_chain("deeplabv3plus").model_dump(mode="json", exclude_none=True)
    table["deeplab"] |= {"stem": 8, "widths": [4, 4, 6, 6], "blocks": [1, 1, 1, 1]}
    table["deeplab"] |= {"multi_grid": [1], "rates": [1, 2, 3]}
    table["deeplab"] |= {"aspp": 12, "low_level": 4, "decoder": 12}
    table |= {"crops": {"size": 64, "rare_share": 0.5}, "validation": {"every": 20}}
    table["steps"][0]["iterations"] = 5
    path = tmp_path / "tiny.toml"
    path.write_text(tomli_w.dumps(table), encoding="utf-8")
    words = [data, "--recipe", path, "--runs", tmp_path, "--device", "cpu", "--name", "two"]
    done = run(*SEVERAL, *TRAIN, *words)
    assert done.returncode == 0, done.stderr
    made = RunFolder(tmp_path / "two")
    found = made.read()["steps"][0]["validation"]
    data_set = load_data_set(data)
    method = load_method(made, data_set.phases, torch.device("cpu"))
    assert isinstance(method, Predictor)
    frames = [data_set.read(sample) for sample in data_set.split("val")]
    expected = score(method, frames, data_set.phases)
    assert found.pop("loss") == pytest.approx(expected.pop("loss"), rel=1e-6)
    assert found == expected


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_one_sentence(tmp_path: Path) -> None:
    data = write_data_set(tmp_path / "drawn")
    words = [data, "--runs", tmp_path / "runs", "--device", "cpu", "--batch", "3"]
    done = run(*SEVERAL, *TRAIN, *words)
    assert done.returncode != 0
    assert (
        "step vgg19: a batch of 3 cannot be shared out among 2 processes, 1 or more pictures each "
        "and all alike. Give a multiple with --batch" in done.stderr
    )
    assert not (tmp_path / "runs").exists()
