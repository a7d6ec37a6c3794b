"""`hptl-deploy compare`: rows trained or loaded, scored, timed, tabled, drawn; resumable.

comparison.json   settings, data, device, versions; scores and times of every row
table.md, table.csv
panel.png         a test micrograph, its truth and every row
runs/<row>-seed<s>/     a training run each
scores/<row>-seed<s>/   scores, class maps of the test micrographs
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy.datasets import DataSet
from hptl_deploy.errors import DataSetError, Interrupted, RunError, UsageError
from hptl_deploy.files import sha256_file, write_json, write_text
from hptl_deploy.sink import Sink
from hptl_train.building import target_pixels
from hptl_train.compare.methods import Method, load_method
from hptl_train.compare.panel import disagreement, draw_panel
from hptl_train.compare.plan import Entry, Plan, title_of
from hptl_train.compare.scoring import Scores, map_file, read_map, score_method, stored_scores
from hptl_train.compare.table import Table
from hptl_train.compare.timing import seconds_per_image
from hptl_train.compare.training import finished_run
from hptl_train.devices import Team, open_team, under_torchrun
from hptl_train.prepare import check_ready, checked_data
from hptl_train.recipe import ComputeTable, Recipe
from hptl_train.record import describe_data, describe_device, versions
from hptl_train.run_folder import RUN_FILE, RunFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_deploy.datasets import Sample

_FILE = "comparison.json"
_TIMED = 3
"""Test micrographs that times are taken on."""


@dataclass(frozen=True)
class Comparison:
    """What a comparison leaves behind."""

    out: Path
    table: Table
    document: dict[str, Any]


def compare(data: Path, plan: Plan, out: Path, device: str, sink: Sink) -> Comparison:
    """Every row of `plan` on `data`; what `out` holds already is not done again.

    Raises DataSetError when there is nothing to train or test on, RunError when `out` holds
    another comparison, RecipeError, UsageError and EnvironmentLacks as training does, and
    Interrupted with what is finished kept.
    """
    if under_torchrun():
        raise UsageError(
            "compare runs in one process, found torchrun's",
            hint="Train the rows with torchrun into OUT/runs, then compare without it",
        )
    entries = plan.entries()
    data_set = checked_data(data)
    if not data_set.split("test"):
        raise DataSetError(f"data set {data_set.root}: its test split is empty")
    work = _Work(plan, entries, data_set, out, device, sink)
    work.check()
    work.claim()
    try:
        return work.done()
    except Interrupted as exc:
        raise Interrupted(exc.message, hint="Go on with the same command") from exc


@dataclass
class _Work:
    plan: Plan
    entries: list[Entry]
    data_set: DataSet
    out: Path
    device: str
    sink: Sink

    @cached_property
    def team(self) -> Team:
        """The device that scores and times, in fp32 as an exported model computes."""
        return open_team(self.device, ComputeTable())

    def check(self) -> None:
        """Find what is wrong with any row before the first is trained."""
        for entry in self.entries:
            if entry.seed == 0 and isinstance(entry.recipe, Recipe):
                check_ready(entry.recipe, self.data_set, self.device)

    def claim(self) -> None:
        """Make `out` this comparison's. Raises RunError when it is another's."""
        path = self.out / _FILE
        settings = self.plan.to_json()
        if path.is_file():
            try:
                there = json.loads(path.read_text(encoding="utf-8"))
                then, data = there["settings"], there["data"]["sha256"]
            except (ValueError, KeyError, TypeError) as exc:
                raise RunError(f"{path}: is no comparison of this program") from exc
            if (then, data) != (settings, self.data_set.sha256):
                what = "options" if data == self.data_set.sha256 else "data"
                raise RunError(
                    f"{self.out}: holds a comparison with other {what} "
                    f"({then if what == 'options' else data[:12]}, now "
                    f"{settings if what == 'options' else self.data_set.sha256[:12]})",
                    hint="Name another folder with --out",
                )
        elif self.out.is_dir() and any(self.out.iterdir()):
            raise RunError(
                f"{self.out}: is not empty and no comparison", hint="Name another with --out"
            )
        else:
            write_json(path, self._document())

    def done(self) -> Comparison:
        """Train, score, time and draw whatever is missing."""
        scores: dict[str, list[Scores]] = {entry.row: [] for entry in self.entries}
        runs: dict[str, RunFolder] = {}
        for number, entry in enumerate(self.entries, start=1):
            self.sink.note(f"{number} of {len(self.entries)}: {title_of(entry.row)}, {entry.name}")
            run = finished_run(entry, self.data_set, self.out / "runs", self.device, self.sink)
            scores[entry.row].append(self._scores(entry, run))
            runs.setdefault(entry.row, run)
        seconds = self._seconds(runs)
        trained = {
            entry.row: target_pixels(entry.recipe)
            for entry in self.entries
            if isinstance(entry.recipe, Recipe)
        }
        table = Table(scores, seconds, trained, self.data_set.phases)
        document = self._document() | {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds_per_image": seconds,
            "scores": {row: [vars(one) for one in found] for row, found in scores.items()},
        }
        write_json(self.out / _FILE, document)
        write_text(self.out / "table.md", table.markdown())
        write_text(self.out / "table.csv", table.csv())
        self._panel()
        return Comparison(self.out, table, document)

    def _document(self) -> dict[str, Any]:
        return {
            "settings": self.plan.to_json(),
            "rows": list(self.plan.rows),
            "seeds": self.plan.seeds,
            "data": describe_data(self.data_set),
            "device": describe_device(self.team.device),
            "versions": versions(),
        }

    def _method(self, run: RunFolder) -> Method:
        return load_method(run, self.data_set.phases, self.team.device)

    def _folder(self, entry: Entry) -> Path:
        return self.out / "scores" / entry.name

    def _scores(self, entry: Entry, run: RunFolder) -> Scores:
        folder = self._folder(entry)
        if (stored := stored_scores(folder, run)) is not None:
            return stored
        title = title_of(entry.row)
        return score_method(self._method(run), self.data_set, run, folder, title, self.sink)

    def _seconds(self, runs: dict[str, RunFolder]) -> dict[str, float]:
        """Times of these very runs on this device: taken again when one of them is new."""
        path = self.out / "times.json"
        state = {row: sha256_file(run.path / RUN_FILE) for row, run in runs.items()}
        state["device"] = str(self.team.device)
        if path.is_file():
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["of"] == state:
                return dict(stored["seconds"])
        pictures = [self.data_set.read(s)[0] for s in self.data_set.split("test")[:_TIMED]]
        methods = {row: self._method(run) for row, run in runs.items()}
        seconds = seconds_per_image(methods, pictures, self.sink)
        write_json(path, {"of": state, "seconds": seconds})
        return seconds

    def _panel(self) -> None:
        """The test micrograph on which the first seed's rows disagree most."""
        samples = self.data_set.split("test")
        shares = []
        for sample in samples:
            maps = list(self._maps(sample).values())
            truth = self.data_set.read(sample)[1]
            shares.append(disagreement(maps, truth, len(self.data_set.phases)).mean())
        sample = samples[int(np.argmax(shares))]
        pixels, truth = self.data_set.read(sample)
        title = f"{self.data_set.name}: {sample.image.name}"
        picture = self.out / "panel.png"
        draw_panel(pixels, truth, self._maps(sample), self.data_set.phases, picture, title)

    def _maps(self, sample: Sample) -> dict[str, NDArray[np.uint8]]:
        return {
            title_of(entry.row): read_map(map_file(self._folder(entry), sample))
            for entry in self.entries
            if entry.seed == 0
        }
