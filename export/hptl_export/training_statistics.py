"""What a run's training micrographs are like, for the model's card. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.datasets import load_data_set
from hptl_deploy.engines.onnxruntime import OnnxRuntimeEngine
from hptl_deploy.errors import DataSetError
from hptl_deploy.micrographs import open_micrograph
from hptl_deploy.quality.features import FEATURES, answer_features, pixel_features
from hptl_deploy.quality.fitting import LEAST_FRAMES, Observed, fit
from hptl_deploy.quality.judging import figures_of
from hptl_export.effort import side_of_look
from hptl_export.frames import middle, spread

if TYPE_CHECKING:
    from hptl_deploy.datasets import DataSet
    from hptl_deploy.datasets.format import Sample
    from hptl_deploy.engines.base import Engine
    from hptl_deploy.model import Model
    from hptl_deploy.quality.statistics import TrainingStatistics

_TRAINING, _VALIDATION = 64, 32
"""Micrographs at most, spread evenly over each split."""
_LOOKS = 4
"""The network sees as much of them as it goes through in so many looks of `effort`."""
_LEAST_SIDE, _LARGEST_SIDE = 256, 1536
"""Of what it sees of each, in pixels of its input."""


def training_statistics(
    model: Model, data: Path, per_pixel: float, note: Callable[[str], None]
) -> TrainingStatistics | None:
    """Statistics of the data set `data`, which `model`, a finished file, was trained on.

    A pixel costs the network `per_pixel` operations. What pixels alone tell is of whole
    micrographs, what the network says of them, of their middles. None, with a note, where the
    data set is no longer there as it was trained on, or has less than 12 training micrographs.
    """
    try:
        data_set = load_data_set(data)
        if not is_trained_on(model, data_set):
            note(f"{data} has changed since the training: no training statistics in the card")
            return None
        training = spread(data_set.split("train"), _TRAINING)
        if len(training) < LEAST_FRAMES:
            note(
                f"{data_set.name} has {len(training)} training micrographs, too few for training "
                f"statistics in the card ({LEAST_FRAMES} are needed)"
            )
            return None
        return statistics_of(model, data_set, per_pixel, note)
    except DataSetError as exc:
        note(f"no training statistics in the card: {exc}")
        return None


def is_trained_on(model: Model, data_set: DataSet) -> bool:
    """Whether the last step of the model's lineage learned from this very data set."""
    lineage = model.card.lineage
    return bool(lineage) and lineage[-1].data.split()[-1] == data_set.sha256


def statistics_of(
    model: Model, data_set: DataSet, per_pixel: float, note: Callable[[str], None]
) -> TrainingStatistics | None:
    """Of up to 64 training and 32 validation micrographs. Raises DataSetError."""
    training = spread(data_set.split("train"), _TRAINING)
    held_out = spread(data_set.split("val"), _VALIDATION)
    scale, stride = model.card.input_scale, model.card.stride
    side = side_of_look(
        per_pixel / _LOOKS,
        stride,
        len(training) + len(held_out),
        _LEAST_SIDE // scale,
        _LARGEST_SIDE // scale,
    )
    note(f"looking at {len(training)} training and {len(held_out)} validation micrographs")
    with OnnxRuntimeEngine(model) as engine:

        def observed(samples: Sequence[Sample]) -> list[Observed]:
            each = (observe(engine, data_set, sample, side) for sample in samples)
            return [one for one in each if one is not None]

        return fit(FEATURES, observed(training), observed(held_out))


def observe(engine: Engine, data_set: DataSet, sample: Sample, side: int) -> Observed | None:
    """A labelled micrograph, of which the network sees the middle, `side` pixels at most.

    None where it is smaller than a stride or has next to no pixels. Raises DataSetError.
    """
    pixels, labels = data_set.read(sample)
    height, width = labels.shape
    stride = engine.model.card.stride
    rows, columns = (slice(*middle(length, side, stride)) for length in (height, width))
    part = pixels[rows, columns]
    seen = pixel_features(pixels)
    if not part.size or seen is None:
        return None
    answer = engine.infer(part[None])
    classes, confidence = answer.classes[0], answer.confidence[0]
    said = answer_features(classes, confidence)
    assert said is not None
    # Where the matrix is, the labels say of the whole micrograph.
    whole = figures_of(pixels, labels, np.full_like(labels, 255), None)
    doubt = figures_of(part, classes, confidence, None)
    return Observed(
        features=np.concatenate([seen, said]),
        figures={
            "focus": whole.focus,
            "saturated_fraction": whole.saturated_fraction,
            "illumination_range": whole.illumination_range,
            "unsure_fraction": doubt.unsure_fraction,
        },
        pixel_size_um=_pixel_size(sample, data_set),
    )


def _pixel_size(sample: Sample, data_set: DataSet) -> float | None:
    """What the file states, else the data set's description."""
    with open_micrograph(sample.image) as micrograph:
        stated = micrograph.pages[0].calibration.pixel_size_um
    return data_set.pixel_size_um if stated is None else stated
