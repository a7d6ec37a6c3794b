from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.chains import train_alone, write_recipe
from support.labelled import write_data_set
from support.tiny import recipe


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(tmp_path_factory.mktemp("data") / "drawn")


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A checkpoint behind every iteration, so that a kill falls between any two of them.
    chain = recipe(iterations=12, checkpoints={"seconds": 0})
    return write_recipe(tmp_path_factory.mktemp("recipe") / "tiny.toml", chain)


@pytest.fixture(scope="session")
def unbroken(data: Path, recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("unbroken")
    done = train_alone(runs, data, "--recipe", recipe_file, "--name", "run", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["state"] == "finished"
    assert "assuming the paper's phases" in done.stderr
    assert "source domain of step vgg19: photographs" in done.stderr
    return runs / "run"
