"""A field's figures and flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hptl_deploy.phases import IGNORE
from hptl_deploy.quality.counts import Counts, count

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hptl_deploy.model import ModelCard
    from hptl_deploy.quality.statistics import TrainingStatistics

OUT_OF_FOCUS = "out of focus"
SATURATED = "saturated"
UNEVEN = "uneven illumination"
OTHER_SIZE = "pixel size outside training"
NO_SIZE = "pixel size unknown"
UNSURE = "low confidence"
UNLIKE = "unlike the training set"
NOISE = "too many particles to be any"
"""Said of a class map that is noise; its figures of particles are blank."""
FLAGS = (OUT_OF_FOCUS, SATURATED, UNEVEN, OTHER_SIZE, NO_SIZE, UNSURE, UNLIKE, NOISE)
"""In the order in which a field's are named."""

BEYOND = {
    OUT_OF_FOCUS: ("focus", 2.5),
    SATURATED: ("saturated_fraction", 0.01),
    UNEVEN: ("illumination_range", 0.3),
}
"""The figure behind a flag, and what it must exceed; besides, the training set's own limit, because
what a network has learned from does not disturb it."""
UNSURE_FRACTION, UNSURE_LEAST = 0.05, 0.01
"""How much doubt is normal depends on the model. Where the card does not say, the first; else the
training set's limit, but never less than the second."""
SIZE_FACTOR = 2.0
"""From the nearest pixel size of the training set."""


@dataclass(frozen=True)
class Figures:
    """What a field is judged by; None where it is not known."""

    focus: float | None
    """Deviation of the edges' blur, px."""
    saturated_fraction: float | None
    illumination_range: float | None
    unlike_training: float | None
    """Distance from the training set's centre over what 99 in 100 of its kind keep within."""
    unsure_fraction: float | None


def load_libraries() -> None:
    """Import what judging takes: up to a second, in which frames would pile up later."""
    import scipy.ndimage  # noqa: F401


def figures_of(
    pixels: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
    statistics: TrainingStatistics | None,
    seen: NDArray[np.uint8] | None = None,
) -> Figures:
    """Of a whole field: `pixels` uint8 [H, W, 3], `classes` and `confidence` x 255 uint8 [H, W].

    What is left out, 255 in `classes`, has no part in any of them. `seen` is what the network was
    given where that is the field at another pixel size, uint8 [h, w, 3]: this, not the field's own
    pixels, is like the training set or not.
    """
    from hptl_deploy.quality.illumination import illumination_range

    counts = count(pixels, classes, confidence)
    left_out = classes if counts.pixels < classes.size else None
    return Figures(
        focus=focus_of(pixels, left_out),
        saturated_fraction=counts.saturated_fraction,
        illumination_range=illumination_range(pixels, classes),
        unlike_training=_unlikeness(
            pixels if seen is None else seen, classes, confidence, left_out, statistics
        ),
        unsure_fraction=counts.unsure_fraction,
    )


def banded_figures(counts: Counts) -> Figures:
    """Of a mosaic, whose pixels are never in memory together: what is counted in its bands."""
    return Figures(None, counts.saturated_fraction, None, None, counts.unsure_fraction)


def focus_of(pixels: NDArray[np.uint8], classes: NDArray[np.uint8] | None = None) -> float | None:
    """Blur of the edges in `pixels`, uint8 [H, W, 3], px; see `focus`.

    Those that are 255 in `classes`, uint8 [H, W], are not looked at.
    """
    from hptl_deploy.quality.focus import edge_blur
    from hptl_deploy.quality.sample import blocks_of, grey

    blocks = []
    for place in blocks_of(*pixels.shape[:2]):
        block = grey(pixels[place])
        if classes is not None:
            block[classes[place] == IGNORE] = float("nan")
        blocks.append(block)
    return edge_blur(blocks)


def _unlikeness(
    pixels: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
    left_out: NDArray[np.uint8] | None,
    statistics: TrainingStatistics | None,
) -> float | None:
    import numpy as np

    from hptl_deploy.quality.features import FEATURES, answer_features, pixel_features

    if statistics is None or statistics.features != FEATURES:
        return None
    if left_out is not None and left_out.shape != pixels.shape[:2]:
        rows, columns = (
            np.arange(length) * own // length
            for length, own in zip(pixels.shape[:2], left_out.shape, strict=True)
        )
        left_out = left_out[rows[:, None], columns]
    shown = pixel_features(pixels, left_out)
    answered = answer_features(classes, confidence)
    if shown is None or answered is None:
        return None
    return statistics.unlikeness(np.concatenate([shown, answered]))


def flags_of(figures: Figures, card: ModelCard, pixel_size_um: float | None) -> tuple[str, ...]:
    """Which of FLAGS a field has; `pixel_size_um` is its own, before any resampling."""
    of_size = _of_size(_trained_sizes(card), pixel_size_um)
    found = {*flags_of_picture(figures, card), *(flag for flag, is_so in of_size.items() if is_so)}
    return tuple(flag for flag in FLAGS if flag in found)


def flags_of_picture(figures: Figures, card: ModelCard) -> tuple[str, ...]:
    """Which of FLAGS a field's figures raise, whatever its pixel size."""
    limits = card.training_statistics.limits if card.training_statistics is not None else {}
    usual = limits.get("unsure_fraction")
    unsure = UNSURE_FRACTION if usual is None else max(usual, UNSURE_LEAST)
    found = {
        **{
            flag: _above(getattr(figures, name), max(least, limits.get(name, 0.0)))
            for flag, (name, least) in BEYOND.items()
        },
        UNSURE: _above(figures.unsure_fraction, unsure),
        UNLIKE: _above(figures.unlike_training, 1.0),
    }
    return tuple(flag for flag in FLAGS if found.get(flag))


def _above(figure: float | None, limit: float) -> bool:
    return figure is not None and figure > limit


def _trained_sizes(card: ModelCard) -> tuple[float, float] | None:
    if card.training_statistics is not None and card.training_statistics.pixel_sizes_um:
        return card.training_statistics.pixel_sizes_um
    return None if card.pixel_size_um is None else (card.pixel_size_um, card.pixel_size_um)


def _of_size(trained: tuple[float, float] | None, size: float | None) -> dict[str, bool]:
    if trained is None:
        return {}
    if size is None:
        return {NO_SIZE: True}
    smallest, largest = trained
    return {OTHER_SIZE: not smallest / SIZE_FACTOR <= size <= largest * SIZE_FACTOR}
