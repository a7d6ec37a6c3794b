"""Which figures raise which flags, and what a card without statistics leaves open."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hptl_deploy.model import ModelCard
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.quality.features import FEATURES, answer_features, pixel_features
from hptl_deploy.quality.fitting import Observed, fit
from hptl_deploy.quality.judging import FLAGS, NOISE, Figures, figures_of, flags_of
from hptl_deploy.quality.row import QUALITY_COLUMNS, flag_counts, part_flags, quality_row
from hptl_deploy.quality.statistics import LIMITS, TrainingStatistics
from support.drawings import blobs
from support.edges import edges

PLAIN = Figures(
    focus=1.5, saturated_fraction=0.0, illumination_range=0.1, unlike_training=None,
    unsure_fraction=0.002,
)  # fmt: skip
CARD = ModelCard(
    name="small", network="fcn8s", channels=(1, 1, 1, 1, 1), fc=1, phases=PAPER_PHASES,
    input_scale=4, stride=8, halo=72, bytes_per_pixel=10.0, pixel_size_um=None,
)  # fmt: skip


def statistics(**limits: float) -> TrainingStatistics:
    rng = np.random.default_rng(0)
    training = [Observed(rng.normal(0, 1, len(FEATURES)), dict.fromkeys(LIMITS), None)
                for _ in range(30)]  # fmt: skip
    found = fit(FEATURES, training, [])
    assert found is not None
    return replace(found, limits=limits)


def flags(card: ModelCard = CARD, size: float | None = None, **figures: float) -> tuple[str, ...]:
    return flags_of(replace(PLAIN, **figures), card, size)


@pytest.mark.parametrize(
    ("flag", "name", "within", "beyond"),
    [
        ("out of focus", "focus", 2.5, 2.51),
        ("saturated", "saturated_fraction", 0.01, 0.011),
        ("uneven illumination", "illumination_range", 0.3, 0.31),
        ("low confidence", "unsure_fraction", 0.05, 0.051),
        ("unlike the training set", "unlike_training", 1.0, 1.01),
    ],
)
def test_a_flag_is_raised_beyond_its_limit(
    flag: str, name: str, within: float, beyond: float
) -> None:
    assert flags_of(PLAIN, CARD, None) == ()
    assert flags_of(replace(PLAIN, **{name: within}), CARD, None) == ()
    assert flags_of(replace(PLAIN, **{name: beyond}), CARD, None) == (flag,)


def test_what_the_network_has_learned_from_raises_no_flag() -> None:
    card = replace(CARD, training_statistics=statistics(focus=4.0, illumination_range=0.1))
    assert flags(card, focus=3.9) == ()
    assert flags(card, focus=4.1) == ("out of focus",)
    # A training set that is lit more evenly than most makes nothing stricter.
    assert flags(card, illumination_range=0.29) == ()


def test_how_much_doubt_is_usual_depends_on_the_model() -> None:
    sure = replace(CARD, training_statistics=statistics(unsure_fraction=0.001))
    assert flags(sure, unsure_fraction=0.009) == ()
    assert flags(sure, unsure_fraction=0.011) == ("low confidence",)
    unsure = replace(CARD, training_statistics=statistics(unsure_fraction=0.2))
    assert flags(unsure, unsure_fraction=0.19) == ()
    assert flags(unsure, unsure_fraction=0.21) == ("low confidence",)


def test_pixel_sizes() -> None:
    assert flags(CARD, 5.0) == flags(CARD, None) == ()  # nothing is known of the training's
    stated = replace(CARD, pixel_size_um=0.1)
    assert flags(stated, None) == ("pixel size unknown",)
    assert flags(stated, 0.05) == flags(stated, 0.2) == ()
    assert flags(stated, 0.049) == flags(stated, 0.21) == ("pixel size outside training",)
    ranged = replace(CARD, training_statistics=replace(statistics(), pixel_sizes_um=(0.06, 0.14)))
    assert flags(ranged, 0.03) == flags(ranged, 0.28) == ()
    assert flags(ranged, 0.029) == flags(ranged, 0.29) == ("pixel size outside training",)
    assert flags(ranged, None) == ("pixel size unknown",)


def test_the_flags_of_a_part_are_those_of_its_figures_alone() -> None:
    assert part_flags({"saturated_fraction": 0.02, "unsure_fraction": 0.06}, CARD) == (
        "saturated; low confidence"
    )
    assert part_flags({"saturated_fraction": 0.01, "unsure_fraction": None}, CARD) == ""


def test_several_flags_keep_their_order() -> None:
    all_but = Figures(9.0, 0.5, 0.9, 3.0, 0.5)
    found = flags_of(all_but, replace(CARD, pixel_size_um=1.0), 9.0)
    assert found == tuple(flag for flag in FLAGS if flag not in ("pixel size unknown", NOISE))
    row = quality_row(all_but, CARD, None)
    noisy = quality_row(all_but, CARD, None, noise=True)
    assert noisy == {**row, "flags": f"{row['flags']}; too many particles to be any"}
    assert list(row) == list(QUALITY_COLUMNS)
    assert row["flags"] == (
        "out of focus; saturated; uneven illumination; low confidence; unlike the training set"
    )
    assert row["focus"] == 9.0
    rows = [row, quality_row(replace(PLAIN, focus=9.0), CARD, None), quality_row(PLAIN, CARD, None)]
    assert rows[2]["flags"] == ""
    assert list(flag_counts(rows).items()) == [
        ("out of focus", 2), ("saturated", 1), ("uneven illumination", 1), ("low confidence", 1),
        ("unlike the training set", 1),
    ]  # fmt: skip


def test_features_of_another_version_are_not_evaluated() -> None:
    pixels, classes = edges(1.5), np.zeros((480, 640), np.uint8)
    sure = np.full_like(classes, 250)
    known = statistics()
    assert figures_of(pixels, classes, sure, known).unlike_training is not None
    other = replace(known, features=("brightness", *known.features[1:-1], "another"))
    assert figures_of(pixels, classes, sure, other).unlike_training is None
    assert figures_of(pixels, classes, sure, None).unlike_training is None


def test_what_is_left_out_changes_nothing() -> None:
    """A bar of text in the lower rows, left out, against the same frame without these rows."""
    pixels = np.repeat(blobs(700, 900, seed=1)[..., None], 3, axis=2)
    classes = (pixels[..., 0] > 128).astype(np.uint8)
    sure = np.where(pixels[..., 1] > 200, 100, 250).astype(np.uint8)
    cut = figures_of(pixels[:600], classes[:600], sure[:600], statistics())
    pixels[600:] = 255
    pixels[600::2, ::2] = 0
    classes[600:] = 255
    sure[600:] = 0
    masked = figures_of(pixels, classes, sure, statistics())
    assert masked.saturated_fraction == cut.saturated_fraction
    assert masked.unsure_fraction == cut.unsure_fraction
    # Other blocks and cells, hence not the very same.
    assert masked.focus == pytest.approx(cut.focus, rel=0.05)
    assert masked.unlike_training == pytest.approx(cut.unlike_training, rel=0.05)
    nothing = figures_of(pixels, np.full_like(classes, 255), sure, statistics())
    assert nothing == Figures(None, None, None, None, None)


def test_what_the_network_saw_is_compared_with_the_training_set() -> None:
    pixels = np.repeat(blobs(300, 400, seed=1)[..., None], 3, axis=2)
    twice = pixels.repeat(2, axis=0).repeat(2, axis=1)
    classes = (pixels[..., 0] > 128).astype(np.uint8)
    sure = np.full_like(classes, 240)
    known = statistics()
    own = figures_of(pixels, classes, sure, known)
    wide = classes.repeat(2, axis=0).repeat(2, axis=1)
    shown = figures_of(twice, wide, np.full_like(wide, 240), known, seen=pixels)
    assert shown.unlike_training == own.unlike_training
    assert figures_of(twice, wide, np.full_like(wide, 240), known) != shown
    # What is left out is found again at the other pixel size.
    classes[200:] = wide[400:] = 255
    pixels[200:] = 255
    cut = figures_of(pixels, classes, sure, known)
    shown = figures_of(twice, wide, np.full_like(wide, 240), known, seen=pixels)
    assert shown.unlike_training == pytest.approx(cut.unlike_training)


def test_textures_are_mean_differences() -> None:
    """Against loops over a small frame, with a hole in it."""
    rng = np.random.default_rng(2)
    pixels = rng.integers(20, 230, (48, 64, 3)).astype(np.uint8)
    hole = np.zeros((48, 64), bool)
    hole[10:20, 30:45] = True
    found = pixel_features(pixels, np.where(hole, 255, 1).astype(np.uint8))
    assert found is not None
    grey = (pixels[..., 0] / 4 + pixels[..., 1] / 2 + pixels[..., 2] / 4).astype(float)
    grey[hole] = np.nan
    mean = np.nanmean(grey) + 1
    assert found[0] == pytest.approx(np.log(mean), rel=1e-6)
    assert found[1] == pytest.approx(
        np.log((pixels[~hole][:, 0].mean() + 1) / (pixels[~hole][:, 1].mean() + 1)), rel=1e-6
    )
    for octave in range(3):
        side = 2**octave
        coarse = np.array([[grey[y : y + side, x : x + side].mean()
                            for x in range(0, 64, side)] for y in range(0, 48, side)])  # fmt: skip
        steps = [*np.abs(np.diff(coarse, axis=0)).ravel(), *np.abs(np.diff(coarse, axis=1)).ravel()]
        expected = np.log(np.nanmean(steps) / mean + 1e-3)
        assert found[6 + octave] == pytest.approx(expected, rel=1e-5)
    assert pixel_features(pixels[:20, :20]) is None
    assert answer_features(np.full((5, 5), 255, np.uint8), np.zeros((5, 5), np.uint8)) is None
