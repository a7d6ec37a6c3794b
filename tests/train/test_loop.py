"""The loop of one step: which weights it keeps, and when it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hptl_deploy.errors import Interrupted, UsageError
from hptl_train.building import build
from hptl_train.checkpoint import load_weights
from hptl_train.data import Batch
from hptl_train.devices import open_team
from hptl_train.job import StepJob, StepOutcome
from hptl_train.loop import run_step
from hptl_train.metrics import Metrics
from hptl_train.recipe import ComputeTable, ValidationTable, Wishes
from support.sinks import Recorder
from support.tiny import recipe

SCORES = (0.2, 0.5, 0.4, 0.3, 0.45)
"""Mean IoU of the validations after iterations 2, 4, 6, 8, 10."""


def draw(iteration: int, places: range | None = None) -> Batch:
    rng = np.random.default_rng(iteration)
    pictures = rng.integers(0, 256, (2, 32, 32, 3), np.uint8)
    return Batch(pictures, (pictures[..., 0] > 127).astype(np.int64))


PLAIN = ComputeTable()
Validated = Callable[[int, threading.Event], None]


def steps_of(
    folder: Path,
    validation: ValidationTable,
    compute: ComputeTable = PLAIN,
    scores: tuple[float | None, ...] | None = SCORES,
    start: int = 0,
    validated: Validated = lambda iteration, stop: None,
) -> tuple[StepOutcome, nn.Module, dict[int, dict[str, Any]], Recorder]:
    """Train 10 iterations; (outcome, module, weights at each validation, what was said).

    `scores` are the mean IoUs of the validations, every two iterations from the `start`th on;
    `validated` is called with the iteration before each is given, and may set the stop.
    """
    # Without dropout, whose masks a compiled step draws otherwise.
    chain = recipe(iterations=10, network={"dropout": 0.0})
    step = chain.steps[-1]
    module = build(chain, step, 2)
    seen: dict[int, dict[str, Any]] = {}
    stop = threading.Event()

    def validate(network: nn.Module) -> dict[str, Any]:
        iteration = start + 2 * len(seen) + 2
        seen[iteration] = {k: v.clone() for k, v in network.state_dict().items()}
        validated(iteration, stop)
        assert scores is not None
        return {"loss": 1.0, "accuracy": 0.9, "mean_iou": scores[iteration // 2 - 1]}

    folder.mkdir(exist_ok=True)
    sink = Recorder()
    job = StepJob(
        step=step,
        index=3,
        seed=0,
        module=module,
        batches=draw,
        augmentation=chain.augmentation,
        validate=None if scores is None else validate,
        validation=validation,
        compute=compute,
        checkpoint_seconds=1000,
        folder=folder,
        metrics=Metrics(folder / "metrics.jsonl"),
        metrics_start=0,
        stop=stop,
    )
    return run_step(job, open_team("cpu", compute), sink), module, seen, sink


def same(module: nn.Module, weights: dict[str, Any]) -> bool:
    return all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())


def test_the_last_weights_are_kept_unless_asked_otherwise(tmp_path: Path) -> None:
    outcome, module, seen, _ = steps_of(tmp_path / "a", ValidationTable(every=2))
    assert (outcome.iterations, outcome.kept_iteration) == (10, 10)
    assert outcome.validation is not None and outcome.validation["mean_iou"] == 0.45
    assert same(module, seen[10])
    assert not same(module, seen[4])


def test_the_best_weights_can_be_kept(tmp_path: Path) -> None:
    outcome, module, seen, _ = steps_of(tmp_path / "a", ValidationTable(every=2, keep="best"))
    assert (outcome.iterations, outcome.kept_iteration) == (10, 4)
    assert outcome.validation is not None and outcome.validation["mean_iou"] == 0.5
    assert same(module, seen[4])
    last = load_weights(tmp_path / "a" / "last.safetensors")
    assert {f"network.{name}" for name in last} == set(seen[10])
    assert all(torch.equal(value, seen[10][f"network.{name}"]) for name, value in last.items())


def test_where_the_last_weights_are_best_there_are_no_others(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "last.safetensors").write_bytes(b"of an attempt that was killed")
    scores = (0.2, 0.5, 0.4, 0.3, 0.6)
    table = ValidationTable(every=2, keep="best")
    outcome, module, seen, _ = steps_of(tmp_path / "a", table, scores=scores)
    assert outcome.kept_iteration == 10
    assert outcome.validation is not None and outcome.validation["mean_iou"] == 0.6
    assert same(module, seen[10])
    assert not (tmp_path / "a" / "last.safetensors").exists()


@pytest.mark.parametrize("scores", [None, (None,) * 5])
def test_without_labelled_frames_there_is_no_best(
    tmp_path: Path, scores: tuple[None, ...] | None
) -> None:
    table = ValidationTable(every=2, keep="best")
    outcome, *_, sink = steps_of(tmp_path / "a", table, scores=scores)
    assert outcome.kept_iteration == 10
    assert sink.notes == [
        "step fcn8s: there is no labelled validation frame to tell the best weights by, so the "
        "last are kept"
    ]


class Killed(Exception):
    """In the place of the end of a process."""


def test_the_best_weights_belong_to_their_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    table = ValidationTable(every=2, keep="best")

    def stopped(iteration: int, stop: threading.Event) -> None:
        if iteration == 6:
            stop.set()

    with pytest.raises(Interrupted):
        steps_of(folder, table, validated=stopped)
    assert {path.name for path in folder.glob("best*")} == {"best-0000004.safetensors"}

    def killed(iteration: int, stop: threading.Event) -> None:
        if iteration == 10:
            raise Killed

    # What comes behind the checkpoint is lost, though its best weights were written.
    with pytest.raises(Killed):
        steps_of(folder, table, start=6, scores=(0.2, 0.5, 0.4, 0.6, 0.7), validated=killed)
    assert {path.name for path in folder.glob("best*")} == {
        "best-0000004.safetensors",
        "best-0000008.safetensors",
    }
    # As on a card that rounds otherwise: this time the checkpoint's best stays the best.
    outcome, module, seen, _ = steps_of(folder, table, start=6)
    assert outcome.kept_iteration == 4
    assert outcome.validation is not None and outcome.validation["mean_iou"] == 0.5
    unbroken, other, *_ = steps_of(tmp_path / "b", table)
    assert unbroken.kept_iteration == 4
    assert same(module, other.state_dict())
    last = load_weights(folder / "last.safetensors")
    assert all(torch.equal(value, seen[10][f"network.{name}"]) for name, value in last.items())


def test_a_step_ends_when_patience_does(tmp_path: Path) -> None:
    table = ValidationTable(every=2, keep="best", patience=2)
    outcome, module, seen, sink = steps_of(tmp_path / "a", table)
    assert (outcome.iterations, outcome.kept_iteration) == (8, 4)
    assert same(module, seen[4])
    assert sink.notes == [
        "step fcn8s: ends early after iteration 8; the validation frames' mean IoU was best after "
        "iteration 4 (0.500)"
    ]


def test_half_precision_trains_nearly_the_same(tmp_path: Path) -> None:
    table = ValidationTable(every=2)
    exact, *_ = steps_of(tmp_path / "a", table)
    half, module, *_ = steps_of(tmp_path / "b", table, ComputeTable(precision="bf16"))
    assert half.train_loss == pytest.approx(exact.train_loss, rel=0.02)
    assert half.train_loss != exact.train_loss
    assert {p.dtype for p in module.parameters()} == {torch.float32}  # what is kept stays fp32


def test_channels_last_changes_rounding_alone(tmp_path: Path) -> None:
    table = ValidationTable(every=2)
    exact, *_ = steps_of(tmp_path / "a", table)
    other, *_ = steps_of(tmp_path / "b", table, ComputeTable(channels_last=True))
    assert other.train_loss == pytest.approx(exact.train_loss, rel=1e-4)


@pytest.mark.slow
def test_a_compiled_step_trains_the_same(tmp_path: Path) -> None:
    table = ValidationTable(every=2)
    exact, *_ = steps_of(tmp_path / "a", table)
    other, *_ = steps_of(tmp_path / "b", table, ComputeTable(compile=True))
    assert other.train_loss == pytest.approx(exact.train_loss, rel=1e-4)


def test_fp32_is_not_rounded_to_fewer_bits() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    open_team("cpu", ComputeTable(precision="fp32"))
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


def test_fp16_wants_a_card() -> None:
    compute = Wishes(precision="fp16").chain(recipe()).compute
    with pytest.raises(UsageError) as raised:
        open_team("cpu", compute)
    assert str(raised.value) == (
        "--precision fp16: needs an NVIDIA card; on the CPU use bf16 or fp32"
    )
