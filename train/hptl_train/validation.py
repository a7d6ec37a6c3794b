"""Scores of a segmenter in torch: whole micrographs, shared out among the processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy.measurement.scores import AreaErrors, Confusion
from hptl_deploy.phases import IGNORE, Phase
from hptl_train.data.crops import Frame
from hptl_train.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hptl_train.devices import Team
    from hptl_train.predictor import Judged


class Tally:
    """Losses and classes of micrographs, added up."""

    def __init__(self, phases: Sequence[Phase]) -> None:
        self.confusion = Confusion(phases)
        self._errors = AreaErrors(phases)
        self._sums = [0.0, 0.0, 0.0]
        """Loss, labelled pixels, micrographs whose method has no loss."""

    def add(self, labels: NDArray[np.uint8], found: Judged) -> None:
        """Count a micrograph: its labels [H, W], 255 = ignored, and what was found on it."""
        own = [found.loss or 0.0, float((labels != IGNORE).sum()), float(found.loss is None)]
        self._sums = [total + one for total, one in zip(self._sums, own, strict=True)]
        one = Confusion(self.confusion.phases)
        one.add(labels, found.classes)
        self.confusion.matrix += one.matrix
        self._errors.add(one)

    def share(self, team: Team) -> None:
        """Add what the other processes counted; all of them call this."""
        errors, matrix = self._errors, self.confusion.matrix
        summed = team.sums([*self._sums, errors.micrographs, *errors.sums, *matrix.flatten()])
        kinds = len(matrix)
        self._sums, errors.micrographs = summed[:3], round(summed[3])
        errors.sums = np.array(summed[4 : 4 + kinds])
        self.confusion.matrix = np.array(summed[4 + kinds :], np.int64).reshape(matrix.shape)

    @property
    def mean_loss(self) -> float | None:
        """Per labelled pixel; None where there is none, or where a micrograph has no loss."""
        loss, labelled, without = self._sums
        return None if without or not labelled else loss / labelled

    def scores(self) -> dict[str, Any]:
        """Those of `Confusion`, and of how many micrographs, and how far one is off on the mean."""
        pooled = self._errors.with_pooled(self.confusion)
        return {"micrographs": self._errors.micrographs, **pooled}


def score(
    predictor: Predictor, frames: Sequence[Frame], phases: Sequence[Phase], team: Team | None = None
) -> dict[str, Any]:
    """Mean cross-entropy per labelled pixel (`loss`, nats) and `Tally.scores`.

    Without a labelled pixel, what would be a mean of none is None.

    With a `team`, each process scores its share of the frames and all know the result.
    """
    tally = Tally(phases)
    for number in team.share(len(frames)) if team else range(len(frames)):
        pixels, labels = frames[number]
        tally.add(labels, predictor.judged(pixels, labels))
    if team:
        tally.share(team)
    return {"loss": tally.mean_loss, **tally.scores()}
