"""What training minimises, and how fast: loss, penalty, optimiser, schedule."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from hptl_deploy.phases import IGNORE
from hptl_train.recipe import OptimiserTable, ScheduleTable, StepTable


def cross_entropy(
    logits: Tensor, labels: Tensor, divisor: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Mean softmax cross-entropy per labelled pixel (or picture), nats.

    `logits` [N, K, H, W] with `labels` int64 [N, H, W], 255 = ignored; or [N, K] with [N],
    where 255 is a class like any other. The sum over classes is the paper's Eqs. 5-7; the
    mean is our reduction, theirs is not stated. Without a labelled pixel the loss is 0.
    `divisor` turns the count of labelled pixels into what is divided by, where the batch is
    only a share of one.
    """
    counted = labels != IGNORE if labels.ndim > 1 else torch.ones_like(labels, dtype=torch.bool)
    # Written out because torch's own loss over pixels adds up in no fixed order on a card.
    shares = functional.log_softmax(logits, dim=1)
    picked = shares.gather(1, labels.where(counted, 0).unsqueeze(1)).squeeze(1)
    labelled = counted.sum() if divisor is None else divisor(counted.sum())
    # In double precision the divisor would make the loss, and so the gradients, double.
    return -(picked * counted).sum() / labelled.clamp(min=1).to(picked.dtype)


def penalty(module: nn.Module, step: StepTable) -> Tensor | None:
    """L2: lambda times the mean (or sum) of all squared parameters; None where lambda is 0."""
    if step.l2 == 0:
        return None
    parameters = list(module.parameters())
    squares = torch.stack([parameter.square().sum() for parameter in parameters]).sum()
    if step.l2_reduction == "mean":
        squares = squares / sum(parameter.numel() for parameter in parameters)
    return step.l2 * squares


def make_optimiser(module: nn.Module, table: OptimiserTable) -> torch.optim.Optimizer:
    """SGD with momentum, or Adam, over all parameters: what was transferred trains on."""
    if table.name == "sgd":
        assert table.momentum is not None
        return torch.optim.SGD(
            module.parameters(),
            lr=table.learning_rate,
            momentum=table.momentum,
            weight_decay=table.weight_decay,
        )
    assert table.betas is not None
    first, second = table.betas
    return torch.optim.Adam(
        module.parameters(),
        lr=table.learning_rate,
        betas=(first, second),
        weight_decay=table.weight_decay,
    )


def learning_rate(table: OptimiserTable, iteration: int, iterations: int) -> float:
    """The rate of `iteration`, counted from 0: a function of it alone, so resuming is exact."""
    return table.learning_rate * _factor(table.schedule, iteration, iterations)


def _factor(schedule: ScheduleTable, iteration: int, iterations: int) -> float:
    if schedule.name == "exponential":
        assert schedule.factor is not None and schedule.every is not None
        return schedule.factor ** (iteration // schedule.every)
    if schedule.name == "one-cycle":
        # Smith and Topin 2018, with cosines: up from 1/25 of the rate, down to almost nothing.
        assert schedule.warm_up is not None
        rise = schedule.warm_up * iterations
        if iteration < rise:
            return _cosine(1 / 25, 1.0, iteration / rise)
        return _cosine(1.0, 1e-4, (iteration - rise) / max(1.0, iterations - rise))
    return 1.0


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
