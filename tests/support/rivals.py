"""What a comparison makes of a rival's losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hptl_deploy.phases import Phase
from hptl_train.compare.methods import RivalMethod
from hptl_train.validation import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hptl_train.data.crops import Frame
    from hptl_train.rivals import Rival


def mean_loss(rival: Rival, frames: Iterable[Frame], phases: int = 3) -> float | None:
    """Per labelled pixel of `frames`; None where the rival has no loss."""
    tally = Tally([Phase(f"p{place}", f"phase {place}", (0, 0, place)) for place in range(phases)])
    method = RivalMethod(rival)
    for pixels, labels in frames:
        tally.add(labels, method.judged(pixels, labels))
    return tally.mean_loss
