"""The training loop of one step, checkpointed so that a killed run ends as an unbroken one."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from hptl_deploy.errors import EnvironmentLacks, Interrupted, RunError
from hptl_deploy.sink import Sink
from hptl_train.checkpoint import Progress, clear_leftovers, load_checkpoint, save_checkpoint
from hptl_train.data import Batch, Batches, prefetched
from hptl_train.objective import cross_entropy, learning_rate, make_optimiser, penalty
from hptl_train.recipe import StepTable

if TYPE_CHECKING:
    from lightning_fabric import Fabric


LOG_EVERY = 10
"""Iterations per line of metrics.jsonl: the mean of their losses."""
Validate = Callable[[nn.Module], dict[str, Any]]


class Metrics:
    """`metrics.jsonl`: one JSON document a line, cut back on resuming."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def cut(self, length: int) -> None:
        """Forget everything behind the first `length` bytes."""
        if self._path.exists() or length:
            with self._path.open("ab") as handle:
                if handle.tell() < length:
                    raise RunError(f"{self._path}: is shorter than its checkpoint says")
                handle.truncate(length)

    def add(self, document: dict[str, Any]) -> None:
        """Append a line."""
        with self._path.open("ab") as handle:
            handle.write((json.dumps(document) + "\n").encode())

    def losses(self, step: str) -> list[float]:
        """The training losses of a step, oldest first."""
        lines = [json.loads(line) for line in self._path.read_text(encoding="utf-8").splitlines()]
        return [line["loss"] for line in lines if line["step"] == step and "loss" in line]

    def flushed_length(self) -> int:
        """Length in bytes, after everything written has reached the disk."""
        with self._path.open("ab") as handle:
            os.fsync(handle.fileno())
            return handle.tell()


@dataclass
class StepJob:
    """Everything one step's loop needs; networks and data are made by the chain."""

    step: StepTable
    index: int
    seed: int
    module: nn.Module
    batches: Batches
    validate: Validate | None
    validate_every: int
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
    metrics_bytes: int


_LAST_LINES = 10


def run_step(job: StepJob, fabric: Fabric, sink: Sink) -> StepOutcome:
    """Train one step to its end, from its checkpoint where there is one.

    Raises RunError when the loss stops being a number, and Interrupted when the user asked
    to stop: after the iteration in hand, with everything saved.
    """
    clear_leftovers(job.folder)
    loop = _Loop(job, fabric, sink)
    validation = loop.run()
    return StepOutcome(
        iterations=job.step.iterations,
        seconds=loop.seconds(),
        train_loss=_last_loss(job),
        validation=validation,
        metrics_bytes=job.metrics.flushed_length(),
    )


@contextmanager
def _memory_said(step: StepTable) -> Iterator[None]:
    """Turn a lack of memory, the card's or the machine's, into a sentence."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as exc:
        raise EnvironmentLacks(
            f"step {step.name}: the device has too little memory for batches of {step.batch}",
            hint="Start a new run with a smaller --width, or a smaller batch in its recipe",
        ) from exc


def interrupted(step: StepTable, iteration: int) -> Interrupted:
    """What is raised once a stop was asked for and everything is saved."""
    return Interrupted(
        f"interrupted in step {step.name} after iteration {iteration}; the work done is saved",
        hint="Go on with: hptl-deploy train --resume",
    )


class _Loop:
    """The loop's moving parts, so that its body reads as one iteration after another."""

    def __init__(
        self,
        job: StepJob,
        fabric: Fabric,
        sink: Sink,
    ) -> None:
        self.job, self.fabric = job, fabric
        # Fabric's wrappers move data and scale gradients; the bare optimiser is what a
        # checkpoint holds. It is restored behind `setup`, which moves parameters to the
        # device but not an optimiser's state.
        self.bare_optimiser = make_optimiser(job.module, job.step.optimiser)
        self.module, self.optimiser = fabric.setup(job.module, self.bare_optimiser)
        done = load_checkpoint(job.folder, job.module, self.bare_optimiser)
        if done is None:
            done = Progress(0, (), job.metrics_start, 0.0)
        job.metrics.cut(done.metrics_bytes)
        self.iteration = done.iteration
        self.window: list[Tensor | float] = list(done.window)
        self.sink = sink
        self._earlier_seconds = done.seconds
        self._started = time.monotonic()
        self._next_save = self._started + job.checkpoint_seconds

    def seconds(self) -> float:
        """Training time of this step, earlier attempts included."""
        return self._earlier_seconds + time.monotonic() - self._started

    def run(self) -> dict[str, Any] | None:
        """All remaining iterations; returns the last validation."""
        step = self.job.step
        validation = None
        title = f"{self.job.index + 1} {step.network}"
        stop = self.job.stop
        with self.sink.progress(title, step.iterations, "iterations", self.iteration) as bar:
            for batch in prefetched(self.job.batches, self.iteration, step.iterations):
                with _memory_said(step):
                    self._iterate(batch)
                note = self._log()
                ended = self.iteration == step.iterations
                if ended or self.iteration % self.job.validate_every == 0:
                    with _memory_said(step):
                        validation = self._validate() or validation
                due = stop.is_set() or time.monotonic() >= self._next_save
                if due and not ended:
                    self._save()
                    if stop.is_set():
                        raise interrupted(step, self.iteration)
                bar.advance(1, note)
        return validation

    def _iterate(self, batch: Batch) -> None:
        step, iteration = self.job.step, self.iteration
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(step.optimiser, iteration, step.iterations)
        # Dropout then depends on the iteration alone, not on what ran before it.
        torch.manual_seed(_seed(self.job.seed, self.job.index, iteration))
        self.module.train()
        pictures = self.fabric.to_device(torch.from_numpy(batch.pictures))
        labels = self.fabric.to_device(torch.from_numpy(batch.labels))
        loss = cross_entropy(self.module(pictures), labels)
        extra = penalty(self.job.module, step)
        self.optimiser.zero_grad()
        self.fabric.backward(loss if extra is None else loss + extra)
        self.optimiser.step()
        self.window.append(loss.detach())
        self.iteration += 1

    def _log(self) -> str:
        if self.iteration % LOG_EVERY and self.iteration != self.job.step.iterations:
            return ""
        losses = [float(loss) for loss in self.window]
        mean = sum(losses) / len(losses)
        if math.isnan(mean):
            raise RunError(
                f"step {self.job.step.name}: the loss is no number any more after iteration "
                f"{self.iteration}",
                hint="Start a new run with a lower learning rate in its recipe",
            )
        self.window = []
        rate = learning_rate(self.job.step.optimiser, self.iteration - 1, self.job.step.iterations)
        self.job.metrics.add(
            {
                "step": self.job.step.name,
                "iteration": self.iteration,
                "loss": mean,
                "learning_rate": rate,
            }
        )
        return f"loss {mean:.4f}"

    def _validate(self) -> dict[str, Any] | None:
        if self.job.validate is None:
            return None
        self.job.module.eval()
        scores = self.job.validate(self.job.module)
        self.job.metrics.add(
            {"step": self.job.step.name, "iteration": self.iteration, "validation": scores}
        )
        return scores

    def _save(self) -> None:
        begun = time.monotonic()
        progress = Progress(
            self.iteration,
            tuple(float(loss) for loss in self.window),
            self.job.metrics.flushed_length(),
            self.seconds(),
        )
        save_checkpoint(self.job.folder, progress, self.job.module, self.bare_optimiser)
        ended = time.monotonic()
        # A large network takes seconds to save: never more than a twentieth of the time.
        pause = max(self.job.checkpoint_seconds, 20 * (ended - begun))
        self._next_save = ended + (pause if self.job.checkpoint_seconds else 0)


def _seed(*words: int) -> int:
    """One number for torch's generator that `words` determine."""
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])


def _last_loss(job: StepJob) -> float:
    lines = job.metrics.losses(job.step.name)[-_LAST_LINES:]
    return sum(lines) / len(lines)
