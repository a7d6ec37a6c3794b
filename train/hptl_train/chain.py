"""The chain: its steps in order, each from the one before, resumable at any point."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w
import torch
from torch import nn

from hptl_deploy.datasets import DataSet
from hptl_deploy.errors import UsageError
from hptl_deploy.files import write_json
from hptl_deploy.interrupts import stop_on_signals
from hptl_deploy.sink import Sink
from hptl_train.checkpoint import load_weights, remove_checkpoint, save_weights
from hptl_train.data import Batches
from hptl_train.data.crops import Crops, Frame
from hptl_train.data.source import Source, SourceBatches
from hptl_train.figures import draw_curves
from hptl_train.loop import Metrics, StepJob, Validate, interrupted, run_step
from hptl_train.networks import FCN, VGG19, Segmenter
from hptl_train.networks.init import initialise
from hptl_train.networks.segmenter import Normalise, stride_of
from hptl_train.recipe import RANDOM, Recipe, StepTable
from hptl_train.record import (
    describe_data,
    describe_sources,
    result_line,
    step_entry,
    unfound,
    versions,
)
from hptl_train.run_folder import FINISHED, RUN_SCHEMA, RUN_TOOL, RUNNING, RunFolder
from hptl_train.transfer import transfer
from hptl_train.validation import score

if TYPE_CHECKING:
    from lightning_fabric import Fabric


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
    run: RunFolder
    fabric: Fabric
    sink: Sink
    command: str = ""
    """What started the run, folders left out."""

    def start(self) -> None:
        """Lay the run's folder out. Nothing is trained yet."""
        table = self.recipe.model_dump(mode="json", exclude_none=True)
        for entry in table["steps"]:
            if entry["name"] in self.sources:
                # Found again from wherever the run is resumed.
                entry["source"] = self.sources[entry["name"]].name
        self.run.create(
            tomli_w.dumps(table),
            {
                "tool": RUN_TOOL,
                "schema": RUN_SCHEMA,
                "state": RUNNING,
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "recipe": self.recipe.name,
                "command": self.command,
                "seed": self.recipe.seed,
                "data": describe_data(self.data_set),
                "sources": describe_sources(self.sources),
                "versions": versions(),
                "device": str(self.fabric.device),
                "steps": [],
            },
        )

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
                    remove_checkpoint(self.run.step(index, step.name))
                    continue
                start = done[-1]["metrics_bytes"] if done else 0
                shared = _Shared(frames, Metrics(self.run.metrics), start, stop)
                done.append(self._step(index, step, shared))
                self.run.write(record)
                remove_checkpoint(self.run.step(index, step.name))
                self._draw_curves()
                self.sink.note(result_line(index, done[-1]))
                if stop.is_set() and len(done) < len(self.recipe.steps):
                    raise interrupted(step, step.iterations)
        self._draw_curves()  # a run killed behind its last step has not drawn them
        for key in unfound(done[-1]):
            self.sink.note(
                f"warning: the final network finds no {key} in the validation micrographs, which "
                "show it; train longer before trusting its numbers"
            )
        record["state"] = FINISHED
        record["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        self.run.write(record)
        return record

    def _draw_curves(self) -> None:
        picture = self.run.path / "curves.png"
        try:
            draw_curves(self.run.metrics, picture, self.run.name)
        except OSError as exc:
            # Held open by a viewer, say: no reason to end a training run.
            self.sink.note(f"{picture}: cannot be written ({exc.strerror or exc})")

    def _step(self, index: int, step: StepTable, shared: _Shared) -> dict[str, Any]:
        """Prepare and train one step; returns its entry of run.json."""
        folder = self.run.step(index, step.name)
        folder.mkdir(exist_ok=True)
        source = self.sources.get(step.name)
        module, network = self._build(index, step, source)
        transferred = self._transfer(step, network, folder)
        job = StepJob(
            step=step,
            index=index,
            seed=self.recipe.seed,
            module=module,
            batches=self._batches(index, step, shared.frames["train"], source),
            validate=self._validation(step, shared.frames["val"]) if source is None else None,
            validate_every=self.recipe.validation.every,
            checkpoint_seconds=self.recipe.checkpoints.seconds,
            folder=folder,
            metrics=shared.metrics,
            metrics_start=shared.metrics_start,
            stop=shared.stop,
        )
        outcome = run_step(job, self.fabric, self.sink)
        save_weights(self.run.weights(index, step.name), network)
        return step_entry(step, transferred, outcome, source, self.data_set)

    def _validation(self, step: StepTable, frames: list[Frame]) -> Validate | None:
        if not frames:
            return None
        return partial(
            score,
            kind=step.network,
            input_scale=self.recipe.input.scale,
            frames=frames,
            phases=self.data_set.phases,
            device=self.fabric.device,
        )

    def _build(
        self, index: int, step: StepTable, source: Source | None
    ) -> tuple[nn.Module, nn.Module]:
        """(what is trained, the network inside it), freshly initialised from the seed."""
        torch.manual_seed(self.recipe.seed * 1009 + index)
        sizes, dropout = self.recipe.network.sizes, self.recipe.network.dropout
        mean, std = self.recipe.input.mean, self.recipe.input.std
        if source is not None:
            classifier = VGG19(sizes, len(source.classes), dropout)
            initialise(classifier, **self.recipe.init.model_dump())
            return _Classifier(Normalise(mean, std), classifier), classifier
        network = FCN(step.network, sizes, len(self.data_set.phases), dropout)
        initialise(network, **self.recipe.init.model_dump())
        return Segmenter(network, self.recipe.input.scale, mean, std), network

    def _transfer(self, step: StepTable, network: nn.Module, folder: Path) -> int:
        """Bring the parameters along from the earlier step; returns how many numbers."""
        if step.start == RANDOM:
            self.sink.note(f"{step.name}: starts from random")
            return 0
        assert step.transfer is not None
        number, earlier = next(
            (number, other)
            for number, other in enumerate(self.recipe.steps)
            if other.name == step.start
        )
        weights = load_weights(self.run.weights(number, earlier.name))
        report = transfer(
            weights, earlier.name, earlier.network, network, step.network, step.transfer
        )
        write_json(folder / "transfer.json", report.to_json())
        for line in report.lines():
            self.sink.note(f"{step.name}: {line}" if not line.startswith(" ") else line)
        return report.copied_count

    def _batches(
        self, index: int, step: StepTable, frames: list[Frame], source: Source | None
    ) -> Batches:
        if source is not None:
            self.sink.note(
                f"{step.name}: source domain {source.name}, {len(source.pictures)} pictures in "
                f"{len(source.classes)} classes"
            )
            return SourceBatches(source, step.batch, self.recipe.seed, index)
        crops = Crops(frames, len(self.data_set.phases), crop_side(self.recipe), self.recipe, step)
        for phase in crops.absent:
            name = self.data_set.phases[phase].name
            self.sink.note(f"warning: no training frame shows {name}; it cannot be learned")
        return crops


class _Classifier(nn.Module):
    """VGG-19 behind the normalisation its weights are made for."""

    def __init__(self, normalise: Normalise, network: VGG19) -> None:
        super().__init__()
        self.normalise = normalise
        self.network = network

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Logits [N, K] of uint8 [N, 224, 224, 3]."""
        logits: torch.Tensor = self.network(self.normalise(pictures))
        return logits


def crop_side(recipe: Recipe) -> int:
    """Side of a crop in micrograph pixels: the recipe's, scaled back, on the stride's grid.

    224 at input scales 1, 2, 4 is 224, 112, 56; at 3 it is 64 (192 enlarged). Raises
    UsageError when less than one stride is left.
    """
    stride = stride_of(recipe.input.scale)
    side = recipe.crops.size // recipe.input.scale // stride * stride
    if side == 0:
        raise UsageError(
            f"recipe {recipe.name}: a crop of {recipe.crops.size} px is smaller than the "
            f"stride of {stride} px at input scale {recipe.input.scale}"
        )
    return side
