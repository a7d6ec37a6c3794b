"""The benchmarks measure what they say they measure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import training_step
from hptl_train.building import build
from hptl_train.data import Batch
from hptl_train.devices import open_team
from hptl_train.recipe import ComputeTable, Wishes, load_chain


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_bare_loop_follows_the_recipes_memory_format(
    channels_last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes = Wishes(channels="4,4,6,6,8", fc=12, iterations=2, precision="fp32")
    recipe = wishes.chain(load_chain("fcn8s"))
    compute = recipe.compute.model_copy(update={"channels_last": channels_last})
    recipe = recipe.model_copy(update={"compute": compute})
    module = build(recipe, recipe.steps[-1], 3)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    monkeypatch.setattr(training_step, "build", lambda *_: module)
    rng = np.random.default_rng(0)
    batch = Batch(
        rng.integers(0, 256, (2, 64, 64, 3), np.uint8), rng.integers(0, 3, (2, 64, 64), np.int64)
    )
    team = open_team("cpu", compute)
    assert training_step._bare(recipe, recipe.steps[-1], batch, team) > 0
    kernels = [one.weight for one in module.modules() if isinstance(one, nn.Conv2d)]
    laid = {
        kernel.is_contiguous(memory_format=torch.channels_last)
        for kernel in kernels
        if kernel.shape[1] > 1 and kernel.shape[2] > 1  # others lie both ways at once
    }
    assert laid == {channels_last}
    assert any(not torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("compiled", [False, True])
def test_the_bare_loop_is_compiled_where_the_recipe_says_so(compiled: bool) -> None:
    module = nn.Conv2d(3, 4, 3)
    found = training_step.laid_out(module, ComputeTable(compile=compiled))
    assert (found is module) is not compiled
    assert [id(one) for one in found.parameters()] == [id(one) for one in module.parameters()]
