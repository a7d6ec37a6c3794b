"""SVM: scores, loss and maps against scikit-learn's; the sample; what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import hinge_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hptl_deploy.errors import DataSetError, RunError
from hptl_train.recipe import RivalRecipe, load_recipe
from hptl_train.rivals import load_rival, make_rival
from hptl_train.rivals.features import features, names
from hptl_train.rivals.svm import Sample, Svm, hinge_sum
from hptl_train.rivals.tables import SvmTable
from support.labelled import draw
from support.rivals import mean_loss

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_train.data.crops import Frame

SIGMAS = (1.0, 2.0)
EXACT = 2e-3
"""Single precision against scikit-learn's double: scores are of the order of 1."""


def table(**changes: object) -> SvmTable:
    settings: dict[str, Any] = {
        "sigmas": SIGMAS,
        "tiles_per_phase": 20,
        "pixels_per_phase": 300,
        "components": 40,
        "gamma": 1.0,
        "c": 1.0,
    }
    return SvmTable(**settings | changes)


def drawn(count: int, seed: int = 0, phases: int = 3) -> list[Frame]:
    frames = [draw((90, 120), np.random.default_rng([seed, n])) for n in range(count)]
    return [
        (pixels, np.where(labels < phases, labels, 255).astype(np.uint8))
        for pixels, labels in frames
    ]


def fitted(phases: int = 3, **changes: object) -> Svm:
    rival = Svm(table(**changes))
    rival.fit(drawn(3, phases=phases), phases, seed=5)
    return rival


def scikit_learns(sample: Sample, seed: int) -> Any:
    """The same machine, of scikit-learn's parts alone."""
    n, f = sample.features.shape
    taken = np.bincount(sample.classes)
    machine = SGDClassifier(
        loss="hinge",
        alpha=1 / n,
        class_weight=dict(enumerate(sample.shares * n / taken)),
        average=True,
        tol=1e-4,
        random_state=seed,
    )
    kernel = Nystroem(kernel="rbf", gamma=1 / f, n_components=40, random_state=seed)
    return make_pipeline(StandardScaler(), kernel, machine).fit(sample.features, sample.classes)


def rows(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return features(pixels, SIGMAS).reshape(len(names(SIGMAS)), -1).T


@pytest.mark.parametrize("phases", [2, 3])
def test_scores_and_losses_are_scikit_learns(phases: int) -> None:
    rival = fitted(phases)
    theirs = scikit_learns(rival.sample(drawn(3, phases=phases), phases, 5), 5)
    unseen = drawn(2, seed=8, phases=phases)
    decisions = np.concatenate([theirs.decision_function(rows(pixels)) for pixels, _ in unseen])
    scores = np.concatenate([rival.scores(rows(pixels)) for pixels, _ in unseen])
    margins = scores if phases > 2 else scores[:, 1] - scores[:, 0]
    assert np.abs(margins - decisions).max() < EXACT
    truth = np.concatenate([labels.ravel() for _, labels in unseen])
    labelled = truth != 255
    assert labelled.all() == (phases == 3)
    expected = hinge_loss(truth[labelled], decisions[labelled])
    assert mean_loss(rival, unseen) == pytest.approx(expected, abs=EXACT)


def test_the_loss_is_crammer_and_singers() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(500, 4)).astype(np.float32)
    truth = rng.integers(0, 4, 500).astype(np.uint8)
    assert hinge_sum(scores, truth) == pytest.approx(500 * hinge_loss(truth, scores), rel=1e-6)


def test_a_frame_in_tiles_is_the_whole_frame() -> None:
    """Longer than one tile; each class is that of scikit-learn on the whole frame's features."""
    pixels, labels = draw((40, 1100), np.random.default_rng(7))
    rival = fitted()
    theirs = scikit_learns(rival.sample(drawn(3), 3, 5), 5)
    decisions = theirs.decision_function(rows(pixels))
    best, second = -np.sort(-decisions, axis=1)[:, :2].T
    clear = (best - second > 2 * EXACT).reshape(labels.shape)
    assert clear.mean() > 0.99
    found = rival.classes(pixels)
    assert np.array_equal(found[clear], decisions.argmax(axis=1).reshape(labels.shape)[clear])
    assert (found == labels).mean() > 0.98
    again, summed = rival.judged(pixels, labels)
    assert np.array_equal(again, found)
    assert summed == pytest.approx(labels.size * hinge_loss(labels.ravel(), decisions), rel=0.01)


def test_the_sample_is_balanced_and_says_the_true_shares() -> None:
    """Red and green say a pixel's place, blue its phase: 3 is in no label, 1 is rare."""
    y, x = np.mgrid[:90, :120]
    labels = (x % 2 * 2).astype(np.uint8)
    labels[40, 7:57] = 1
    blue = labels.copy()
    labels[:5] = 255
    frames = [(np.stack([y, x, blue], axis=-1).astype(np.uint8), labels)] * 2
    sample = Svm(table()).sample(frames, 4, seed=1)
    assert np.bincount(sample.classes, minlength=4).tolist() == [300, 2 * 50, 300, 0]
    red, green, blue = sample.features[:, :3].T
    assert np.array_equal(blue, sample.classes)
    assert red.min() >= 5  # above lie ignored pixels
    rare = blue == 1
    assert sorted(green[rare]) == sorted([*range(7, 57)] * 2)  # each once from each frame
    counts = np.bincount(labels[labels != 255], minlength=4)
    assert sample.shares == pytest.approx(counts / counts.sum())


@pytest.mark.parametrize("asked", [1, 4, 99])
def test_pixels_come_from_as_many_tiles_as_are_asked_for(asked: int) -> None:
    """Pixels that say their tile: its row, its column, its frame. There are 2 x 3 x 3."""
    y, x = np.mgrid[:200, :300] // 128
    frames = [
        (np.stack([y, x, 0 * x + n], axis=-1).astype(np.uint8), np.zeros(y.shape, np.uint8))
        for n in range(3)
    ]
    sample = Svm(table(tiles_per_phase=asked)).sample(frames, 2, seed=0)
    assert len(sample.classes) == 300
    assert len(np.unique(sample.features[:, :3], axis=0)) == min(asked, 18)


def test_phases_weigh_what_they_cover() -> None:
    """Two phases that look alike: everything is the commoner one, however they are sampled."""
    rng = np.random.default_rng(0)
    pixels = rng.normal(128, 20, (90, 120, 1)).clip(0, 255).astype(np.uint8).repeat(3, axis=2)
    labels = (rng.random((90, 120)) < 0.1).astype(np.uint8)
    rival = Svm(table())
    rival.fit([(pixels, labels)], 2, seed=0)
    assert (rival.classes(pixels) == 0).mean() > 0.99


def test_a_phase_never_shown_is_never_called_and_scores_minus_one() -> None:
    rival = Svm(table())
    rival.fit(drawn(3), 5, seed=0)
    pixels, labels = drawn(1, seed=8)[0]
    scores = rival.scores(rows(pixels))
    assert (scores[:, 3:] == -1).all()
    assert set(np.unique(rival.classes(pixels))) == {0, 1, 2}
    expected = (2 + scores[:, :3].clip(-1).max(axis=1)).mean()
    found = mean_loss(rival, [(pixels, np.full_like(labels, 4))], phases=5)
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_seed_decides() -> None:
    pixels = drawn(1, seed=8)[0][0]
    one, same, other = (Svm(table()) for _ in range(3))
    for rival, seed in ((one, 5), (same, 5), (other, 2**40)):
        rival.fit(drawn(3), 3, seed)
    assert np.array_equal(one.scores(rows(pixels)), same.scores(rows(pixels)))
    assert not np.array_equal(one.scores(rows(pixels)), other.scores(rows(pixels)))


def test_what_was_fitted_can_be_kept(tmp_path: Path) -> None:
    recipe = load_recipe("svm")
    assert isinstance(recipe, RivalRecipe)
    recipe = recipe.model_copy(update={"svm": table()})
    rival = make_rival(recipe)
    pixels, labels = drawn(1)[0]
    rival.fit([(pixels, labels)], 3, seed=0)
    path = tmp_path / "fitted"
    rival.save(path)
    again = load_rival(recipe, path)
    assert np.array_equal(again.classes(pixels), rival.classes(pixels))
    assert mean_loss(again, [(pixels, labels)]) == mean_loss(rival, [(pixels, labels)])
    wider = recipe.model_copy(update={"svm": table(sigmas=(1.0, 2.0, 4.0))})
    otsu = load_recipe("otsu")
    assert isinstance(otsu, RivalRecipe)
    for wrong in (wider, otsu):
        with pytest.raises(RunError) as raised:
            load_rival(wrong, path)
        assert str(raised.value) == f"{path}: was fitted by another rival than the recipe's"


def test_one_phase_cannot_be_separated() -> None:
    pixels, labels = drawn(1)[0]
    with pytest.raises(DataSetError) as raised:
        Svm(table()).fit([(pixels, np.full_like(labels, 2))], 3, seed=0)
    assert str(raised.value) == (
        "the training split shows one phase only (class index 2), and a support vector machine "
        "separates two or more"
    )
