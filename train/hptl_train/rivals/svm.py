"""SVM: a support vector machine over each pixel's colour and boundary features.

Features (`features.py`) are standardised and lifted by a Nystroem approximation of the kernel
exp(-gamma |a - b|^2 / F) (Williams and Seeger 2001): the machine is linear in what is lifted,
so that its price per pixel does not grow with the training set. One machine per phase against
the rest, with hinge loss and L2 (scikit-learn's SGDClassifier, averaged).

Training pixels are drawn phase by phase, then weighted back to the phases' true shares: rare
phases are well sampled, and still as rare for the machine as they are in the micrographs.

The loss is the multi-class hinge of Crammer and Singer (2001), as scikit-learn's
`hinge_loss`: max(0, 1 - score of the true phase + best score of another), mean per labelled
pixel. The machine of a phase that training does not show has no positive example; its hinge
loss is least for the score -1 everywhere, which is what it gets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hptl_deploy.errors import DataSetError
from hptl_deploy.phases import IGNORE
from hptl_train.data.batches import generator
from hptl_train.rivals.base import Rival
from hptl_train.rivals.features import features_of_tile, names, tiles

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from hptl_train.data.crops import Frame
    from hptl_train.rivals.base import Arrays
    from hptl_train.rivals.tables import SvmTable

_SIDE = 1024
"""Of the tiles a frame is segmented in. With halos and 35 features: 170 MB, and 400 MB at the
most while they are computed and scored, however large the frame."""

_SAMPLED_SIDE = 128
"""Of the tiles that training pixels are drawn from."""

_CHUNK = 1 << 15
"""Pixels that are lifted at once: 40 MB for 300 components."""

_STREAM_SAMPLE = 41


@dataclass(frozen=True)
class Sample:
    """What the machine is trained on: n pixels and how common their phases are."""

    features: NDArray[np.float32]
    """[n, F]."""
    classes: NDArray[np.int64]
    """[n], 0 to K - 1."""
    shares: NDArray[np.float64]
    """[K]: of all labelled pixels of the training frames."""


class Svm(Rival):
    """Kernel machine; F features, M components, K phases."""

    arrays: ClassVar[Mapping[str, str]] = {
        "mean": "F",
        "deviation": "F",
        "components": "MF",
        "weights": "MK",
        "offsets": "K",
        "seen": "K",
    }

    def __init__(self, table: SvmTable) -> None:
        super().__init__()
        self._table = table

    def sample(self, frames: Sequence[Frame], phases: int, seed: int) -> Sample:
        """The training pixels that `fit` takes from `frames`.

        For each phase, tiles that hold it are drawn with equal chances, then pixels from all
        of its pixels in them. So features are computed of so many tiles at the most, however
        many frames there are.
        """
        rng = generator(seed, _STREAM_SAMPLE)
        places = [
            (number, tile)
            for number, (_, labels) in enumerate(frames)
            for tile in tiles(labels.shape, self._table.sigmas, _SAMPLED_SIDE)
        ]
        tiles_labels = [frames[number][1][tile.write.slices] for number, tile in places]
        # [T, K]: pixels of each phase in each tile, and how many of them are taken.
        counts = np.array(
            [np.bincount(part.ravel(), minlength=phases)[:phases] for part in tiles_labels]
        )
        taken = np.stack([self._taken(column, rng) for column in counts.T], axis=1)
        rows, classes = [], []
        for place in np.flatnonzero(taken.any(axis=1)):
            number, tile = places[place]
            planes = features_of_tile(frames[number][0], self._table.sigmas, tile)
            for phase in np.flatnonzero(taken[place]):
                there = np.argwhere(tiles_labels[place] == phase)
                picked = rng.choice(there, taken[place, phase], replace=False)
                rows.append(planes[:, picked[:, 0], picked[:, 1]].T)
                classes.append(np.full(len(picked), phase))
        shares = counts.sum(axis=0) / counts.sum()
        return Sample(np.concatenate(rows), np.concatenate(classes), shares)

    def _taken(self, counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """How many pixels of a phase to take from each tile, [T], given how many it holds."""
        holding = np.flatnonzero(counts)
        chosen = rng.permutation(holding)[: self._table.tiles_per_phase]
        wanted = min(self._table.pixels_per_phase, int(counts[chosen].sum()))
        taken = np.zeros_like(counts)
        taken[chosen] = rng.multivariate_hypergeometric(counts[chosen], wanted, method="marginals")
        return taken

    def _fit(self, frames: Sequence[Frame], phases: int, seed: int) -> Arrays:
        sample = self.sample(frames, phases, seed)
        seen = sample.shares > 0
        if seen.sum() < 2:
            raise DataSetError(
                f"the training split shows one phase only (class index {seen.argmax()}), "
                "and a support vector machine separates two or more"
            )
        return _folded(self._machine(sample, seed), seen)

    def _machine(self, sample: Sample, seed: int) -> Pipeline:
        """Scaler, kernel approximation and machines, fitted: a scikit-learn pipeline."""
        from sklearn.kernel_approximation import Nystroem
        from sklearn.linear_model import SGDClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        pixels, kinds = sample.features.shape
        table, seed = self._table, seed % 2**32  # scikit-learn takes no larger one
        taken = np.bincount(sample.classes, minlength=len(sample.shares))
        # Balanced in number, natural in weight; the mean weight is 1.
        weight = {
            phase: sample.shares[phase] / (taken[phase] / pixels)
            for phase in np.flatnonzero(taken).tolist()
        }
        kernel = Nystroem(
            gamma=table.gamma / kinds,
            n_components=min(table.components, pixels),
            random_state=seed,
        )
        machine = SGDClassifier(
            loss="hinge",
            # |w|^2 / 2 + c sum(hinge), divided by c n.
            alpha=1 / (table.c * pixels),
            class_weight=weight,
            average=True,
            tol=1e-4,
            random_state=seed,
        )
        return make_pipeline(StandardScaler(), kernel, machine).fit(sample.features, sample.classes)

    def _sizes(self) -> Mapping[str, int]:
        return {"F": len(names(self._table.sigmas))}

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Decision values [n, K] of `features` [n, F]; two phases have each other's negative.

        The margin between two phases is scikit-learn's decision value.
        """
        return self._scores(features, self._need())

    def _scores(self, features: NDArray[np.float32], learned: Arrays) -> NDArray[np.float32]:
        standard = (features - learned["mean"]) / learned["deviation"]
        components = learned["components"]
        distances = standard @ (-2 * components.T)
        distances += (standard**2).sum(axis=1, keepdims=True)
        distances += (components**2).sum(axis=1)
        distances *= -self._table.gamma / features.shape[1]
        lifted = np.exp(distances, out=distances)
        scores: NDArray[np.float32] = lifted @ learned["weights"] + learned["offsets"]
        return scores

    def _classes(self, pixels: NDArray[np.uint8], learned: Arrays) -> NDArray[np.uint8]:
        return self._mapped(pixels, None, learned)[0]

    def _judged(
        self, pixels: NDArray[np.uint8], labels: NDArray[np.uint8], learned: Arrays
    ) -> tuple[NDArray[np.uint8], float]:
        return self._mapped(pixels, labels, learned)

    def _mapped(
        self, pixels: NDArray[np.uint8], labels: NDArray[np.uint8] | None, learned: Arrays
    ) -> tuple[NDArray[np.uint8], float]:
        """(class indices [H, W], hinge loss summed over the pixels that `labels` names)."""
        seen = np.flatnonzero(learned["seen"]).astype(np.uint8)
        found = np.empty(pixels.shape[:2], np.uint8)
        loss = 0.0
        for tile in tiles(pixels.shape, self._table.sigmas, _SIDE):
            planes = features_of_tile(pixels, self._table.sigmas, tile)
            kinds, height, width = planes.shape
            rows = max(1, _CHUNK // width)
            for top in range(0, height, rows):
                part = planes[:, top : top + rows]
                scores = self._scores(part.reshape(kinds, -1).T, learned)  # [rows * width, K]
                first = tile.write.y0 + top
                where = slice(first, first + part.shape[1]), tile.write.slices[1]
                found[where] = seen[scores[:, seen].argmax(axis=1)].reshape(part.shape[1:])
                if labels is not None:
                    truth = labels[where].ravel()
                    loss += hinge_sum(scores[truth != IGNORE], truth[truth != IGNORE])
        return found, loss


def hinge_sum(scores: NDArray[np.float32], truth: NDArray[np.uint8]) -> float:
    """Multi-class hinge loss of `scores` [n, K] against `truth` [n], summed over the pixels."""
    place = truth[:, None].astype(np.intp)
    own = np.take_along_axis(scores, place, axis=1)[:, 0]
    others = scores.copy()
    np.put_along_axis(others, place, -np.inf, axis=1)
    return float(np.maximum(0, 1 - own + others.max(axis=1)).sum(dtype=np.float64))


def _folded(pipeline: Pipeline, seen: NDArray[np.bool_]) -> Arrays:
    """`pipeline` as arrays; the approximation's root goes into the machines' weights."""
    scaler, kernel, machine = (step for _, step in pipeline.steps)
    coefficients, offsets = machine.coef_, machine.intercept_
    if len(coefficients) == 1:
        # scikit-learn keeps one machine of two phases: half of it for each, so that their
        # margin is its decision value.
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        offsets = np.concatenate([-offsets, offsets]) / 2
    weights = np.zeros((len(kernel.components_), len(seen)))
    weights[:, seen] = kernel.normalization_.T @ coefficients.T
    all_offsets = np.full(len(seen), -1.0)
    all_offsets[seen] = offsets
    learned = {
        "mean": scaler.mean_,
        "deviation": scaler.scale_,
        "components": kernel.components_,
        "weights": weights,
        "offsets": all_offsets,
    }
    return {key: array.astype(np.float32) for key, array in learned.items()} | {
        "seen": seen.astype(np.uint8)
    }
