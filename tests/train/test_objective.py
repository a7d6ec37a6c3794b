"""Loss, penalty and schedules against closed forms and other implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn

from hptl_train.objective import cross_entropy, learning_rate, make_optimiser, penalty
from hptl_train.recipe import OptimiserTable, load_chain


def adam(schedule: dict[str, object]) -> OptimiserTable:
    table = {
        "name": "adam",
        "learning_rate": 0.01,
        "betas": [0.9, 0.999],
        "weight_decay": 0.0,
        "schedule": schedule,
    }
    return OptimiserTable.model_validate(table)


def test_cross_entropy_is_the_mean_over_labelled_pixels() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 4, 5, 6))
    labels = rng.integers(0, 4, (2, 5, 6))
    labels[:, 0] = 255
    found = cross_entropy(torch.tensor(logits), torch.tensor(labels))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    kept = labels != 255
    expected = log_loss(labels[kept], shares.transpose(0, 2, 3, 1)[kept], labels=range(4))
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_cross_entropy_without_a_label_is_zero() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = cross_entropy(logits, torch.full((1, 4, 4), 255))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_in_a_source_domain_class_255_is_a_class() -> None:
    """ImageNet has a thousand classes; only in label maps does 255 mean ignore."""
    logits = torch.randn(6, 300, dtype=torch.float64)
    labels = torch.tensor([255, 3, 255, 0, 299, 255])
    found = cross_entropy(logits, labels)
    expected = log_loss(labels.numpy(), torch.softmax(logits, 1).numpy(), labels=range(300))
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("reduction", "expected"), [("mean", 0.5 * 50 / 6), ("sum", 0.5 * 50)])
def test_l2_is_lambda_times_the_squares(reduction: str, expected: float) -> None:
    module = nn.Linear(2, 2)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        module.bias.copy_(torch.tensor([2.0, 4.0]))  # 1 + 4 + 9 + 16 + 4 + 16 = 50
    step = load_chain("hptl").steps[1]
    step = step.model_copy(update={"l2": 0.5, "l2_reduction": reduction})
    found = penalty(module, step)
    assert found is not None
    assert found.item() == pytest.approx(expected)
    assert penalty(module, step.model_copy(update={"l2": 0.0})) is None


def test_exponential_schedule_is_torchs() -> None:
    table = adam({"name": "exponential", "factor": 0.95, "every": 3})
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.01)
    theirs = torch.optim.lr_scheduler.StepLR(optimiser, step_size=3, gamma=0.95)
    for iteration in range(20):
        assert learning_rate(table, iteration, 20) == pytest.approx(theirs.get_last_lr()[0])
        optimiser.step()
        theirs.step()


def test_one_cycle_rises_and_falls_by_cosines() -> None:
    table = adam({"name": "one-cycle", "warm_up": 0.25})
    rates = [learning_rate(table, iteration, 1000) for iteration in range(1000)]
    assert rates[0] == pytest.approx(0.01 / 25)
    assert max(rates) == rates[250] == pytest.approx(0.01)
    halfway_down = 250 + 375
    assert rates[halfway_down] == pytest.approx(0.01 * (1 + 1e-4) / 2)
    assert rates[125] == pytest.approx(0.01 * (1 + 1 / 25) / 2)
    assert rates[-1] < 0.01 * 2e-4
    assert all(math.isfinite(rate) and rate > 0 for rate in rates)


def test_optimisers_are_the_recipes() -> None:
    recipe = load_chain("hptl")
    module = nn.Linear(1, 1)
    sgd, second = (make_optimiser(module, step.optimiser) for step in recipe.steps[:2])
    assert isinstance(sgd, torch.optim.SGD)
    assert (sgd.defaults["lr"], sgd.defaults["momentum"]) == (0.001, 0.9)
    assert isinstance(second, torch.optim.Adam)
    assert (second.defaults["lr"], second.defaults["betas"]) == (1e-4, (0.9, 0.999))
