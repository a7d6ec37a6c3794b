"""Class maps matched with their truth and scored, pooled over pixels and frame by frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy.datasets.description import is_data_set
from hptl_deploy.datasets.format import load_data_set
from hptl_deploy.datasets.labels import LABEL_SUFFIXES, LabelCode, read_labels
from hptl_deploy.errors import DataSetError, InputError, ResultsError
from hptl_deploy.measurement.scores import AreaErrors, Confusion
from hptl_deploy.phases import IGNORE, Phase, phases_from_json
from hptl_deploy.results import read_run, shard_homes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_CLASSES = "_classes"


@dataclass
class Evaluation:
    """Scores of one set of class maps."""

    what: str
    """What was scored, for people: data set and split, or folder."""
    split: str | None
    pooled: Confusion
    frames: dict[str, Confusion] = field(default_factory=dict)
    """Per micrograph, by stem."""
    missing: list[str] = field(default_factory=list)
    """Stems of the truth without a class map."""
    failed: dict[str, str] = field(default_factory=dict)
    """Stem -> why it could not be scored."""
    left_out: int = 0
    """Labelled pixels that the class maps leave out (scale bars, given regions): not scored."""

    @property
    def mean_absolute_area_error(self) -> tuple[float, ...]:
        """Per phase, mean over micrographs of |fraction found - fraction true|."""
        return self._area_errors().mean

    def _area_errors(self) -> AreaErrors:
        errors = AreaErrors(self.pooled.phases)
        for one in self.frames.values():
            errors.add(one)
        return errors

    def to_json(self) -> dict[str, Any]:
        """Everything, with the frames' own scores."""
        return {
            "scored": self.what,
            "split": self.split,
            "micrographs": len(self.frames),
            **self._area_errors().with_pooled(self.pooled),
            "left_out_pixels": self.left_out,
            "frames": {stem: one.to_json() for stem, one in self.frames.items()},
            "missing": self.missing,
            "failed": self.failed,
        }


def evaluate(results: Path, truth: Path, split: str | None = None) -> Evaluation:
    """Score `results` against `truth`.

    `results` is a results folder or a folder of class maps (`<stem>_classes.tif` or
    `<stem>.<suffix>`, class indices). `truth` is a data set (its test split unless `split`
    says otherwise) or a folder of label files with class indices.

    Raises DataSetError and ResultsError when either is unusable, their phases differ, or no
    micrograph of the truth has a class map with a pixel that can be scored.
    """
    run = read_run(results)
    _check_merged(results, run)
    found = _class_maps(results, run)
    run_phases = None if run is None else phases_from_json(run.get("phases"), str(results))
    if is_data_set(truth):
        split = split or "test"
        data_set = load_data_set(truth)
        labels = {sample.stem: sample.label for sample in data_set.split(split)}
        what = f"{data_set.name}, split {split}"
        code = data_set.code
        _same_phases(run_phases, code.phases, results, truth)
    else:
        if split is not None:
            raise DataSetError(f"--split {split}: {truth} is a folder of labels, not a data set")
        labels = {path.stem: path for path in _files(truth)}
        what = f"labels of {truth}"
        phases = run_phases or _numbered_phases(labels, found)
        code = LabelCode(phases, tuple(range(len(phases))))
    if not labels:
        raise DataSetError(f"{what}: holds nothing to score")
    return _score(what, split, labels, found, code)


def _score(
    what: str,
    split: str | None,
    labels: Mapping[str, Path],
    found: Mapping[str, Path],
    code: LabelCode,
) -> Evaluation:
    evaluation = Evaluation(what, split, Confusion(code.phases))
    indices = LabelCode(code.phases, tuple(range(len(code.phases))))
    for stem, label in sorted(labels.items()):
        if stem not in found:
            evaluation.missing.append(stem)
            continue
        one = Confusion(code.phases)
        try:
            true, predicted = read_labels(label, code), read_labels(found[stem], indices)
            if true.shape != predicted.shape:
                raise ResultsError(
                    f"the class map is {_size(predicted)} px, its label {_size(true)} px"
                )
            one.add(true, predicted)
        except InputError as exc:
            evaluation.failed[stem] = exc.message
            continue
        evaluation.frames[stem] = one
        evaluation.pooled.matrix += one.matrix
        evaluation.left_out += int(((true != IGNORE) & (predicted == IGNORE)).sum())
    if not evaluation.frames and not evaluation.failed:
        raise ResultsError(
            f"{what}: none of its {len(labels)} micrographs has a class map in the results "
            f"(looked for {min(labels)}{_CLASSES}.tif and the like)",
            hint="Segment them, or name with --split what was segmented",
        )
    if evaluation.frames and not evaluation.pooled.pixels:
        raise ResultsError(
            f"{what}: nothing can be scored, because no pixel of its class maps that is not left "
            f"out has a label ({evaluation.left_out} labelled pixels are left out)",
            hint="Segment with less left out, or label more",
        )
    return evaluation


def _check_merged(results: Path, run: dict[str, Any] | None) -> None:
    """Raise ResultsError for results that shards are still making, or one of these shards."""
    if any(read_run(home) for home in shard_homes(results).values()):
        raise ResultsError(
            f"results {results}: hold shards that are not merged yet",
            hint=f"Join them first with `hptl-deploy merge {results}`",
        )
    if run is not None and "shard" in run:
        out = results.absolute().parents[1]
        raise ResultsError(
            f"results {results}: is what one shard of {out} notes down",
            hint=f"Join the shards with `hptl-deploy merge {out}` and evaluate that",
        )


def _class_maps(results: Path, run: dict[str, Any] | None) -> dict[str, Path]:
    """Stem of the micrograph -> its class map."""
    if not results.is_dir():
        raise ResultsError(f"results {results}: is not a folder")
    if run is None:
        return {path.stem.removesuffix(_CLASSES): path for path in _files(results)}
    if "results" not in run:
        raise ResultsError(
            f"results {results}: the run that makes them has not ended",
            hint="Wait for it, or start the same `hptl-deploy segment` again",
        )
    maps: dict[str, Path] = {}
    for entry in run["results"]:
        stem = PurePosixPath(entry["file"]).stem
        if entry["page"] == 1 and maps.setdefault(stem, results / entry["classes_file"]) != (
            results / entry["classes_file"]
        ):
            raise ResultsError(
                f"results {results}: two micrographs are called {stem}, so the truth cannot be "
                "matched by name",
                hint="Segment them into separate folders",
            )
    return maps


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataSetError(f"{folder}: is not a folder")
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in LABEL_SUFFIXES and not path.name.startswith(".")
    )


def _same_phases(
    run: tuple[Phase, ...] | None, truth: tuple[Phase, ...], results: Path, where: Path
) -> None:
    if run is None:
        return
    keys, wanted = [phase.key for phase in run], [phase.key for phase in truth]
    if keys != wanted:
        raise ResultsError(
            f"results {results} hold the phases {', '.join(keys)}, {where} the phases "
            f"{', '.join(wanted)}; they must be the same in the same order",
            hint="Segment with a model that was trained on this data set's phases",
        )


def _numbered_phases(labels: Mapping[str, Path], found: Mapping[str, Path]) -> tuple[Phase, ...]:
    """As many phases as the highest class index in any file needs, named by their index."""
    any_index = LabelCode(
        tuple(Phase(str(index), str(index), (0, 0, index)) for index in range(IGNORE)),
        tuple(range(IGNORE)),
    )
    highest = 1
    for path in (*labels.values(), *(found[stem] for stem in labels if stem in found)):
        try:
            indices = read_labels(path, any_index)
        except DataSetError:
            continue  # named when it comes to be scored
        highest = max(highest, int(indices[indices != IGNORE].max(initial=0)))
    return tuple(
        Phase(f"class_{index}", f"class {index}", (0, 0, 0)) for index in range(highest + 1)
    )


def _size(classes: NDArray[np.uint8]) -> str:
    return f"{classes.shape[1]} x {classes.shape[0]}"
