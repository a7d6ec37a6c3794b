"""What a step's loop is given, and what it gives back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from hptl_train.data import SharedBatches
from hptl_train.metrics import Metrics
from hptl_train.recipe import AugmentationTable, ComputeTable, StepTable, ValidationTable

Validate = Callable[[nn.Module], dict[str, Any]]


@dataclass
class StepJob:
    """Everything one step's loop needs; networks and data are made by the chain."""

    step: StepTable
    index: int
    seed: int
    module: nn.Module
    batches: SharedBatches
    augmentation: AugmentationTable
    validate: Validate | None
    validation: ValidationTable
    compute: ComputeTable
    checkpoint_seconds: float
    folder: Path
    metrics: Metrics
    metrics_start: int
    """Length of metrics.jsonl before the step's first line."""
    stop: threading.Event
    """Once set, the step saves its work behind the iteration in hand and ends."""


@dataclass(frozen=True)
class StepOutcome:
    """How a step ended."""

    iterations: int
    seconds: float
    train_loss: float
    """Mean cross-entropy over the last lines of metrics.jsonl, without any penalty."""
    validation: dict[str, Any] | None
    """Of the weights that are kept."""
    kept_iteration: int
    """The iteration whose weights are kept: the last, or the best on the validation frames."""
    metrics_bytes: int
