"""Particles against scikit-image, brute force, and figures drawn by hand."""

from __future__ import annotations

import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import regionprops
from skimage.morphology import convex_hull_image

from hptl_deploy.datasets import load_data_set, read_labels
from hptl_deploy.measurement.particles import SHAPE_PX, Measuring, Particles
from hptl_deploy.measurement.runs import RowRuns, label_image, row_runs, runs_of
from hptl_deploy.synthesis.frame import make_frame
from support.particles import measured
from support.real_data import uhcs

SMALL = arrays(
    np.uint8,
    st.tuples(st.integers(1, 11), st.integers(1, 11)),
    elements=st.sampled_from([0, 1, 1, 2, 2, 255]),
)
SIZE_AND_SHAPE = (
    "equivalent_diameter",
    "perimeter",
    "max_feret",
    "min_feret",
    "aspect_ratio",
    "orientation",
    "circularity",
    "solidity",
    "holes",
    "nearest_neighbour",
)
SHAPE = (
    "max_feret",
    "min_feret",
    "aspect_ratio",
    "orientation",
    "circularity",
    "solidity",
)


def framed(figure: NDArray[np.uint8], margin: int = 2) -> NDArray[np.uint8]:
    return np.pad(figure, margin)


def check_against_scikit_image(classes: NDArray[np.uint8], phases: int) -> Particles:
    """Every figure that both have; whole numbers and exact formulas to rounding."""
    confidence = np.random.default_rng(0).integers(85, 256, classes.shape, np.uint8)
    found = measured(classes, confidence)
    labels = label_image(runs_of(classes, phases), classes.shape)
    regions = regionprops(labels, confidence)
    assert len(found) == len(regions) > 0
    for place, region in enumerate(regions):
        assert found.area[place] == region.area
        y, x = region.centroid
        assert (found.x[place], found.y[place]) == pytest.approx((x + 0.5, y + 0.5), abs=1e-9)
        box = (found.top[place], found.left[place], found.bottom[place], found.right[place])
        assert box == region.bbox
        assert found.mean_confidence[place] == pytest.approx(region.intensity_mean / 255)
        if found.cut[place]:
            continue
        assert found.equivalent_diameter[place] == pytest.approx(region.equivalent_diameter_area)
        perimeter = _crofton(region.image)
        assert found.perimeter[place] == pytest.approx(perimeter)
        assert found.holes[place] == 1 - region.euler_number
        if region.area >= SHAPE_PX:
            hull = convex_hull_image(region.image, offset_coordinates=False)
            assert found.solidity[place] == pytest.approx(region.area / hull.sum())
            circularity = 4 * np.pi * region.area / perimeter**2
            assert found.circularity[place] == pytest.approx(min(1, circularity))
            assert found.max_feret[place] == pytest.approx(region.feret_diameter_max, abs=1.0)
    return found


def _crofton(image: NDArray[np.bool_]) -> float:
    from skimage.measure import perimeter_crofton

    return float(perimeter_crofton(np.pad(image, 1), directions=4))


def test_a_synthetic_frame_against_scikit_image() -> None:
    labels = make_frame(1, 0, 960, 1280).labels
    found = check_against_scikit_image(labels, 3)
    assert (found.area >= SHAPE_PX).sum() > 30
    assert found.cut.any()


def test_a_real_label_against_scikit_image() -> None:
    data_set = load_data_set(uhcs())
    labels = read_labels(data_set.samples[0].label, data_set.code)
    check_against_scikit_image(np.ascontiguousarray(labels), len(data_set.phases))


def brute_force_holes(inside: NDArray[np.bool_]) -> int:
    """Pieces of the rest, at 4-connectivity, that are closed in."""
    _, pieces = ndimage.label(np.pad(~inside, 1, constant_values=True))
    return int(pieces) - 1


def brute_force_cut(classes: NDArray[np.uint8], inside: NDArray[np.bool_]) -> bool:
    """Whether any pixel has a neighbour, corners too, that is not known."""
    unknown = np.pad(classes == 255, 1, constant_values=True)
    return bool((ndimage.binary_dilation(unknown, np.ones((3, 3)))[1:-1, 1:-1] & inside).any())


def brute_force_crossings(classes: NDArray[np.uint8], inside: NDArray[np.bool_]) -> int:
    """Sides between a pixel inside and one outside, both known."""
    count = 0
    for y, x in zip(*np.nonzero(inside), strict=True):
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= v < inside.shape[0] and 0 <= u < inside.shape[1]:
                count += classes[v, u] != 255 and not inside[v, u]
    return count


@given(SMALL)
@settings(max_examples=250)
def test_holes_borders_and_crossings_by_brute_force(classes: NDArray[np.uint8]) -> None:
    found = measured(classes)
    numbers = label_image(runs_of(classes, 3), classes.shape)
    for place in range(len(found)):
        inside = numbers == place + 1
        assert found.cut[place] == brute_force_cut(classes, inside)
        assert found.crossings[place] == brute_force_crossings(classes, inside)
        if found.cut[place]:
            assert all(np.isnan(getattr(found, name)[place]) for name in SIZE_AND_SHAPE)
        else:
            assert found.holes[place] == brute_force_holes(inside)


@given(SMALL, st.data())
@settings(max_examples=250)
def test_a_page_in_bands_has_the_particles_of_the_whole(
    classes: NDArray[np.uint8], data: st.DataObject
) -> None:
    height = classes.shape[0]
    cuts = data.draw(st.lists(st.integers(0, height), max_size=4))
    rows = sorted({0, *cuts, height})
    confidence = np.arange(classes.size, dtype=np.uint8).reshape(classes.shape)
    measuring = Measuring(*classes.shape)
    for top, bottom in itertools.pairwise(rows):
        runs = row_runs(classes[top:bottom], confidence[top:bottom], 3, classes.size)
        assert runs is not None
        measuring.add(runs.lower_by(top), bottom)
    found, whole = measuring.page().particles, measured(classes, confidence)
    for name, expected in vars(whole).items():
        assert np.array_equal(getattr(found, name), expected, equal_nan=expected.dtype.kind == "f")


def test_a_large_page_in_bands_has_the_particles_of_the_whole() -> None:
    labels = make_frame(2, 1, 512, 600).labels
    labels[200:230, 100:300] = 255
    confidence = np.random.default_rng(1).integers(85, 256, labels.shape, np.uint8)
    measuring = Measuring(*labels.shape)
    for top in range(0, 512, 64):
        runs = row_runs(labels[top : top + 64], confidence[top : top + 64], 3, labels.size)
        assert runs is not None
        measuring.add(runs.lower_by(top), top + 64)
    found, whole = measuring.page().particles, measured(labels, confidence)
    assert np.isfinite(whole.solidity).sum() >= 10
    for name, expected in vars(whole).items():
        assert np.array_equal(getattr(found, name), expected, equal_nan=expected.dtype.kind == "f")


@pytest.mark.parametrize(("height", "width"), [(10, 10), (12, 40), (90, 9), (300, 7)])
def test_a_rectangle_in_rows_is_exact(height: int, width: int) -> None:
    found = measured(framed(np.ones((height, width), np.uint8)))
    short, long = sorted((height, width))
    assert found.area.tolist() == [height * width]
    assert (found.x[0], found.y[0]) == (2 + width / 2, 2 + height / 2)
    assert found.min_feret[0] == pytest.approx(short)
    assert found.aspect_ratio[0] == pytest.approx(long / short)
    assert found.orientation[0] == (90 if height > width else 0)
    assert found.max_feret[0] == pytest.approx(math.hypot(long, short - 1))
    assert found.solidity[0] == 1
    assert found.holes[0] == 0
    assert found.crossings[0] == 2 * (height + width)


@pytest.mark.parametrize("turned", [False, True])
def test_pixels_in_one_slanting_line(turned: bool) -> None:
    line = np.eye(150, dtype=np.uint8)
    found = measured(framed(line[:, ::-1] if turned else line))
    assert found.solidity[0] == 1
    assert found.orientation[0] == (45 if turned else 135)
    assert found.min_feret[0] == pytest.approx(math.sqrt(0.5))
    assert found.aspect_ratio[0] == pytest.approx(2 * 149 + 1)
    assert found.holes[0] == 0


def test_a_cross_is_not_solid() -> None:
    cross = np.zeros((30, 30), np.uint8)
    cross[10:20] = cross[:, 10:20] = 1
    found = measured(framed(cross))
    # Of the 100 pixels at each corner 45 lie within its hull, from arm to arm, or on it.
    hull = 30 * 30 - 4 * 55
    assert found.solidity[0] == pytest.approx(500 / hull)


def test_small_particles_have_no_figures_of_shape() -> None:
    found = measured(framed(np.ones((9, 11), np.uint8)))
    assert found.area[0] == 99
    assert all(np.isnan(getattr(found, name)[0]) for name in SHAPE)
    assert found.equivalent_diameter[0] == pytest.approx(math.sqrt(4 * 99 / math.pi))
    assert found.perimeter[0] > 0
    assert found.holes[0] == 0


@pytest.mark.parametrize(
    ("place", "cut"),
    [((slice(0, 12), slice(5, 20)), True), ((slice(5, 20), slice(28, 40)), True),
     ((slice(15, 30), slice(0, 15)), True), ((slice(1, 12), slice(1, 20)), False)],
)  # fmt: skip
def test_particles_at_the_border_keep_only_their_area(
    place: tuple[slice, slice], cut: bool
) -> None:
    classes = np.zeros((30, 40), np.uint8)
    classes[place] = 1
    found = measured(classes)
    assert found.cut.tolist() == [cut]
    assert found.area[0] == classes.sum()
    assert np.isnan(found.solidity[0]) == cut


def test_what_is_left_out_cuts_what_it_touches_corners_too() -> None:
    classes = np.zeros((20, 20), np.uint8)
    classes[5:10, 5:10] = 1
    classes[14:18, 14:18] = 1
    classes[10, 10] = 255
    assert measured(classes).cut.tolist() == [True, False]


def test_nearest_neighbours_are_of_the_same_phase() -> None:
    classes = np.zeros((40, 60), np.uint8)
    classes[3:6, 3:6] = classes[3:6, 33:36] = classes[23:26, 33:36] = 1
    classes[3:6, 10:13] = 2
    found = measured(classes)
    neighbour = dict(zip(zip(found.x, found.y, strict=True), found.nearest_neighbour, strict=True))
    assert neighbour[4.5, 4.5] == 30
    assert neighbour[34.5, 4.5] == neighbour[34.5, 24.5] == 20
    assert np.isnan(neighbour[11.5, 4.5])


def test_a_page_without_particles() -> None:
    assert len(measured(np.zeros((5, 7), np.uint8))) == 0
    assert len(measured(np.full((5, 7), 255, np.uint8))) == 0


def test_more_runs_than_asked_for_are_not_listed() -> None:
    noise = np.indices((64, 64)).sum(0).astype(np.uint8) % 2
    assert row_runs(noise, noise, 2, 2047) is None
    runs = row_runs(noise, noise, 2, 2048)
    assert isinstance(runs, RowRuns)
    assert len(runs) == 2048
