"""How large the particles are: counts by size class, D10, D50, D90, and the share of needles.

Size is the equivalent diameter, sqrt(4 A / pi), of what is seen in the section; no step is made
to sizes in the volume. Particles cut by a border are left out. All figures come from the
particles' areas in whole pixels, counted by value, so they are exact and take no memory per
particle.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy.measurement.particles import SHAPE_PX
from hptl_deploy.statistics.samples import ALL, in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

_R10 = ("1", "1.25", "1.6", "2", "2.5", "3.15", "4", "5", "6.3", "8")
"""Preferred numbers, ISO 3, series R10: ten steps a decade, each about 26 % wider."""
EDGES: NDArray[np.float64] = np.array(
    [float(f"{step}e{decade}") for decade in range(-3, 8) for step in _R10]
)
"""Limits of the size classes, um or px. A class holds its lower limit, not its upper one. They
reach from 0.001 um to 80 m: any particle of any pixel size (0.01 to 20 um) lies between."""


SPECK_PX = 10
"""Area below which a particle is called a speck: often a crumb of the segmentation at a rim."""


@dataclass(frozen=True)
class SizeClass:
    """A line of sizes.csv: the particles of one phase and group between two limits."""

    group: str
    phase: str
    """Its key."""
    unit: str
    """Of the limits: `um`, or `px` where the pixel size is unknown."""
    lower: float
    upper: float
    particles: int
    number_share: float
    """Of all counted particles of the phase and group, 0 to 1."""
    area: float
    """Sum, um2 or px2."""
    area_share: float
    """Of the area of all counted particles, 0 to 1."""


@dataclass(frozen=True)
class ParticleLine:
    """A line of particle_statistics.csv; lengths in `unit`, shares 0 to 1, None without a basis."""

    group: str
    phase: str
    unit: str
    pages: int
    """With a particle table, of this group and unit."""
    particles: int
    """All, those cut by a border included."""
    touching_border: int
    """Left out of everything that follows."""
    measured: int
    under_10_px: int
    """Of these, those whose area is below SPECK_PX."""
    under_10_px_area_share: float | None
    """Of the area of `measured`."""
    mean_diameter: float | None
    s_diameter: float | None
    """Divisor `measured` - 1."""
    minimum_diameter: float | None
    maximum_diameter: float | None
    d10_by_number: float | None
    """The smallest diameter that at least 10 % of the particles do not exceed."""
    d50_by_number: float | None
    d90_by_number: float | None
    d10_by_area: float | None
    """The smallest diameter up to which particles hold at least 10 % of the area."""
    d50_by_area: float | None
    d90_by_area: float | None
    needle_aspect: float
    """From this aspect ratio on a particle is needle-shaped."""
    with_shape: int
    """Particles that the next two rest on: uncut and of 100 px or more."""
    needle_shaped_by_number: float | None
    needle_shaped_by_area: float | None

    def to_json(self) -> dict[str, Any]:
        """By column of particle_statistics.csv."""
        return asdict(self)


@dataclass
class _Pile:
    """Particles of one phase; areas in the squared unit of their key."""

    particles: int = 0
    cut: int = 0
    areas: dict[float, int] = field(default_factory=lambda: defaultdict(int))
    """Uncut particles by area."""
    specks: tuple[int, float] = (0, 0.0)
    """Number and area, uncut, below SPECK_PX."""
    with_shape: tuple[int, float] = (0, 0.0)
    """Number and area."""
    needles: tuple[int, float] = (0, 0.0)

    def join(self, other: _Pile) -> None:
        self.particles += other.particles
        self.cut += other.cut
        for area, count in other.areas.items():
            self.areas[area] += count
        self.specks = _sum(self.specks, other.specks)
        self.with_shape = _sum(self.with_shape, other.with_shape)
        self.needles = _sum(self.needles, other.needles)


@dataclass(frozen=True)
class PageParticles:
    """What is counted of one phase's N particles on one page."""

    area_px: NDArray[np.int64]
    """[N]."""
    touches_border: NDArray[np.bool_]
    """[N]; a border of the page, or of what is left out."""
    aspect_ratio: NDArray[np.float64]
    """[N]; NaN where it is blank."""


class SizeTally:
    """Particles counted by group, phase and unit, page by page."""

    def __init__(self, needle_aspect: float) -> None:
        self._aspect = needle_aspect
        self._piles: dict[tuple[str, str, str], _Pile] = defaultdict(_Pile)
        self._pages: dict[tuple[str, str], int] = defaultdict(int)

    def add(
        self, group: str, pixel_size_um: float | None, phases: Mapping[str, PageParticles]
    ) -> None:
        """Count a page; without a pixel size it is counted in px, apart from all others."""
        unit = "px" if pixel_size_um is None else "um"
        self._pages[group, unit] += 1
        for phase, particles in phases.items():
            pile = self._pile(particles, (pixel_size_um or 1.0) ** 2)
            self._piles[group, phase, unit].join(pile)

    def lines(self, phases: list[str]) -> list[ParticleLine]:
        """Everything together, then group by group where there are several; `phases` in order."""
        return [
            _line(key, pile, self._pages_of(key), self._aspect)
            for key, pile in self._ordered(phases)
        ]

    def classes(self, phases: list[str]) -> list[SizeClass]:
        """Size classes in the same order, from the first to the last that holds a particle."""
        return [one for key, pile in self._ordered(phases) for one in _classes(key, pile)]

    def _pile(self, found: PageParticles, square: float) -> _Pile:
        inside = ~found.touches_border
        values, counts = np.unique(found.area_px[inside], return_counts=True)
        areas = {int(v) * square: int(c) for v, c in zip(values, counts, strict=True)}
        specks = inside & (found.area_px < SPECK_PX)
        shaped = inside & (found.area_px >= SHAPE_PX) & ~np.isnan(found.aspect_ratio)
        needles = shaped & (found.aspect_ratio >= self._aspect)
        return _Pile(
            found.area_px.size,
            int(found.touches_border.sum()),
            areas,
            *((int(some.sum()), float(found.area_px[some].sum() * square))
              for some in (specks, shaped, needles)),
        )  # fmt: skip

    def _ordered(self, phases: list[str]) -> Iterator[tuple[tuple[str, str, str], _Pile]]:
        groups = in_order(group for group, _ in self._pages)
        for group in [ALL, *(groups if len(groups) > 1 else [])]:
            for phase in phases:
                for unit in ("um", "px"):
                    pile = _Pile()
                    for one in groups if group == ALL else [group]:
                        if (one, phase, unit) in self._piles:
                            pile.join(self._piles[one, phase, unit])
                    if pile.particles:
                        yield (group, phase, unit), pile

    def _pages_of(self, key: tuple[str, str, str]) -> int:
        group, _, unit = key
        return sum(
            pages for (one, its), pages in self._pages.items()
            if its == unit and group in (ALL, one)
        )  # fmt: skip


def _line(key: tuple[str, str, str], pile: _Pile, pages: int, aspect: float) -> ParticleLine:
    areas, counts = _sorted(pile)
    diameters, n = _diameters(areas), int(counts.sum())
    mean = float(np.average(diameters, weights=counts)) if n else None
    squares = float((counts * (diameters - (mean or 0.0)) ** 2).sum())
    number, area = pile.with_shape
    specks, their_area = pile.specks
    return ParticleLine(
        *key,
        pages,
        pile.particles,
        pile.cut,
        n,
        specks,
        their_area / float((counts * areas).sum()) if n else None,
        mean,
        math.sqrt(squares / (n - 1)) if n > 1 else None,
        float(diameters[0]) if n else None,
        float(diameters[-1]) if n else None,
        *_quantiles(diameters, counts.astype(np.float64)),
        *_quantiles(diameters, counts * areas),
        aspect,
        number,
        pile.needles[0] / number if number else None,
        pile.needles[1] / area if number else None,
    )


def _classes(key: tuple[str, str, str], pile: _Pile) -> Iterator[SizeClass]:
    areas, counts = _sorted(pile)
    if not counts.size:
        return
    places = np.searchsorted(EDGES, _diameters(areas), side="right") - 1
    numbers = np.bincount(places, counts)
    sums = np.bincount(places, counts * areas)
    for place in range(places[0], places[-1] + 1):
        yield SizeClass(
            *key,
            float(EDGES[place]),
            float(EDGES[place + 1]),
            int(numbers[place]),
            float(numbers[place] / counts.sum()),
            float(sums[place]),
            float(sums[place] / sums.sum()),
        )


def _sorted(pile: _Pile) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Areas in ascending order, and how many particles have each."""
    areas = np.array(sorted(pile.areas), np.float64)
    return areas, np.array([pile.areas[area] for area in areas.tolist()], np.int64)


def _diameters(areas: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(4 * areas / math.pi)


def _quantiles(
    diameters: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float | None, float | None, float | None]:
    """D10, D50, D90: the smallest diameter at which the weights so far reach the share."""
    if not diameters.size:
        return None, None, None
    reached = np.cumsum(weights)
    # A share of a sum of whole numbers is met exactly, one of rounded ones within rounding.
    wanted = np.array([0.1, 0.5, 0.9]) * reached[-1] * (1 - 1e-12)
    d10, d50, d90 = diameters[np.searchsorted(reached, wanted)].tolist()
    return d10, d50, d90


def _sum(one: tuple[int, float], other: tuple[int, float]) -> tuple[int, float]:
    return one[0] + other[0], one[1] + other[1]
