"""Scores of a segmenter in torch: whole micrographs, shared out among the processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy.measurement.scores import Confusion
from hptl_deploy.phases import IGNORE, Phase
from hptl_train.data.crops import Frame
from hptl_train.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hptl_train.devices import Team


def score(
    predictor: Predictor, frames: Sequence[Frame], phases: Sequence[Phase], team: Team | None = None
) -> dict[str, Any]:
    """Mean cross-entropy per labelled pixel (`loss`, nats) and the scores of `Confusion`.

    With a `team`, each process scores its share of the frames and all know the result.
    """
    confusion = Confusion(phases)
    loss, labelled = 0.0, 0
    for number in team.share(len(frames)) if team else range(len(frames)):
        pixels, labels = frames[number]
        found = predictor.judged(pixels, labels)
        loss += found.loss or 0.0
        confusion.add(labels, found.classes)
        labelled += int((labels != IGNORE).sum())
    if team:
        loss, counted, *counts = team.sums([loss, labelled, *confusion.matrix.flatten()])
        labelled = int(counted)
        confusion.matrix = np.array(counts, np.int64).reshape(confusion.matrix.shape)
    return {"loss": loss / max(1, labelled), **confusion.to_json()}
