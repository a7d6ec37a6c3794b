"""What cards say of the training data since, for a model that was exported before.

Statistics of the training micrographs, and how far a single validation micrograph is off.

    python -m hptl_export.add_statistics models/mine/model.onnx DATA

DATA is the data set it was trained on, made or unpacked again: the same files, or at least the same
scores on its validation split. Graph, weights and all else in the card stay as they are; the
file's hash, which results name, does not. Other precisions of the model name the old hash: export
them again.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from hptl_deploy.cli.output import Output
from hptl_deploy.datasets import load_data_set
from hptl_deploy.engines.onnxruntime import OnnxRuntimeEngine
from hptl_deploy.errors import DataSetError, HptlError
from hptl_deploy.measurement.scores import AreaErrors, Confusion
from hptl_deploy.model import Model, load_model
from hptl_deploy.tiling import Region, read_padded, regions_of
from hptl_export.effort import operations_per_pixel
from hptl_export.files import replace_card
from hptl_export.training_statistics import is_trained_on, statistics_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from hptl_deploy.datasets import DataSet

_DIFFERING_PPM = 10.0
"""Of the validation pixels, that rounding on another machine may put into another cell."""
_ERROR = "mean_absolute_area_error"


def add_statistics(path: Path, data: Path, note: Callable[[str], None]) -> Model:
    """Write the statistics of `data` into the card of the model file `path`.

    Where the card states no errors of single micrographs, those of the validation split, too.
    Raises DataSetError where it is not what the model was trained on, or has too few training
    micrographs; `path` is untouched then.
    """
    model, data_set = load_model(path), load_data_set(data)
    validation = model.card.validation
    phases = validation.get("phases", [])
    if not (is_trained_on(model, data_set) and all(_ERROR in phase for phase in phases)):
        note("scoring the validation split")
        validation = _with_errors(model, data_set)
    proto = onnx.load(path)
    per_pixel = operations_per_pixel(proto, model.card.stride)
    statistics = statistics_of(model, data_set, per_pixel, note)
    if statistics is None:
        raise DataSetError(f"data set {data}: has too few training micrographs for statistics")
    card = replace(model.card, training_statistics=statistics, validation=validation)
    return replace_card(path, proto, card)


def _with_errors(model: Model, data_set: DataSet) -> dict[str, Any]:
    """The card's scores, with the errors of single validation micrographs.

    Raises DataSetError where the validation split does not score as the card says.
    """
    found, errors = Confusion(data_set.phases), AreaErrors(data_set.phases)
    with OnnxRuntimeEngine(model) as engine:
        for sample in data_set.split("val"):
            pixels, labels = data_set.read(sample)
            height, width = labels.shape
            sides = [-(-length // model.card.stride) * model.card.stride for length in labels.shape]
            whole = read_padded(regions_of(pixels), Region(0, sides[0], 0, sides[1]), height, width)
            one = Confusion(data_set.phases)
            one.add(labels, engine.infer(whole[None]).classes[0, :height, :width])
            found.matrix += one.matrix
            errors.add(one)
    validation = model.card.validation
    stated, phases = validation.get("confusion"), validation.get("phases", [])
    matrix = found.matrix.tolist()
    if (
        stated is None
        or [len(row) for row in stated] != [len(row) for row in matrix]
        or [phase["key"] for phase in phases] != [phase.key for phase in data_set.phases]
    ):
        raise DataSetError(f"data set {data_set.root}: {model.path} does not say how it scores")
    apart = sum(
        abs(a - b)
        for one, other in zip(stated, matrix, strict=True)
        for a, b in zip(one, other, strict=True)
    )
    if apart > _DIFFERING_PPM * 1e-6 * max(found.pixels, 1):
        raise DataSetError(
            f"data set {data_set.root}: is not what {model.path} was trained on (its validation "
            f"split scores {matrix}, the card says {stated})"
        )
    return {
        **validation,
        "micrographs": errors.micrographs,
        "phases": [
            {**phase, _ERROR: error} for phase, error in zip(phases, errors.mean, strict=True)
        ],
    }


def main() -> None:
    """Add what the command line names; what is wrong in one sentence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    arguments, sink = parser.parse_args(), Output(as_json=False)
    try:
        written = add_statistics(arguments.model, arguments.data, sink.note)
    except HptlError as exc:
        sys.exit(str(exc))
    sink.say(f"{written.path}: sha256 {written.sha256}")


if __name__ == "__main__":
    main()
