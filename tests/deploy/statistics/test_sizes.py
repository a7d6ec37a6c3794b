from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from hptl_deploy.statistics.samples import ALL, TOP
from hptl_deploy.statistics.sizes import EDGES, PageParticles, ParticleLine, SizeTally

KEYS = ["al", "mg2si", "fe"]


def page(
    areas: list[int] | NDArray[np.int64],
    cut: list[bool] | None = None,
    aspect: list[float] | None = None,
) -> PageParticles:
    count = len(areas)
    return PageParticles(
        np.array(areas, np.int64),
        np.array(cut or [False] * count),
        np.array(aspect or [math.nan] * count),
    )


def only(tally: SizeTally) -> ParticleLine:
    (line,) = tally.lines(KEYS)
    return line


def test_ten_particles_worked_by_hand() -> None:
    # Areas 1 ... 10 px, pixel 0.5 um: 0.25 ... 2.5 um2, diameters sqrt(A / pi) um with A in px.
    # By number: 1, 5 and 9 of 10 particles reach 10, 50 and 90 %: areas 1, 5, 9 px.
    # By area, of 55 px: 5.5, 27.5 and 49.5 px are reached by sums up to 3 (6), 7 (28), 10 (55).
    tally = SizeTally(3.0)
    tally.add("A", 0.5, {"fe": page(list(range(1, 11)))})
    line = only(tally)
    assert (line.group, line.phase, line.unit, line.pages) == (ALL, "fe", "um", 1)
    assert (line.particles, line.touching_border, line.measured) == (10, 0, 10)
    diameters = [math.sqrt(area / math.pi) for area in range(1, 11)]
    numbers = (line.d10_by_number, line.d50_by_number, line.d90_by_number)
    assert numbers == pytest.approx([diameters[0], diameters[4], diameters[8]])
    areas = (line.d10_by_area, line.d50_by_area, line.d90_by_area)
    assert areas == pytest.approx([diameters[2], diameters[6], diameters[9]])
    assert line.mean_diameter == pytest.approx(np.mean(diameters))
    assert line.s_diameter == pytest.approx(np.std(diameters, ddof=1))
    assert line.minimum_diameter == pytest.approx(diameters[0])
    assert line.maximum_diameter == pytest.approx(diameters[9])


def test_many_particles_as_numpy_has_it() -> None:
    rng = np.random.default_rng(5)
    pages = [np.maximum(1, rng.lognormal(4, 1.5, 700)).astype(np.int64) for _ in range(4)]
    tally = SizeTally(3.0)
    for one in pages:
        tally.add(TOP, 0.25, {"mg2si": page(one)})
    line, areas = only(tally), np.concatenate(pages).astype(np.float64) * 0.25**2
    diameters = np.sqrt(4 * areas / np.pi)
    for weights, found in (
        (np.ones_like(areas), (line.d10_by_number, line.d50_by_number, line.d90_by_number)),
        (areas, (line.d10_by_area, line.d50_by_area, line.d90_by_area)),
    ):
        wanted = np.quantile(diameters, [0.1, 0.5, 0.9], weights=weights, method="inverted_cdf")
        assert found == pytest.approx(wanted)
    assert line.mean_diameter == pytest.approx(diameters.mean())
    assert line.s_diameter == pytest.approx(diameters.std(ddof=1))
    classes = tally.classes(KEYS)
    edges = [classes[0].lower, *(x.upper for x in classes)]
    numbers = np.histogram(diameters, edges)[0]
    sums = np.histogram(diameters, edges, weights=areas)[0]
    assert [x.particles for x in classes] == numbers.tolist()
    assert [x.area for x in classes] == pytest.approx(sums)
    assert [x.number_share for x in classes] == pytest.approx(numbers / 2800)
    assert [x.area_share for x in classes] == pytest.approx(sums / areas.sum())
    assert classes[0].particles > 0
    assert classes[-1].particles > 0


def test_classes_are_preferred_numbers() -> None:
    assert EDGES[30:41].tolist() == [1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8, 10]
    assert EDGES[0] == 0.001
    ratios = EDGES[1:] / EDGES[:-1]
    assert (ratios > 1.2).all()
    assert (ratios < 1.3).all()


def test_what_a_border_cuts_counts_nowhere_but_in_the_count() -> None:
    tally = SizeTally(3.0)
    tally.add(TOP, None, {"fe": page([100, 400, 900], [False, True, False], [1.0, 9.0, 4.0])})
    line = only(tally)
    assert (line.particles, line.touching_border, line.measured, line.with_shape) == (3, 1, 2, 2)
    assert line.maximum_diameter == pytest.approx(math.sqrt(4 * 900 / math.pi))
    assert sum(one.particles for one in tally.classes(KEYS)) == 2
    assert line.needle_shaped_by_number == 0.5
    assert line.needle_shaped_by_area == 0.9


def test_needles_are_among_those_with_a_shape() -> None:
    # 99 px is too small, one has no figure; of areas 100, 200, 300 the latter two are needles.
    tally = SizeTally(2.5)
    aspects = [9.0, 1.0, 2.5, 3.0, math.nan]
    tally.add(TOP, 2.0, {"fe": page([99, 100, 200, 300, 500], aspect=aspects)})
    line = only(tally)
    assert (line.needle_aspect, line.with_shape) == (2.5, 3)
    assert line.needle_shaped_by_number == pytest.approx(2 / 3)
    assert line.needle_shaped_by_area == pytest.approx(500 / 600)


def test_without_anything_to_rest_on_there_is_no_figure() -> None:
    tally = SizeTally(3.0)
    tally.add(TOP, 1.0, {"fe": page([50], [True])})
    line = only(tally)
    assert (line.particles, line.touching_border, line.measured, line.with_shape) == (1, 1, 0, 0)
    assert line.mean_diameter is None
    assert line.s_diameter is None
    assert line.d50_by_number is None
    assert line.d50_by_area is None
    assert line.needle_shaped_by_number is None
    assert tally.classes(KEYS) == []


def test_one_particle_has_no_spread() -> None:
    tally = SizeTally(3.0)
    tally.add(TOP, 1.0, {"fe": page([50])})
    assert only(tally).s_diameter is None
    assert only(tally).d10_by_number == only(tally).d90_by_area == only(tally).mean_diameter


def test_pages_without_a_pixel_size_stay_apart() -> None:
    tally = SizeTally(3.0)
    tally.add("A", 0.5, {"fe": page([4, 4])})
    tally.add("A", None, {"fe": page([4])})
    tally.add("B", None, {"fe": page([16]), "mg2si": page([1])})
    found = {(one.group, one.phase, one.unit): one for one in tally.lines(KEYS)}
    assert list(found) == [
        (ALL, "mg2si", "px"), (ALL, "fe", "um"), (ALL, "fe", "px"),
        ("A", "fe", "um"), ("A", "fe", "px"), ("B", "mg2si", "px"), ("B", "fe", "px"),
    ]  # fmt: skip
    assert found[ALL, "fe", "um"].maximum_diameter == pytest.approx(math.sqrt(4 / math.pi))
    assert found[ALL, "fe", "px"].maximum_diameter == pytest.approx(math.sqrt(64 / math.pi))
    assert found[ALL, "fe", "px"].particles == 2
    assert (found[ALL, "fe", "um"].pages, found[ALL, "fe", "px"].pages) == (1, 2)
    assert found["B", "fe", "px"].pages == 1


def test_pixel_sizes_of_one_unit_join() -> None:
    # 16 px of 0.5 um and 4 px of 1 um: both 4 um2.
    tally = SizeTally(3.0)
    tally.add("A", 0.5, {"fe": page([16])})
    tally.add("A", 1.0, {"fe": page([4])})
    line = only(tally)
    assert (line.measured, line.s_diameter) == (2, 0)
    assert [one.particles for one in tally.classes(KEYS)] == [2]
