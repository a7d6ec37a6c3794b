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

    from numpy.typing import NDArray

    from hptl_train.devices import Team
    from hptl_train.predictor import Judged


class Tally:
    """Losses and classes of micrographs, added up."""

    def __init__(self, phases: Sequence[Phase]) -> None:
        self.confusion = Confusion(phases)
        self._sums = [0.0, 0.0, 0.0]
        """Loss, labelled pixels, micrographs whose method has no loss."""

    def add(self, labels: NDArray[np.uint8], found: Judged) -> None:
        """Count a micrograph: its labels [H, W], 255 = ignored, and what was found on it."""
        own = [found.loss or 0.0, float((labels != IGNORE).sum()), float(found.loss is None)]
        self._sums = [total + one for total, one in zip(self._sums, own, strict=True)]
        self.confusion.add(labels, found.classes)

    def share(self, team: Team) -> None:
        """Add what the other processes counted; all of them call this."""
        summed = team.sums([*self._sums, *self.confusion.matrix.flatten()])
        self._sums, counts = summed[:3], summed[3:]
        self.confusion.matrix = np.array(counts, np.int64).reshape(self.confusion.matrix.shape)

    @property
    def mean_loss(self) -> float | None:
        """Per labelled pixel; None where there is none, or where a micrograph has no loss."""
        loss, labelled, without = self._sums
        return None if without or not labelled else loss / labelled


def score(
    predictor: Predictor, frames: Sequence[Frame], phases: Sequence[Phase], team: Team | None = None
) -> dict[str, Any]:
    """Mean cross-entropy per labelled pixel (`loss`, nats) and the scores of `Confusion`.

    Without a labelled pixel, what would be a mean of none is None.

    With a `team`, each process scores its share of the frames and all know the result.
    """
    tally = Tally(phases)
    for number in team.share(len(frames)) if team else range(len(frames)):
        pixels, labels = frames[number]
        tally.add(labels, predictor.judged(pixels, labels))
    if team:
        tally.share(team)
    return {"loss": tally.mean_loss, **tally.confusion.to_json()}
