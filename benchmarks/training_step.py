"""An iteration of `hptl-deploy train` against a bare loop: what everything around it costs.

    python benchmarks/training_step.py --recipe hptl --width 0.25

The bare loop does nothing but zero_grad, forward, torch's own cross-entropy, backward and step, on
one batch that lies ready on the device. Ours draws a new batch each time, augments it, logs and
can be interrupted. Both start from the same weights and follow the recipe's [compute]; rounds take
turns, the first is not counted.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

from hptl_deploy.phases import IGNORE, PAPER_PHASES
from hptl_deploy.sink import Silent
from hptl_deploy.synthesis import make_frame
from hptl_train.building import build, crop_side
from hptl_train.data import Batch
from hptl_train.data.crops import Crops, Frame
from hptl_train.devices import Team, open_team
from hptl_train.job import StepJob
from hptl_train.loop import run_step
from hptl_train.metrics import Metrics
from hptl_train.objective import make_optimiser
from hptl_train.recipe import ComputeTable, Recipe, StepTable, ValidationTable, Wishes, load_chain

_FRAMES = 4


def main() -> None:
    """Print seconds per iteration of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="hptl")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--precision")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--iterations", type=int, default=10, help="per round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    wishes = Wishes(
        width=options.width,
        batch=options.batch,
        precision=options.precision,
        iterations=options.iterations,
    )
    recipe = wishes.chain(load_chain(options.recipe))
    step = recipe.steps[-1]
    team = open_team(options.device, recipe.compute)
    frames = [_frame(number) for number in range(_FRAMES)]
    crops = Crops(frames, len(PAPER_PHASES), crop_side(recipe), recipe, step)
    ways: dict[str, Callable[[], float]] = {
        "bare loop": lambda: _bare(recipe, step, crops(0), team),
        "hptl-deploy": lambda: _ours(recipe, step, crops, team),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(1 + options.rounds):
        for name, way in ways.items():
            seconds = way()
            if number:
                taken[name].append(seconds)
    print(
        f"{step.network} of {recipe.name}, width {options.width:g}, {step.batch} crops of "
        f"{crop_side(recipe)} px, {team.device}, {team.precision}, "
        f"{torch.get_num_threads()} threads"
    )
    for name, times in taken.items():
        print(f"  {name:12} {median(times):.4f} s per iteration (fastest {min(times):.4f})")
    ratios = [o / b for o, b in zip(taken["hptl-deploy"], taken["bare loop"], strict=True)]
    print(f"  ratio        {median(ratios):.3f} (median of {len(ratios)} pairs)")


def _frame(number: int) -> Frame:
    made = make_frame(seed=1, number=number, height=960, width=1280)
    return made.pixels(), made.labels


def _bare(recipe: Recipe, step: StepTable, batch: Batch, team: Team) -> float:
    module = build(recipe, step, len(PAPER_PHASES)).to(team.device).train()
    optimiser = make_optimiser(module, step.optimiser)
    pictures = torch.from_numpy(batch.pictures).to(team.device)
    labels = torch.from_numpy(batch.labels).to(team.device)
    module, optimiser = team.fabric.setup(laid_out(module, recipe.compute), optimiser)
    _finish(team)
    begun = time.perf_counter()
    for _ in range(step.iterations):
        optimiser.zero_grad()
        loss = functional.cross_entropy(module(pictures), labels, ignore_index=IGNORE)
        team.fabric.backward(loss)
        optimiser.step()
    _finish(team)
    return (time.perf_counter() - begun) / step.iterations


def laid_out(module: nn.Module, compute: ComputeTable) -> nn.Module:
    """`module` in the memory format, and compiled, as `train` would have it."""
    if compute.channels_last:
        # torch's types know this form for tensors alone.
        cast("Any", module).to(memory_format=torch.channels_last)
    return cast("nn.Module", torch.compile(module)) if compute.compile else module


def _ours(recipe: Recipe, step: StepTable, crops: Crops, team: Team) -> float:
    with tempfile.TemporaryDirectory() as folder:
        job = StepJob(
            step=step,
            index=0,
            seed=0,
            module=build(recipe, step, len(PAPER_PHASES)),
            batches=crops,
            augmentation=recipe.augmentation,
            validate=None,
            validation=ValidationTable(every=step.iterations),
            compute=recipe.compute,
            checkpoint_seconds=3600,
            folder=Path(folder),
            metrics=Metrics(Path(folder) / "metrics.jsonl"),
            metrics_start=0,
            stop=threading.Event(),
        )
        return run_step(job, team, Silent()).seconds / step.iterations


def _finish(team: Team) -> None:
    if team.device.type == "cuda":
        torch.cuda.synchronize(team.device)


if __name__ == "__main__":
    main()
