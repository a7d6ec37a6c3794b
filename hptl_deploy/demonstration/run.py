"""Frames are made, segmented, scored against their truth and shown in one picture.

DIR/micrographs/   the synthetic data set
DIR/results/       what `segment` leaves behind
DIR/panel.jpg      micrograph, truth and what was found
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hptl_deploy.datasets import DataSet, LabelCode, Sample, load_data_set, read_labels
from hptl_deploy.demonstration.panel import Row, draw_panel
from hptl_deploy.engines import Engine
from hptl_deploy.errors import Interrupted
from hptl_deploy.files import atomic_path
from hptl_deploy.measurement.evaluation import Evaluation, evaluate
from hptl_deploy.measurement.rims import FalseRims, false_rims
from hptl_deploy.measurement.scores import Confusion
from hptl_deploy.micrographs import open_micrograph
from hptl_deploy.segmentation import RunSummary, SegmentOptions, segment
from hptl_deploy.sink import Sink
from hptl_deploy.synthesis import SynthesisRequest, write_data_set
from hptl_deploy.synthesis.canvas import FE, MG2SI
from hptl_deploy.wording import counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MICROGRAPHS, RESULTS, PANEL = "micrographs", "results", "panel.jpg"
_SHOWN = 3
"""Frames in the panel."""


@dataclass(frozen=True)
class Demonstration:
    """What a demonstration came to."""

    summary: RunSummary
    evaluation: Evaluation
    rims: FalseRims
    """Of the Fe-containing phase round Mg2Si."""
    panel: Path


def demonstrate(
    folder: Path,
    images: int,
    size: tuple[int, int],
    seed: int,
    engine: Engine,
    sink: Sink,
    stop: threading.Event,
) -> Demonstration:
    """Run the main job on `images` synthetic frames of `size` (height, width) below `folder`.

    What an interrupted or earlier call has finished is taken over. Raises what
    `write_data_set`, `segment` and `evaluate` raise, and Interrupted.
    """
    request = SynthesisRequest(folder / MICROGRAPHS, images, *size, seed)
    sink.note(f"making {counted(images, 'synthetic micrograph')} in {request.folder}")
    write_data_set(request, sink, stop)
    results = folder / RESULTS
    sink.note(f"segmenting them into {results}")
    summary = segment(SegmentOptions(input=request.folder, out=results), engine, sink, stop)
    if summary.state == "interrupted":
        raise Interrupted(
            f"{folder}: interrupted; finished frames are kept",
            hint="The same command goes on from here",
        )
    sink.note("scoring what was found against their truth")
    data_set = load_data_set(request.folder)
    evaluation = evaluate(results, request.folder, "all")
    rims = FalseRims()
    shown: list[Row] = []
    for sample, truth, found in _class_maps(results, data_set, summary):
        rims += false_rims(truth, found, around=MG2SI, mistaken_for=FE)
        if len(shown) < _SHOWN:
            shown.append(_row(sample, truth, found, evaluation.frames[sample.stem]))
    panel = folder / PANEL
    with atomic_path(panel) as temporary:
        draw_panel(shown, data_set.phases).save(temporary, "JPEG", quality=90, subsampling=0)
    return Demonstration(summary, evaluation, rims, panel)


def _class_maps(
    results: Path, data_set: DataSet, summary: RunSummary
) -> Iterator[tuple[Sample, NDArray[np.uint8], NDArray[np.uint8]]]:
    """(sample, truth, what was found) of every frame that was segmented."""
    maps = {Path(entry["file"]).stem: results / entry["classes_file"] for entry in summary.results}
    indices = LabelCode(data_set.phases, tuple(range(len(data_set.phases))))
    for sample in data_set.samples:
        if sample.stem in maps:
            truth = read_labels(sample.label, data_set.code)
            yield sample, truth, read_labels(maps[sample.stem], indices)


def _row(
    sample: Sample, truth: NDArray[np.uint8], found: NDArray[np.uint8], scores: Confusion
) -> Row:
    with open_micrograph(sample.image) as micrograph:
        pixels = micrograph.pages[0].read()
    fractions = zip(
        scores.phases, scores.area_fraction_true, scores.area_fraction_predicted, strict=True
    )
    words = [
        f"{phase.name} {100 * true:.2f} % of the area, found {100 * seen:.2f} %"
        for phase, true, seen in list(fractions)[1:]
    ]
    return Row(f"{sample.image.name}: {'; '.join(words)}", pixels, truth, found)
