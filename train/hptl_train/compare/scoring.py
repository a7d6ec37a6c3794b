"""The scores of one row with one seed, kept beside its class maps of the test micrographs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy.datasets import DataSet
from hptl_deploy.files import atomic_path, sha256_file, write_json
from hptl_deploy.measurement.evaluation import evaluate
from hptl_deploy.phases import Phase, palette
from hptl_deploy.sink import Sink
from hptl_train.compare.methods import Method
from hptl_train.run_folder import RUN_FILE, RunFolder
from hptl_train.validation import Tally

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_deploy.datasets import Sample


@dataclass(frozen=True)
class Scores:
    """Of one row with one seed."""

    l1: float | None
    """Mean loss per labelled pixel over the training micrographs, whole and unaugmented."""
    l2: float | None
    """The same over the test micrographs."""
    test: dict[str, Any]
    """`Evaluation.to_json` of the test micrographs' class maps, each one's scores among it."""

    @property
    def gap(self) -> float | None:
        """l2 - l1."""
        return None if self.l1 is None or self.l2 is None else self.l2 - self.l1


def stored_scores(folder: Path, run: RunFolder) -> Scores | None:
    """The scores in `folder`, or None where there are none of this very run."""
    try:
        document = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if document.get("run_sha256") != sha256_file(run.path / RUN_FILE):
        return None
    return Scores(document["l1"], document["l2"], document["test"])


def score_method(
    method: Method, data_set: DataSet, run: RunFolder, folder: Path, title: str, sink: Sink
) -> Scores:
    """Score `method` on the training and test micrographs; maps and scores go to `folder`."""
    train, test = data_set.split("train"), data_set.split("test")
    folder.mkdir(parents=True, exist_ok=True)
    with sink.progress(f"{title}: scoring", len(train) + len(test), "micrographs") as bar:
        losses = []
        for split in (train, test):
            tally = Tally(data_set.phases)
            for sample in split:
                pixels, labels = data_set.read(sample)
                found = method.judged(pixels, labels)
                tally.add(labels, found)
                if split is test:
                    write_map(map_file(folder, sample), found.classes, data_set.phases)
                bar.advance()
            losses.append(tally.mean_loss)
    # As a reader of the folder would score the maps that lie in it.
    scores = Scores(losses[0], losses[1], evaluate(folder, data_set.root, "test").to_json())
    write_json(
        folder / "scores.json",
        {"run_sha256": sha256_file(run.path / RUN_FILE), **vars(scores)},
    )
    return scores


def map_file(folder: Path, sample: Sample) -> Path:
    """Where a test micrograph's class map lies."""
    return folder / f"{sample.stem}.png"


def write_map(path: Path, classes: NDArray[np.uint8], phases: Sequence[Phase]) -> None:
    """A class map [H, W] as a PNG of indices with the phases' colours as its palette."""
    from PIL import Image

    picture = Image.fromarray(classes)
    picture.putpalette(palette(phases).tobytes())
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True)


def read_map(path: Path) -> NDArray[np.uint8]:
    """The indices [H, W] that `write_map` wrote."""
    from PIL import Image

    with Image.open(path) as picture:
        return np.array(picture)
