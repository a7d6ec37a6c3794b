"""Outlines of particles: valid for shapely, and the pixels they came from for rasterio."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry import MultiPolygon, Polygon
from shapely.validation import explain_validity

from hptl_deploy.measurement.runs import label_image, runs_of
from hptl_deploy.outputs.outlines import Part, outlines
from support.drawings import blobs

SMALL = arrays(
    np.uint8,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    elements=st.sampled_from([0, 1, 1, 2, 255]),
)


def drawn(rows: list[str]) -> NDArray[np.uint8]:
    return np.array([[" ab".index(letter) for letter in row] for row in rows], np.uint8)


def outlined(classes: NDArray[np.uint8]) -> list[list[Part]]:
    return list(outlines(runs_of(classes, 3)))


def polygons(parts: list[Part]) -> MultiPolygon:
    return MultiPolygon([Polygon(part.exterior, part.holes) for part in parts])


def check(classes: NDArray[np.uint8]) -> None:
    """Every particle is valid, is its pixels and no others, and has no needless corner."""
    runs = runs_of(classes, 3)
    labels = label_image(runs, classes.shape)
    found = list(outlines(runs))
    assert len(found) == runs.count
    shapes = []
    for number, parts in enumerate(found, 1):
        shape = polygons(parts)
        assert explain_validity(shape) == "Valid Geometry"
        assert shape.area == (labels == number).sum()
        shapes.append((shape, number))
        for part in parts:
            assert part.exterior.dtype == np.int32
            assert Polygon(part.exterior).exterior.is_ccw  # in numbers; clockwise on a screen
            assert not any(Polygon(hole).exterior.is_ccw for hole in part.holes)
            for ring in (part.exterior, *part.holes):
                sides = np.diff(ring, axis=0, append=ring[:1]) != 0
                assert (sides.sum(1) == 1).all()  # upright or level
                assert (sides != np.roll(sides, 1, 0)).all()  # and by turns
    if shapes:
        again = rasterize(shapes, classes.shape, dtype=np.int32)
        np.testing.assert_array_equal(again, labels)


def test_a_pixel_is_a_square() -> None:
    ((part,),) = outlined(drawn(["   ", " a ", "   "]))
    assert part.exterior.tolist() == [[1, 1], [2, 1], [2, 2], [1, 2]]
    assert part.holes == ()


def test_straight_edges_have_no_corners_between() -> None:
    ((part,),) = outlined(drawn(["aaa", "aaa", "aa "]))
    assert part.exterior.tolist() == [[0, 0], [3, 0], [3, 2], [2, 2], [2, 3], [0, 3]]


def test_a_hole_is_a_ring_of_its_own() -> None:
    ((part,),) = outlined(drawn(["aaaa", "a ba", "aaaa"]))[:1]
    assert part.exterior.tolist() == [[0, 0], [4, 0], [4, 3], [0, 3]]
    assert len(part.holes) == 1
    assert sorted(part.holes[0].tolist()) == [[1, 1], [1, 2], [3, 1], [3, 2]]


@pytest.mark.parametrize(
    ("rows", "parts", "holes"),
    [
        (["a ", " a"], 2, 0),  # touches at a corner only
        ([" a", "a "], 2, 0),
        (["aaa", "a a", "aa "], 1, 1),  # a gap that two pixels close at a corner
        (["aaaa", "a  a", "aa a", "a aa"], 1, 1),
        (["aaaa", "a aa", "aa a", "aaaa"], 1, 2),  # two holes that touch at a corner
        (["aaaa", "aa a", "a aa", "aaaa"], 1, 2),
        (["aaa", "a a", "aaa", "  a"], 1, 1),
        (["aaaaa", "a   a", "a a a", "a   a", "aaaaa"], 2, 1),  # an island touches nothing
        (["aaaaa", "a   a", "a a a", "aa  a", "aaaaa"], 2, 1),  # an island at a corner
    ],
)
def test_parts_and_holes(rows: list[str], parts: int, holes: int) -> None:
    classes = drawn(rows)
    found = [part for particle in outlined(classes) for part in particle]
    assert len(found) == parts
    assert sum(len(part.holes) for part in found) == holes
    check(classes)


@settings(max_examples=300)
@given(SMALL)
def test_any_small_map(classes: NDArray[np.uint8]) -> None:
    check(classes)


def test_a_map_of_many_particles() -> None:
    noise = np.random.default_rng(3).integers(0, 9, (150, 200), np.uint8)
    classes = (blobs(150, 200, seed=3) // 86).astype(np.uint8)
    classes[noise == 0] = 1
    classes[noise == 1] = 255
    check(classes)


def test_a_map_without_particles() -> None:
    assert outlined(np.zeros((3, 4), np.uint8)) == []
