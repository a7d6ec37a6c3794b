"""The training loop of one step, checkpointed so that a killed run ends as an unbroken one."""

from __future__ import annotations

import math
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from hptl_deploy.errors import Interrupted, RunError
from hptl_deploy.sink import Sink
from hptl_train.checkpoint import (
    Progress,
    best_file,
    clear_leftovers,
    load_checkpoint,
    load_weights,
    restore_weights,
    save_best,
    save_checkpoint,
    save_weights,
)
from hptl_train.data import Batch, Batches, prefetched
from hptl_train.data.photometric import Photometric, applied
from hptl_train.devices import Team
from hptl_train.job import StepJob, StepOutcome
from hptl_train.metrics import read_metrics
from hptl_train.objective import cross_entropy, learning_rate, make_optimiser, penalty
from hptl_train.recipe import StepTable

LOG_EVERY = 10
"""Iterations per line of metrics.jsonl: the mean of their losses."""
LAST = "last.safetensors"
"""The weights after a step's last iteration, where those that it hands on are others."""
_LAST_LINES = 10


def run_step(job: StepJob, team: Team, sink: Sink) -> StepOutcome:
    """Train one step to its end, from its checkpoint where there is one.

    `job.module` holds the weights that are kept afterwards, in every process; where those are
    not the last ones, the last are in the step's folder. Raises RunError when the loss stops
    being a number, and Interrupted when the user asked to stop: after the iteration in hand,
    with everything saved.
    """
    if team.leads:
        clear_leftovers(job.folder)
    team.wait()
    loop = _Loop(job, team, sink)
    last_validation = loop.run()
    kept = loop.kept()
    return StepOutcome(
        iterations=loop.iteration,
        seconds=loop.seconds(),
        train_loss=_last_loss(job) if team.leads else math.nan,
        validation=last_validation if kept == loop.iteration else loop.validation_of(kept),
        kept_iteration=kept,
        metrics_bytes=job.metrics.flushed_length() if team.leads else 0,
    )


def interrupted(step: StepTable, iteration: int) -> Interrupted:
    """What is raised once a stop was asked for and everything is saved."""
    return Interrupted(
        f"interrupted in step {step.name} after iteration {iteration}; the work done is saved",
        hint="Go on with: hptl-deploy train --resume",
    )


class _Loop:
    """The loop's moving parts, so that its body reads as one iteration after another."""

    def __init__(self, job: StepJob, team: Team, sink: Sink) -> None:
        self.job, self.team, self.sink = job, team, sink
        # Fabric's wrappers move data, scale gradients and average them over processes; the
        # bare optimiser is what a checkpoint holds. It is restored behind `setup`, which
        # moves parameters to the device but not an optimiser's state.
        self.bare_optimiser = make_optimiser(job.module, job.step.optimiser)
        if job.compute.channels_last:
            # torch's types know this form for tensors alone.
            cast("Any", job.module).to(memory_format=torch.channels_last)
        trained = (
            cast("nn.Module", torch.compile(job.module)) if job.compute.compile else job.module
        )
        self.module, self.optimiser = team.fabric.setup(trained, self.bare_optimiser)
        start = Progress(0, (), job.metrics_start, 0.0)
        self.progress = load_checkpoint(job.folder, job.module, self.bare_optimiser) or start
        self._named = self.progress.best_weights
        team.restore_scaler(self.progress.scaler)
        # The first process will replace the checkpoint: not before all have read it.
        team.wait()
        job.metrics.cut(self.progress.metrics_bytes)
        self.iteration = self.progress.iteration
        self.window: list[Tensor | float] = list(self.progress.window)
        self.photometric = Photometric(job.augmentation)
        self._started = time.monotonic()
        self._next_save = self._started + job.checkpoint_seconds

    def seconds(self) -> float:
        """Training time of this step, earlier attempts included."""
        return self.progress.seconds + time.monotonic() - self._started

    def run(self) -> dict[str, Any] | None:
        """All remaining iterations; returns the last validation."""
        step, every = self.job.step, self.job.validation.every
        validation = None
        title = f"{self.job.index + 1} {step.network}"
        with (
            closing(prefetched(self._batches(), self.iteration, step.iterations)) as upcoming,
            self.sink.progress(title, step.iterations, "iterations", self.iteration) as bar,
        ):
            for batch in upcoming:
                self._iterate(batch)
                ended = self.iteration == step.iterations
                note = self._log(ended)
                if ended or self.iteration % every == 0:
                    validation = self._validate(ended) or validation
                    if self._early() and not ended:
                        self._log(True)
                        self._say_early()
                        break
                if not ended:
                    self._save_if_due()
                bar.advance(1, note)
        return validation

    def _batches(self) -> Batches:
        """This process's share, with what is done to pictures on the CPU."""
        batches: Batches = self.job.batches
        if self.team.size > 1:
            batches = partial(self.job.batches, places=self.team.share(self.job.step.batch))
        # On a card the photometric part runs there, behind the transfer.
        return applied(batches, self.photometric) if self.team.device.type == "cpu" else batches

    def _iterate(self, batch: Batch) -> None:
        step, iteration = self.job.step, self.iteration
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(step.optimiser, iteration, step.iterations)
        # Dropout then depends on the iteration alone, not on what ran before it.
        rank = (self.team.rank,) if self.team.rank else ()
        torch.manual_seed(_seed(self.job.seed, self.job.index, iteration, *rank))
        self.module.train()
        fabric = self.team.fabric
        pictures = fabric.to_device(torch.from_numpy(batch.pictures))
        labels = fabric.to_device(torch.from_numpy(batch.labels))
        if batch.photometry is not None:
            pictures = self.photometric(pictures, batch.photometry)
        loss = cross_entropy(self.module(pictures), labels, self._over_all)
        extra = penalty(self.job.module, step)
        self.optimiser.zero_grad()
        fabric.backward(loss if extra is None else loss + extra)
        self.optimiser.step()
        self.window.append(loss.detach())
        self.iteration += 1

    def _over_all(self, labelled: Tensor) -> Tensor:
        """Labelled pixels per process: the mean over one batch, not a mean of the shares' means."""
        if self.team.size == 1:
            return labelled
        total = self.team.fabric.all_reduce(labelled.double(), reduce_op="sum")
        assert isinstance(total, Tensor)
        return total / self.team.size

    def _log(self, ended: bool) -> str:
        if not self.window or (self.iteration % LOG_EVERY and not ended):
            return ""
        # Shares of one mean: their mean over the processes is the batch's loss.
        losses = self.team.sums([float(loss) / self.team.size for loss in self.window])
        mean = sum(losses) / len(losses)
        if math.isnan(mean):
            raise RunError(
                f"step {self.job.step.name}: the loss is no number any more after iteration "
                f"{self.iteration}",
                hint="Start a new run with a lower learning rate in its recipe",
            )
        self.window = []
        rate = learning_rate(self.job.step.optimiser, self.iteration - 1, self.job.step.iterations)
        self._add({"loss": mean, "learning_rate": rate})
        return f"loss {mean:.4f}"

    def _validate(self, ended: bool) -> dict[str, Any] | None:
        # What is scored, and kept after the last iteration, is one network in all processes.
        self.team.copy_buffers(self.job.module)
        if self.job.validate is None:
            return None
        self.job.module.eval()
        scores = self.job.validate(self.job.module)
        self._add({"validation": scores})
        best, found = self.progress.best, scores.get("mean_iou")
        if found is not None and (best is None or found > best[1]):
            self.progress = replace(self.progress, best=(self.iteration, found), best_weights=None)
            if self.job.validation.keep == "best" and not ended:
                self._keep_best()
        return scores

    def _keep_best(self) -> None:
        name = best_file(self.iteration)
        if self.team.leads:
            save_best(self.job.folder, name, self.job.module, self._named)
        self.progress = replace(self.progress, best_weights=name)

    def kept(self) -> int:
        """Put the weights that the step hands on into the module; returns their iteration."""
        job, best = self.job, self.progress.best
        if job.validation.keep == "best" and best is None:
            self.sink.note(
                f"step {job.step.name}: there is no labelled validation frame to tell the best "
                "weights by, so the last are kept"
            )
        last = job.folder / LAST
        if best is None or self.progress.best_weights is None:
            if self.team.leads:
                last.unlink(missing_ok=True)  # of an attempt that was killed at its end
            return self.iteration
        if self.team.leads:
            # Named as in what is handed on: without the layers round the network.
            save_weights(last, job.module.get_submodule("network"))
        self.team.wait()
        path = job.folder / self.progress.best_weights
        restore_weights(job.module, load_weights(path), path)
        return best[0]

    def validation_of(self, iteration: int) -> dict[str, Any] | None:
        """The scores after `iteration`; None in all but the first process."""
        if not self.team.leads:
            return None
        lines = read_metrics(self.job.metrics.path, self.job.step.name)
        wanted = (ln for ln in lines if ln["iteration"] == iteration)
        found: dict[str, Any] = next(ln["validation"] for ln in wanted if "validation" in ln)
        return found

    def _early(self) -> bool:
        patience, best = self.job.validation.patience, self.progress.best
        if patience is None or best is None:
            return False
        return bool(self.iteration - best[0] >= patience * self.job.validation.every)

    def _say_early(self) -> None:
        assert self.progress.best is not None
        iteration, found = self.progress.best
        self.sink.note(
            f"step {self.job.step.name}: ends early after iteration {self.iteration}; the "
            f"validation frames' mean IoU was best after iteration {iteration} ({found:.3f})"
        )

    def _add(self, entry: dict[str, Any]) -> None:
        self.job.metrics.add({"step": self.job.step.name, "iteration": self.iteration, **entry})

    def _save_if_due(self) -> None:
        if self.team.size > 1 and self.iteration % LOG_EVERY:
            return  # asking one another costs time, and a window holds one process's shares
        # All must stop behind the same iteration.
        stop = any(self.team.sums([float(self.job.stop.is_set())]))
        if self.team.leads and (stop or time.monotonic() >= self._next_save):
            self._save()
        if stop:
            raise interrupted(self.job.step, self.iteration)

    def _save(self) -> None:
        begun = time.monotonic()
        progress = replace(
            self.progress,
            iteration=self.iteration,
            window=tuple(float(loss) for loss in self.window),
            metrics_bytes=self.job.metrics.flushed_length(),
            seconds=self.seconds(),
            scaler=self.team.scaler(),
        )
        save_checkpoint(self.job.folder, progress, self.job.module, self.bare_optimiser)
        self._named = progress.best_weights
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
