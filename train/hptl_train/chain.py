"""The chain: its steps in order, each from the one before, resumable at any point."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from torch import Tensor, nn

from hptl_deploy.datasets import DataSet
from hptl_deploy.files import write_json
from hptl_deploy.interrupts import stop_on_signals
from hptl_deploy.sink import Sink
from hptl_train.building import build, crop_side, picture_side
from hptl_train.checkpoint import load_weights, remove_checkpoint, save_weights
from hptl_train.data import SharedBatches
from hptl_train.data.crops import Crops, Frame
from hptl_train.data.source import Source, SourceBatches
from hptl_train.devices import Team
from hptl_train.figures import draw_curves
from hptl_train.job import StepJob, Validate
from hptl_train.loop import interrupted, run_step
from hptl_train.memory import free_memory, memory_said, training_memory
from hptl_train.metrics import Metrics
from hptl_train.predictor import Predictor
from hptl_train.pretrained import Pretrained
from hptl_train.recipe import RANDOM, WEIGHTS, Recipe, StepTable, ValidationTable
from hptl_train.record import (
    describe_device,
    describe_sources,
    mark_finished,
    result_line,
    say_report,
    started_record,
    step_entry,
    unfound_warnings,
)
from hptl_train.run_folder import RunFolder
from hptl_train.run_report import write_report
from hptl_train.source_validation import source_scores
from hptl_train.transfer import transfer
from hptl_train.validation import score


@dataclass(frozen=True)
class _Shared:
    """What the steps of one run have in common."""

    frames: dict[str, list[Frame]]
    """Of the train and val splits."""
    metrics: Metrics
    metrics_start: int
    stop: threading.Event


@dataclass
class Chain:
    """A recipe on a data set in a run's folder."""

    recipe: Recipe
    data_set: DataSet
    sources: dict[str, Source]
    """The source domain of each VGG-19 step, by the step's name."""
    pretrained: dict[str, Pretrained]
    """The published weights that a step starts from, by the step's name; only at the start of a
    run, which keeps what it needs of them."""
    run: RunFolder
    team: Team
    sink: Sink
    command: str = ""
    """What started the run, folders left out."""

    @property
    def where(self) -> str:
        """Device and precision."""
        several = f", {self.team.size} processes" if self.team.size > 1 else ""
        return f"{self.team.device}, {self.team.precision}{several}"

    def start(self) -> None:
        """Lay the run's folder out. Nothing is trained yet."""
        table = self.recipe.model_dump(mode="json", exclude_none=True)
        for entry in table["steps"]:
            if entry["name"] in self.sources:
                # Found again from wherever the run is resumed.
                entry["source"] = self.sources[entry["name"]].name
        if self.team.leads:
            pretrained = {step: weights.to_json() for step, weights in self.pretrained.items()}
            sources = describe_sources(self.sources) | pretrained
            device = describe_device(self.team.device)
            record = started_record(self.recipe, self.data_set, self.command, device, sources)
            self.run.create(
                tomli_w.dumps(table),
                record | {"precision": self.team.precision, "processes": self.team.size},
                {self.run.pretrained(step): w.tensors for step, w in self.pretrained.items()},
            )
        self.team.wait()

    def train(self) -> dict[str, Any]:
        """Run every step that is not finished; returns run.json.

        Raises RunError when a step's weights do not fit, or its loss stops being a number,
        and Interrupted when the user asked to stop.
        """
        record = self.run.read()
        done = record["steps"]
        with stop_on_signals("the iteration in hand") as stop:
            frames = {
                split: [self.data_set.read(sample) for sample in self.data_set.split(split)]
                for split in ("train", "val")
            }
            for index, step in enumerate(self.recipe.steps):
                if index < len(done):
                    self.sink.note(f"step {index + 1} {step.name}: finished before")
                    self._clear(index, step)
                    continue
                start = done[-1]["metrics_bytes"] if done else 0
                metrics = Metrics(self.run.metrics, writable=self.team.leads)
                with memory_said(step):
                    done.append(self._step(index, step, _Shared(frames, metrics, start, stop)))
                if self.team.leads:
                    self.run.write(record)
                    self._report(record)
                self._clear(index, step)
                self.sink.note(result_line(index, done[-1]))
                if stop.is_set() and len(done) < len(self.recipe.steps):
                    raise interrupted(step, step.iterations)
        for text in unfound_warnings(record):
            self.sink.note(f"warning: {text}")
        if self.team.leads:
            mark_finished(record)
            self._report(record)
            self.run.write(record)
        return record

    def _clear(self, index: int, step: StepTable) -> None:
        if self.team.leads:
            remove_checkpoint(self.run.step(index, step.name))

    def _report(self, record: dict[str, Any]) -> None:
        try:
            draw_curves(self.run.metrics, self.run.curves, self.run.name)
            write_report(self.run, record)
        except OSError as exc:
            # Held open by a viewer, say: no reason to end a training run.
            self.sink.note(f"{exc.filename}: cannot be written ({exc.strerror or exc})")

    def _step(self, index: int, step: StepTable, shared: _Shared) -> dict[str, Any]:
        """Prepare and train one step; returns its entry of run.json."""
        folder = self.run.step(index, step.name)
        folder.mkdir(exist_ok=True)
        source = self.sources.get(step.name)
        classes = len(source.classes) if source else len(self.data_set.phases)
        module = build(self.recipe, step, classes)
        transferred = self._transfer(step, module.network, folder)
        self._say_memory(step, module)
        job = StepJob(
            step=step,
            index=index,
            seed=self.recipe.seed,
            module=module,
            batches=self._batches(index, step, shared.frames["train"], source),
            augmentation=self.recipe.augmentation,
            validate=self._validation(step, shared.frames["val"], source),
            validation=self._when_validated(step, source),
            compute=self.recipe.compute,
            checkpoint_seconds=self.recipe.checkpoints.seconds,
            folder=folder,
            metrics=shared.metrics,
            metrics_start=shared.metrics_start,
            stop=shared.stop,
        )
        outcome = run_step(job, self.team, self.sink)
        if self.team.leads:
            save_weights(self.run.weights(index, step.name), module.network)
        self.team.wait()
        return step_entry(step, transferred, outcome, source, self.data_set)

    def _when_validated(self, step: StepTable, source: Source | None) -> ValidationTable:
        table = self.recipe.validation
        if source is None:
            return table
        # A source domain's held-out pictures may be tens of thousands: scored at the end.
        return table.model_copy(update={"every": step.iterations, "keep": "last"})

    def _say_memory(self, step: StepTable, module: nn.Module) -> None:
        pictures = len(self.team.share(step.batch))
        side = picture_side(self.recipe, step)
        memory = training_memory(module, step.optimiser, pictures, side, self.team.precision)
        each = f" in each of {self.team.size} processes" if self.team.size > 1 else ""
        self.sink.note(f"{step.name}: {memory.line(pictures, free_memory(self.team.device))}{each}")

    def _validation(
        self, step: StepTable, frames: list[Frame], source: Source | None
    ) -> Validate | None:
        if source is not None:
            device = self.team.device
            return lambda module: source_scores(module, source, device, team=self.team)
        if not frames:
            return None
        scale, phases = self.recipe.input.scale, self.data_set.phases

        def validate(module: nn.Module) -> dict[str, Any]:
            predictor = Predictor(module, step.network, scale, self.team.device)
            return score(predictor, frames, phases, self.team)

        return validate

    def _origin(self, step: StepTable) -> tuple[dict[str, Tensor], str, str]:
        """(weights, their step, their network) that `step` starts from."""
        if step.start == WEIGHTS:
            assert step.weights is not None
            weights = load_weights(self.run.path / self.run.pretrained(step.name))
            return weights, Path(step.weights).name, "vgg19"
        number, earlier = next(
            (number, other)
            for number, other in enumerate(self.recipe.steps)
            if other.name == step.start
        )
        return load_weights(self.run.weights(number, earlier.name)), earlier.name, earlier.network

    def _transfer(self, step: StepTable, network: nn.Module, folder: Path) -> int:
        """Bring the parameters along from the earlier step; returns how many numbers."""
        if step.start == RANDOM:
            self.sink.note(f"{step.name}: starts from random")
            return 0
        assert step.transfer is not None
        report = transfer(*self._origin(step), network, step.network, step.transfer)
        if self.team.leads:
            write_json(folder / "transfer.json", report.to_json())
        say_report(self.sink, step.name, report.lines())
        return report.copied_count

    def _batches(
        self, index: int, step: StepTable, frames: list[Frame], source: Source | None
    ) -> SharedBatches:
        if source is not None:
            more = f", {len(source.held_out)} more held out" if source.held_out else ""
            self.sink.note(
                f"{step.name}: source domain {source.name}, {len(source.pictures)} pictures in "
                f"{len(source.classes)} classes{more}"
            )
            return SourceBatches(source, step.batch, self.recipe.seed, index)
        crops = Crops(frames, len(self.data_set.phases), crop_side(self.recipe), self.recipe, step)
        for phase in crops.absent:
            name = self.data_set.phases[phase].name
            self.sink.note(f"warning: no training frame shows {name}; it cannot be learned")
        return crops
