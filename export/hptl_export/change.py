"""What another precision changes against fp32, measured and held against its limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.errors import VerificationError
from hptl_deploy.measurement.scores import Confusion
from hptl_export.thresholds import CHANCE_PIXELS, Limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_deploy.phases import Phase
    from hptl_export.frames import Frames


class Change:
    """Logits and class maps of a precision beside those of fp32, on the same frames."""

    def __init__(
        self,
        frames: Frames,
        phases: Sequence[Phase],
        reference: Sequence[NDArray[np.float32]],
        changed: Sequence[NDArray[np.float32]],
    ) -> None:
        """`reference` and `changed` are logits [K, H, W] of each frame, in fp32 and now."""
        self.phases = tuple(phases)
        self.compared_on = frames.what
        self.labelled = frames.truths is not None
        self.logits = largest(
            float(np.abs(now - before).max() / np.abs(before).max())
            for before, now in zip(reference, changed, strict=True)
        )
        # numpy's argmax takes the lowest index of a tie, as the graph does.
        maps = [logits.argmax(0).astype(np.uint8) for logits in reference]
        now = [logits.argmax(0).astype(np.uint8) for logits in changed]
        self.pixels = sum(one.size for one in maps)
        self.differing = sum(int((a != b).sum()) for a, b in zip(maps, now, strict=True))
        # Without a truth fp32's own map stands in for it; only the area fractions are used then.
        truths = frames.truths if frames.truths is not None else maps
        self.before, self.now = Confusion(phases), Confusion(phases)
        for truth, one, other in zip(truths, maps, now, strict=True):
            self.before.add(truth, one)
            self.now.add(truth, other)

    @property
    def classes_ppm(self) -> float:
        """Pixels of another class, per million."""
        return float(1e6 * self.differing / self.pixels)

    @property
    def iou(self) -> dict[str, float]:
        """Change of each phase's IoU against the truth; none without a truth or the phase."""
        if not self.labelled:
            return {}
        pairs = zip(self.phases, self.before.iou, self.now.iou, strict=True)
        return {
            phase.key: _number(now) - _number(before)
            for phase, before, now in pairs
            if not (math.isnan(before) and math.isnan(now))
        }

    @property
    def area(self) -> dict[str, float]:
        """Change of each phase's area fraction."""
        before, now = self.before.area_fraction_predicted, self.now.area_fraction_predicted
        return {
            phase.key: _number(b) - _number(a)
            for phase, a, b in zip(self.phases, before, now, strict=True)
        }

    def problems(self, limits: Limits) -> list[str]:
        """Every limit that is passed, and by how much; none for what may be published."""
        found = []
        if not self.logits <= limits.logits:
            found.append(
                f"its logits differ by {self.logits:.2g} of the largest (at most {limits.logits:g})"
            )
        if not self.classes_ppm <= limits.classes_ppm:
            found.append(
                f"{self.classes_ppm:.0f} ppm of the pixels take another class (at most "
                f"{limits.classes_ppm:.0f})"
            )
        unions = self._unions()
        for key, value in self.iou.items():
            most = max(limits.iou, CHANCE_PIXELS / max(unions[key], 1))
            if not abs(value) <= most:
                found.append(f"the IoU of {key} changes by {value:+.4f} (at most {most:.2g})")
        for key, value in self.area.items():
            if not abs(value) <= limits.area:
                found.append(
                    f"the area fraction of {key} changes by {value:+.4f} (at most {limits.area:g})"
                )
        return found

    def to_json(self) -> dict[str, str]:
        """For the card: figure and what it stands for."""
        ious = ", ".join(f"{key} {value:+.5f}" for key, value in self.iou.items())
        areas = ", ".join(f"{key} {value:+.6f}" for key, value in self.area.items())
        return {
            "logits against fp32": f"{self.logits:.1e} of the largest",
            "classes against fp32": f"{self.classes_ppm:.1f} ppm of {self.pixels} px differ",
            "change of IoU against fp32": ious or "not measured, the frames have no labels",
            "change of area fraction against fp32": areas,
            "compared on": self.compared_on,
        }

    def _unions(self) -> dict[str, int]:
        """Pixels that are a phase's in the truth or in fp32's map."""
        matrix = self.before.matrix
        counts = matrix.sum(0) + matrix.sum(1) - matrix.diagonal()
        return {phase.key: int(count) for phase, count in zip(self.phases, counts, strict=True)}


def refuse(what: str, change: Change, limits: Limits) -> None:
    """Raise VerificationError naming every limit that `change` passes."""
    problems = change.problems(limits)
    if problems:
        raise VerificationError(
            f"{what}, compared with fp32 on {change.compared_on}: {'; '.join(problems)}",
            hint="This precision was not published",
        )


def _number(value: float) -> float:
    """A phase that is nowhere has an IoU of 0 beside one that is somewhere."""
    return 0.0 if math.isnan(value) else value


def largest(figures: Iterable[float]) -> float:
    """The largest; NaN, which max() may pass over, where one is no number."""
    found = list(figures)
    return math.nan if any(math.isnan(figure) for figure in found) else max(found)
