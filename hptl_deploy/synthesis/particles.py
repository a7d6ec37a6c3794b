"""Second phases as they lie in as-cast aluminium: Mg2Si and the Fe-containing phase.

Lengths are micrometres here and pixels on the canvas. The sizes bracket what is seen on
as-cast 6xxx alloys: Mg2Si as polygons and rods of 1 to 6 um or as a branching script some
50 um long; the Fe-containing phase as plates, blocks and Chinese script of 4 to 20 um with
thin arms and holes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import Delaunay

from hptl_deploy.synthesis.canvas import FE, MATRIX, MG2SI, Canvas
from hptl_deploy.synthesis.fields import chance, log_uniform, uniform
from hptl_deploy.synthesis.geometry import bent, cut_corners, plate, polygon, rotated, walk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_deploy.synthesis.geometry import Points
    from hptl_deploy.synthesis.grains import Grains


@dataclass(frozen=True)
class Habit:
    """How much of a phase there is, and which shapes it takes."""

    area_fraction: float
    shares: tuple[float, ...]
    """Of the phase's area, by shape, in the order of `SHAPES`; they add up to 1."""
    size: float
    """Factor on all lengths."""
    boundary_share: float
    """Of the particles that lie near grain boundaries."""
    pocket_share: float
    """Of the particles that lie in a pocket with an earlier one, of either phase."""
    touching_share: float
    """Of the particles that get a neighbour of the other phase."""


_POCKET_UM = 6.0


class Painter:
    """Draws particles of one frame, sizes in micrometres."""

    def __init__(
        self, canvas: Canvas, grains: Grains, rng: np.random.Generator, pixel_size_um: float
    ) -> None:
        self.canvas, self.grains, self.rng = canvas, grains, rng
        self._px = 1 / pixel_size_um
        self._size = 1.0
        self._places: list[Points] = []

    def draw(self, phase: int, habit: Habit, neighbour: Habit) -> None:
        """Draw particles of `phase` until their areas add up to the habit's share of the frame.

        What the other phase brought along counts; overlaps and what lies outside do, too. The
        last particle is drawn or left out by chance, so that the mean comes out right even where
        one particle is more than the share.
        """
        rng, canvas = self.rng, self.canvas
        shapes = SHAPES[phase]
        wanted = habit.area_fraction * canvas.height * canvas.width - canvas.drawn[phase]
        others = _other(phase)
        for share, (shape, usual_um2) in zip(habit.shares, shapes, strict=True):
            goal = canvas.drawn[phase] + share * wanted
            last = usual_um2 * (habit.size * self._px) ** 2
            while (left := goal - canvas.drawn[phase]) > 0:
                if left < last and not chance(rng, left / last):
                    break
                at = self._free_place(habit)
                self._places.append(at)
                self._size = habit.size
                before = canvas.drawn[phase]
                outline = shape(self, at, canvas.particle(phase))
                last = canvas.drawn[phase] - before
                if not last:
                    break
                if neighbour.area_fraction and chance(rng, habit.touching_share):
                    self._size = 0.8 * neighbour.size
                    beside = outline[rng.integers(len(outline))]
                    SMALL[others](self, beside, canvas.particle(others))

    def _free_place(self, habit: Habit) -> Points:
        """(x, y) that shows the matrix, if one is found soon."""
        for _ in range(8):
            if self._places and chance(self.rng, habit.pocket_share):
                near = self._places[self.rng.integers(len(self._places))]
                at = near + self.rng.normal(0, _POCKET_UM * self._px, 2)
            else:
                at = np.array(self.grains.place(self.rng, habit.boundary_share))
            if self.canvas.phase_at(at[0], at[1]) == MATRIX:
                break
        return at

    def length(self, low: float, high: float) -> float:
        """A length between `low` and `high` um, in px."""
        return log_uniform(self.rng, low, high) * self._size * self._px

    def width_along(self, width: float, count: int, taper: float) -> NDArray[np.float64]:
        """Widths of an arm in px: waists and bulges, thinner towards its end by `taper`."""
        knots = np.arange(0, count + 4, 4)
        waves = np.interp(np.arange(count), knots, self.rng.uniform(0.8, 1.15, len(knots)))
        return np.maximum(1.5, width * waves * np.linspace(1, 1 - taper, count))


def _other(phase: int) -> int:
    return FE if phase == MG2SI else MG2SI


def mg2si_polygon(painter: Painter, at: Points, particle: int) -> Points:
    """A facetted crystal, a few with a hole."""
    rng = painter.rng
    radius = painter.length(0.6, 2.7)
    outline = polygon(
        rng, radius, int(rng.integers(4, 8)), uniform(rng, 1, 2), uniform(rng, 0.05, 0.3)
    )
    for _ in range(int(rng.choice([0, 0, 1, 2]))):
        outline = cut_corners(outline, uniform(rng, 0.08, 0.25))
    painter.canvas.fill(outline + at, particle)
    if chance(rng, 0.06) and radius > 14:
        painter.canvas.hole(polygon(rng, radius * uniform(rng, 0.15, 0.35), 5, 1.3, 0.2) + at)
    return outline + at


def mg2si_rods(painter: Painter, at: Points, particle: int) -> Points:
    """One rod, or a colony of them that grew side by side."""
    rng = painter.rng
    angle = uniform(rng, 0, np.pi)
    count = int(rng.integers(2, 9)) if chance(rng, 0.2) else 1
    width = painter.length(0.7, 1.8)
    facetted = chance(rng, 0.5)
    paths = []
    for number in range(count):
        length = painter.length(1.8, 6.5)
        along = rng.normal(0, 1.2 * width)
        aside = (number - count / 2) * width * uniform(rng, 1.3, 2.4)
        middle = at + rotated(np.array([[along, aside]]), angle)[0]
        half = rotated(np.array([[length / 2, 0.0]]), angle + rng.normal(0, 0.12))[0]
        wide = width * uniform(rng, 0.75, 1.2)
        path = bent(middle - half, middle + half, rng.normal(0, 0.025), 9)
        if facetted:
            outline = rotated(plate(rng, length, wide, 0.0, 0.3), np.arctan2(half[1], half[0]))
            painter.canvas.fill(outline + middle, particle)
        else:
            painter.canvas.stroke(path, painter.width_along(wide, 9, 0.2), particle)
        paths.append(path)
    return np.vstack(paths)


def mg2si_script(painter: Painter, at: Points, particle: int) -> Points:
    """A stem with side arms that branch again."""
    rng = painter.rng
    width = painter.length(1.1, 2.3)
    return _branch(
        painter, at, uniform(rng, 0, 2 * np.pi), painter.length(9, 55), width, 0.03, 2, particle
    )


def _branch(
    painter: Painter,
    start: Points,
    heading: float,
    length: float,
    width: float,
    wander: float,
    depth: int,
    particle: int,
) -> Points:
    """An arm and, `depth` levels down, its side arms; returns the points of all."""
    rng = painter.rng
    step = max(3.0, 0.6 * width)
    path = walk(rng, start, heading, length, step, wander)
    painter.canvas.stroke(path, painter.width_along(width, len(path), 0.35), particle)
    paths = [path]
    if depth:
        spacing = uniform(rng, 1.8, 3.6) * width / step
        side = 1 if chance(rng, 0.5) else -1
        place = spacing * uniform(rng, 0.3, 1.0)
        while place < len(path) - 1:
            here = int(place)
            along = path[here + 1] - path[here]
            turn = side * uniform(rng, 0.8, 1.75)
            arm = length * uniform(rng, 0.08, 0.38)
            if arm > 1.2 * width and chance(rng, 0.8):
                paths.append(
                    _branch(
                        painter, path[here], np.arctan2(along[1], along[0]) + turn, arm,
                        width * uniform(rng, 0.7, 1.0), wander, depth - 1, particle,
                    )
                )  # fmt: skip
            side = -side if chance(rng, 0.75) else side
            place += spacing * uniform(rng, 0.6, 1.5)
    return np.vstack(paths)


def fe_plates(painter: Painter, at: Points, particle: int) -> Points:
    """A plate, or several that cross."""
    rng = painter.rng
    outlines = []
    for _ in range(int(rng.choice([1, 1, 1, 2, 3, 4]))):
        length = painter.length(3.5, 20)
        width = min(painter.length(0.45, 1.5), 0.4 * length)
        outline = plate(rng, length, width, rng.normal(0, 0.012), uniform(rng, 0.2, 2.5))
        shift = np.array([uniform(rng, -0.35, 0.35) * length, 0.0])
        outline = rotated(outline + shift, uniform(rng, 0, np.pi)) + at
        painter.canvas.fill(outline, particle)
        outlines.append(outline)
    return np.vstack(outlines)


def fe_block(painter: Painter, at: Points, particle: int) -> Points:
    """An angular, concave block with holes; a hole may hold Mg2Si."""
    rng = painter.rng
    radius = painter.length(1.3, 5.5)
    outline = polygon(
        rng, radius, int(rng.integers(5, 12)), uniform(rng, 1, 2.6), uniform(rng, 0.15, 0.5)
    )
    if chance(rng, 0.5):
        outline = cut_corners(outline, uniform(rng, 0.1, 0.25))
    painter.canvas.fill(outline + at, particle)
    for _ in range(int(rng.integers(4))):
        hole = polygon(
            rng, radius * uniform(rng, 0.1, 0.3), int(rng.integers(4, 7)), uniform(rng, 1, 2), 0.25
        )
        hole = hole + at + rng.normal(0, 0.35 * radius, 2)
        if chance(rng, 0.15):
            painter.canvas.fill(hole, painter.canvas.particle(MG2SI))
        else:
            painter.canvas.hole(hole)
    return outline + at


def fe_script(painter: Painter, at: Points, particle: int) -> Points:
    """Chinese script: thin curved arms that close round holes, and free ends."""
    rng = painter.rng
    radius, width = painter.length(2.4, 9.5), painter.length(0.45, 1.05)
    if chance(rng, 0.35):  # the fishbone form
        heading = uniform(rng, 0, 2 * np.pi)
        return _branch(painter, at, heading, 2 * radius, width, 0.07, 2, particle)
    count = int(np.clip(rng.poisson(1.4 * (radius / width) ** 0.8), 5, 26))
    nodes = rng.normal(0, 0.5 * radius, (count, 2)) * (1.0, uniform(rng, 0.45, 1.0))
    nodes = rotated(nodes, uniform(rng, 0, np.pi)) + at
    edges = {
        (min(a, b), max(a, b))
        for triangle in Delaunay(nodes).simplices.tolist()
        for a, b in zip(triangle, [*triangle[1:], triangle[0]], strict=True)
    }
    kept = uniform(rng, 0.35, 0.65)
    for a, b in sorted(edges):
        if np.hypot(*(nodes[a] - nodes[b])) < 1.1 * radius and chance(rng, kept):
            path = bent(nodes[a], nodes[b], rng.normal(0, 0.16), 7)
            painter.canvas.stroke(path, painter.width_along(width, 7, 0.0), particle)
    for node in nodes[rng.random(count) < 0.35]:
        outward = np.arctan2(*(node - at)[::-1]) + rng.normal(0, 0.6)
        path = walk(
            rng, node, outward, radius * uniform(rng, 0.2, 0.7), max(3.0, 0.7 * width), 0.12
        )
        painter.canvas.stroke(path, painter.width_along(width, len(path), 0.3), particle)
    return nodes


Shape = Callable[[Painter, "Points", int], "Points"]
"""Draws one particle at (x, y) and returns points on it."""

SHAPES: dict[int, tuple[tuple[Shape, float], ...]] = {
    MG2SI: ((mg2si_polygon, 6), (mg2si_rods, 9), (mg2si_script, 80)),
    FE: ((fe_plates, 12), (fe_block, 30), (fe_script, 25)),
}
"""With the area that one of them usually has, um^2."""
SMALL: dict[int, Shape] = {MG2SI: mg2si_polygon, FE: fe_plates}
"""What grows on a particle of the other phase."""
