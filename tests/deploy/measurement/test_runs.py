"""Particles as runs: against scikit-image's labels and maps drawn by hand."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from skimage.measure import label

from hptl_deploy.measurement.runs import label_image, runs_of

SMALL = arrays(
    np.uint8,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    elements=st.sampled_from([0, 1, 2, 255]),
)


def test_runs_of_a_drawn_map() -> None:
    classes = np.array(
        [
            [1, 1, 0, 2, 2],
            [0, 0, 1, 2, 0],
            [255, 1, 0, 0, 2],
        ],
        np.uint8,
    )
    runs = runs_of(classes, 3)
    assert runs.row.tolist() == [0, 0, 1, 1, 2, 2]
    assert runs.start.tolist() == [0, 3, 2, 3, 1, 4]
    assert runs.end.tolist() == [2, 5, 3, 4, 2, 5]
    assert runs.phase.tolist() == [1, 2, 1, 2, 1, 2]
    assert runs.particle.tolist() == [0, 1, 0, 1, 0, 1]
    assert runs.count == 2
    assert [array.dtype for array in (runs.row, runs.start, runs.end, runs.particle)] == (
        [np.int32] * 4
    )
    assert label_image(runs, (3, 5)).tolist() == [
        [1, 1, 0, 2, 2],
        [0, 0, 1, 2, 0],
        [0, 1, 0, 0, 2],
    ]


def test_particles_are_numbered_by_their_first_run() -> None:
    classes = np.array([[0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]], np.uint8)
    runs = runs_of(classes, 2)
    assert runs.particle.tolist() == [0, 1, 2]


@pytest.mark.parametrize("shape", [(1, 1), (7, 1), (1, 7), (3, 4)])
@pytest.mark.parametrize("index", [0, 3, 255])
def test_a_map_without_particles(shape: tuple[int, int], index: int) -> None:
    runs = runs_of(np.full(shape, index, np.uint8), 3)
    assert runs.count == 0
    assert len(runs.row) == 0
    assert not label_image(runs, shape).any()


@given(SMALL)
@settings(max_examples=300)
def test_labels_are_those_of_scikit_image_at_8_connectivity(classes: np.ndarray) -> None:
    classes = classes.copy()
    expected = np.zeros(classes.shape, np.int64)
    for index in (1, 2):
        labels = label(classes == index, connectivity=2)
        expected[labels > 0] = labels[labels > 0] + 1000 * index
    runs = runs_of(classes, 3)
    found = label_image(runs, classes.shape)
    assert ((found > 0) == (expected > 0)).all()
    pairs = set(zip(found[found > 0].tolist(), expected[found > 0].tolist(), strict=True))
    assert len(pairs) == runs.count == len({one for one, _ in pairs}) == len({o for _, o in pairs})
    seen = found[found > 0]
    _, first = np.unique(seen, return_index=True)
    assert (np.diff(first) > 0).all()  # numbered in scan order


def test_above_65535_particles_labels_are_32_bits_wide() -> None:
    classes = np.zeros((514, 514), np.uint8)
    classes[::2, ::2] = 1
    runs = runs_of(classes, 2)
    labels = label_image(runs, classes.shape)
    assert runs.count == 257 * 257 == labels.max()
    assert labels.dtype == np.int32
    assert label_image(runs_of(classes[:510, :510], 2), (510, 510)).dtype == np.uint16
