"""A rival without layers, fitted in a run's folder like a chain."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import tomli_w

from hptl_deploy.datasets import DataSet
from hptl_deploy.sink import Sink
from hptl_train.recipe import RivalRecipe
from hptl_train.record import mark_finished, started_record
from hptl_train.rivals import make_rival
from hptl_train.run_folder import RunFolder


@dataclass
class Fitting:
    """A rival's recipe on a data set in a run's folder."""

    recipe: RivalRecipe
    data_set: DataSet
    run: RunFolder
    sink: Sink
    command: str = ""
    """What started the run, folders left out."""

    @property
    def where(self) -> str:
        """What computes it."""
        return "cpu"

    def start(self) -> None:
        """Lay the run's folder out. Nothing is fitted yet."""
        self.run.create(
            tomli_w.dumps(self.recipe.model_dump(mode="json", exclude_none=True)),
            started_record(self.recipe, self.data_set, self.command, self.where, {}),
        )

    def train(self) -> dict[str, Any]:
        """Fit; returns run.json. It takes a minute or so and starts anew when it was cut off."""
        record = self.run.read()
        begun = time.monotonic()
        frames = [self.data_set.read(sample) for sample in self.data_set.split("train")]
        rival = make_rival(self.recipe)
        rival.fit(frames, len(self.data_set.phases), self.recipe.seed)
        rival.save(self.run.rival)
        record["notes"] = list(rival.notes)
        record["seconds"] = round(time.monotonic() - begun, 1)
        mark_finished(record)
        self.run.write(record)
        self.sink.note(
            f"{self.recipe.method}: fitted on {len(frames)} micrographs in "
            f"{record['seconds']:.0f} s"
        )
        for line in rival.notes:
            self.sink.note(f"{self.recipe.method}: {line}")
        return record
