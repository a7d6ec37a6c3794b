"""Particles: how large, of which phase, and how much of them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from skimage.measure import label, regionprops

from hptl_deploy.synthesis.canvas import FE, MG2SI, Canvas
from hptl_deploy.synthesis.grains import Grains
from hptl_deploy.synthesis.particles import SHAPES, SMALL, Habit, Painter, Shape
from support.synthesis import habit

CASES = [(phase, shape) for phase, shapes in SHAPES.items() for shape, _ in shapes]
NAMES = [shape.__name__ for _, shape in CASES]


def painter(seed: int, pixel_size_um: float = 0.1, height: int = 400, width: int = 500) -> Painter:
    rng = np.random.default_rng(seed)
    grains = Grains(np.random.default_rng(0), height, width, 200.0)
    return Painter(Canvas(height, width), grains, rng, pixel_size_um)


def drawn(paint: Painter) -> NDArray[np.uint8]:
    """Class indices [H, W], outlines as drawn."""
    canvas = paint.canvas
    classes: NDArray[np.uint8] = canvas.phases()[canvas.numbers(np.random.default_rng(0), [])]
    return classes


@pytest.mark.parametrize(("phase", "shape"), CASES, ids=NAMES)
def test_a_shape_is_of_its_phase_and_where_it_was_put(phase: int, shape: Shape) -> None:
    brought = 0
    for seed in range(25):
        paint = painter(seed)
        at = np.array([260.0, 190.0])
        points = shape(paint, at, paint.canvas.particle(phase))
        assert points.shape[1] == 2
        classes = drawn(paint)
        assert (classes == phase).any()
        assert paint.canvas.drawn[phase] > 0
        other = MG2SI + FE - phase
        brought += bool((classes == other).any())
        # It starts or lies at its place.
        y, x = np.nonzero(classes)
        assert np.hypot(x - 260, y - 190).min() < 60
    if shape.__name__ == "fe_block":
        assert 0 < brought < 20  # some holes hold Mg2Si
    else:
        assert brought == 0


@pytest.mark.parametrize(("phase", "shape"), CASES, ids=NAMES)
def test_sizes_are_micrometres(phase: int, shape: Shape) -> None:
    """Pixels half as wide: the same specimen, twice as large in pixels.

    Paths have steps of 3 px at the least and arms a width of 1.5 px, so thin ones differ a
    little; median of the areas' ratios.
    """
    ratios = []
    for seed in range(25):
        areas = []
        for pixel in (0.1, 0.05):
            paint = painter(seed, pixel, 64, 64)  # what lies outside is counted as well
            shape(paint, np.array([32.0, 32.0]), paint.canvas.particle(phase))
            areas.append(paint.canvas.drawn[phase])
        ratios.append(areas[1] / areas[0])
    assert np.median(ratios) == pytest.approx(4, rel=0.1)


def test_mg2si_polygons_and_fe_are_as_large_as_the_module_says() -> None:
    """Polygons of 1 to 6 um; Fe-containing phase of 4 to 20 um, thin."""
    spans: dict[str, list[float]] = {name: [] for name in NAMES}
    for (phase, shape), name in zip(CASES, NAMES, strict=True):
        for seed in range(20):
            paint = painter(seed, 0.2, 500, 500)
            shape(paint, np.array([250.0, 250.0]), paint.canvas.particle(phase))
            places = np.argwhere(drawn(paint) == phase)
            corners = places[ConvexHull(places).vertices]
            spans[name].append(float(pdist(corners).max()) * 0.2)
    medians = {name: float(np.median(found)) for name, found in spans.items()}
    assert 1 < medians["mg2si_polygon"] < 6
    assert max(spans["mg2si_polygon"]) < 10
    assert 10 < medians["mg2si_script"] < 60
    for name in ("fe_plates", "fe_block", "fe_script"):
        assert 4 < medians[name] < 20


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("phase", [MG2SI, FE])
def test_a_shape_that_has_no_share_is_not_drawn(phase: int, place: int) -> None:
    """With one shape alone, every call goes to it, until the wanted area is reached."""
    alone = tuple(float(number == place) for number in range(3))
    calls: list[str] = []
    paint = painter(3)

    def counted(shape: Shape) -> Shape:
        def draw(painter: Painter, at: NDArray[np.float64], particle: int) -> NDArray[np.float64]:
            calls.append(shape.__name__)
            return shape(painter, at, particle)

        return draw

    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(
            SHAPES, phase, tuple((counted(shape), usual) for shape, usual in SHAPES[phase])
        )
        paint.draw(phase, habit(0.03, alone), habit(0.0))
    assert {*calls} == {SHAPES[phase][place][0].__name__}


def test_small_particles_add_up_to_the_share_asked_for() -> None:
    """On a large canvas one particle more or less is nothing; overlaps and edges take a little."""
    paint = painter(4, 0.14, 900, 1200)
    paint.draw(MG2SI, habit(0.02, (1.0, 0.0, 0.0)), habit(0.0))
    assert paint.canvas.drawn[MG2SI] / (900 * 1200) == pytest.approx(0.02, rel=0.05)
    found = (drawn(paint) == MG2SI).mean()
    # Pillow fills pixels that an outline touches, so small polygons gain about a tenth.
    assert found == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize(("phase", "shape"), CASES, ids=NAMES)
def test_the_area_usual_for_a_shape_is_about_its_mean(phase: int, shape: Shape) -> None:
    usual = dict(SHAPES[phase])[shape]
    areas = []
    for seed in range(60):
        paint = painter(seed, 0.1, 64, 64)
        shape(paint, np.array([32.0, 32.0]), paint.canvas.particle(phase))
        areas.append(paint.canvas.drawn[phase] * 0.1**2)
    assert 0.4 < np.mean(areas) / usual < 2.5


@pytest.mark.parametrize(("phase", "place"), [(MG2SI, 0), (MG2SI, 2), (FE, 2)])
def test_the_mean_is_right_where_one_particle_is_more_than_the_share(
    phase: int, place: int
) -> None:
    """Small canvases hold none or one: over many of them the share comes out all the same."""
    alone = tuple(float(number == place) for number in range(3))
    shares = []
    for seed in range(120):
        paint = painter(seed, 0.1, 150, 200)
        paint.draw(phase, habit(0.01, alone), habit(0.0))
        shares.append(paint.canvas.drawn[phase] / (150 * 200))
    assert min(shares) == 0 < max(shares)
    assert np.mean(shares) == pytest.approx(0.01, rel=0.75)


def test_particles_gather_in_pockets() -> None:
    """Nearer to their neighbours than those that are strewn anywhere."""

    def nearest(pocket_share: float) -> float:
        paint = painter(8, 0.14, 900, 1200)
        paint.draw(MG2SI, Habit(0.01, (1.0, 0.0, 0.0), 1.0, 0.0, pocket_share, 0.0), habit(0.0))
        centres = np.array([p.centroid for p in regionprops(label(drawn(paint) == MG2SI))])
        between = np.hypot(*(centres[:, None] - centres[None]).T) + 1e9 * np.eye(len(centres))
        return float(np.median(between.min(axis=0)))

    assert nearest(0.7) < 0.75 * nearest(0.0)


@pytest.mark.parametrize("touching", [0.0, 1.0])
def test_neighbours_of_the_other_phase(touching: float) -> None:
    paint = painter(5, 0.14, 500, 700)
    paint.draw(FE, Habit(0.01, (1.0, 0.0, 0.0), 1.0, 0.0, 0.0, touching), habit(0.01))
    classes = drawn(paint)
    if not touching:
        assert not (classes == MG2SI).any()
        return
    assert (classes == MG2SI).any()
    pieces = label(classes > 0)
    crystals = regionprops(label(classes == MG2SI))
    joined = [
        (classes[pieces == pieces[tuple(crystal.coords[0])]] == FE).any() for crystal in crystals
    ]
    assert np.mean(joined) > 0.8
    assert {*SMALL} == {MG2SI, FE}


def test_a_phase_that_is_lacking_is_no_neighbour() -> None:
    paint = painter(6, 0.14)
    paint.draw(FE, Habit(0.02, (1.0, 0.0, 0.0), 1.0, 0.0, 0.0, 1.0), habit(0.0))
    assert not (drawn(paint) == MG2SI).any()


def test_arms_have_waists_and_taper() -> None:
    paint = painter(7)
    widths = np.array([paint.width_along(20.0, 40, 0.5) for _ in range(300)])
    assert widths.shape == (300, 40)
    assert widths.max() <= 20 * 1.15
    means = widths.mean(axis=0)
    np.testing.assert_allclose(means, 20 * 0.975 * np.linspace(1, 0.5, 40), rtol=0.03)
    assert (widths.std(axis=1) > 0.5).all()
    assert (paint.width_along(0.1, 9, 0.0) == 1.5).all()  # never thinner than the lens shows
