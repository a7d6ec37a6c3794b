"""Every shipped recipe trains, is loaded again and judges a micrograph, in small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hptl_deploy.datasets import load_data_set
from hptl_train.compare.methods import load_method
from hptl_train.prepare import start_run
from hptl_train.recipe import Recipe, Wishes, load_recipe, recipe_names
from support.labelled import write_data_set
from support.sinks import Recorder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(tmp_path_factory.mktemp("data") / "drawn")


@pytest.mark.parametrize("name", recipe_names())
def test_a_shipped_recipe_runs_from_end_to_end(name: str, data: Path, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    wishes = Wishes(width=0.04, iterations=1, batch=2, source_data="none", precision="fp32")
    wishes = replace(wishes.fitting(recipe), recipe=name)
    sink = Recorder()
    training = start_run(data, wishes, "run", tmp_path, "cpu", sink)
    record = training.train()
    assert record["state"] == "finished"
    networks = [step["network"] for step in record["steps"]]
    if isinstance(recipe, Recipe):
        assert networks == [step.network for step in recipe.steps if step.network != "vgg19"]
    data_set = load_data_set(data)
    pixels, labels = data_set.read(data_set.split("test")[0])
    judged = load_method(training.run, data_set.phases, torch.device("cpu")).judged(pixels, labels)
    assert judged.classes.shape == labels.shape
    assert judged.classes.max() < len(data_set.phases)
    assert (judged.loss is None) == (name == "otsu")
    assert judged.loss is None or np.isfinite(judged.loss)
