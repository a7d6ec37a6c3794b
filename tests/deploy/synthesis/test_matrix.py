"""Matrix features: their sizes and places, and that none is ever labelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from hptl_deploy.synthesis.conditions import Specimen
from hptl_deploy.synthesis.grains import Grains
from hptl_deploy.synthesis.matrix import matrix_tone, scratches
from support.synthesis import camera, habit, plain_frame, specimen

DIAMETERS_UM = (0.18, 0.28, 0.42, 0.62)
NUMBERS = (0.48, 0.32, 0.15, 0.05)


@dataclass
class Flat:
    """Grains of a known distance map."""

    away: NDArray[np.float32]
    count: int = 2

    def __post_init__(self) -> None:
        self.height, self.width = self.away.shape

    def distance(self) -> NDArray[np.float32]:
        """To the nearest boundary, px."""
        return self.away

    def value(self, per_grain: NDArray[np.float32]) -> NDArray[np.float32]:
        """The left half is grain 0, the right half grain 1."""
        halves = np.zeros(self.away.shape, np.float32)
        halves[:] = per_grain[0]
        halves[:, self.width // 2 :] = per_grain[1]
        return halves


def ramp(height: int, width: int) -> NDArray[np.float32]:
    """A boundary down the middle column."""
    columns = np.abs(np.arange(width, dtype=np.float32) - width / 2)
    return np.tile(columns, (height, 1))


def tone(away: NDArray[np.float32], pixel: float, seed: int = 1, **changes: Any) -> Any:
    return matrix_tone(
        np.random.default_rng(seed), specimen(**changes), cast("Grains", Flat(away)), pixel
    )


def inside_a_grain(height: int, width: int) -> NDArray[np.float32]:
    return np.full((height, width), 1e5, np.float32)


def test_a_plain_specimen_is_even() -> None:
    np.testing.assert_array_equal(tone(ramp(80, 90), 0.09), np.ones((80, 90), np.float32))


def test_dispersoids_have_the_diameters_promised() -> None:
    """On pixels of 0.03 um: a Gaussian that stands for a disc has its second moment, D^2 / 16."""
    pixel, contrast = 0.03, 0.4
    darker = 1 - tone(
        inside_a_grain(1500, 1500), pixel, dispersoids_per_um2=0.15, dispersoid_contrast=contrast,
        denuded_um=1.0,
    )  # fmt: skip
    spots = regionprops(label(darker > 1e-7), intensity_image=darker)
    shares = np.zeros(4)
    for spot in spots:
        top, left, bottom, right = spot.bbox
        if min(top, left) == 0 or bottom == 1500 or right == 1500:
            continue
        weights = spot.image_intensity.astype(float)
        y, x = np.mgrid[0 : weights.shape[0], 0 : weights.shape[1]]
        variances = [
            np.average((c - np.average(c, weights=weights)) ** 2, weights=weights) for c in (y, x)
        ]
        # The tails of the Gaussian are cut off three deviations out: 2.7 % of the variance.
        sigma = np.sqrt(np.sqrt(variances[0] * variances[1]) / 0.973)
        ratios = 4 * sigma * pixel / np.array(DIAMETERS_UM)
        nearest = int(np.abs(np.log(ratios)).argmin())
        if abs(ratios[nearest] - 1) > 0.08:
            continue  # two that overlap
        shares[nearest] += 1
        assert 0.45 * contrast < weights.max() < 1.4 * contrast
    found = shares.sum()
    assert found > 0.85 * len(spots)
    assert found > 150
    for share, expected in zip(shares / found, NUMBERS, strict=True):
        assert share == pytest.approx(expected, abs=4 * np.sqrt(expected / found))


def test_as_many_dispersoids_as_asked() -> None:
    pixel, per_um2 = 0.03, 0.2
    counts = [
        label(1 - tone(inside_a_grain(700, 900), pixel, seed, dispersoids_per_um2=per_um2,
                       denuded_um=1.0) > 0.02).max()
        for seed in range(4)
    ]  # fmt: skip
    expected = 4 * per_um2 * 700 * 900 * pixel**2
    # A few overlap; their density varies from place to place by half.
    assert sum(counts) == pytest.approx(expected, rel=0.15)


def test_denuded_zones_hold_no_dispersoids() -> None:
    """A logistic front at `denuded_um`: in the near half of the zone 2 % are left."""
    pixel, front_um = 0.1, 4.0
    away = ramp(900, 400)
    near = away < 0.5 * front_um / pixel
    beyond = away > 1.7 * front_um / pixel
    mean = [np.zeros(2)]
    for seed in range(3):
        darker = 1 - tone(away, pixel, seed, dispersoids_per_um2=1.5, denuded_um=front_um)
        mean.append(np.array([darker[near].mean(), darker[beyond].mean()]))
    inside_zone, inside_grain = np.sum(mean, axis=0)
    assert inside_grain > 0
    assert inside_zone < 0.04 * inside_grain


def test_pale_dispersoids() -> None:
    paler = tone(inside_a_grain(300, 300), 0.09, dispersoids_per_um2=2.0, dispersoid_contrast=-0.2)
    assert paler.min() >= 1 - 1e-6
    assert paler.max() > 1.05


def test_needles_lie_in_two_directions_inside_grains() -> None:
    pixel, free_um = 0.03, 3.0
    away = ramp(1500, 900)
    darker = 1 - tone(away, pixel, needles_per_1000_um2=60.0, denuded_um=free_um)
    needles = [n for n in regionprops(label(darker > 0)) if n.area > 60 and n.eccentricity > 0.98]
    assert len(needles) > 25
    assert all(away[tuple(np.round(n.centroid).astype(int))] > free_um / pixel - 4 for n in needles)
    angles = 2 * np.array([n.orientation for n in needles])  # a needle has no head
    first = angles[0]
    apart = np.abs(np.angle(np.exp(1j * (angles - first))))
    groups = apart < 0.5
    assert 0.2 < groups.mean() < 0.8
    for group in (groups, ~groups):
        assert abs(np.mean(np.exp(1j * angles[group]))) > 0.95
    lengths_um = np.array([n.axis_major_length for n in needles]) * pixel
    assert 1.2 < np.median(lengths_um) < 2.4
    assert darker.max() <= 0.3 + 1e-6


def test_grains_differ_and_boundaries_are_darker() -> None:
    away = ramp(60, 200)
    toned = [tone(away, 0.09, seed, grain_tone=0.02) for seed in range(40)]
    grains = np.array([(t[0, 0], t[0, -1]) for t in toned])
    assert grains.mean() == pytest.approx(1, abs=0.008)
    assert grains.std() == pytest.approx(0.02, rel=0.35)
    dark = 1 - tone(away, 0.09, boundary_tone=0.1)
    assert dark[:, 100] == pytest.approx(0.1, rel=0.02)
    assert dark[:, 140].max() < 1e-6


def test_stains_are_as_strong_as_asked() -> None:
    deviations = [
        tone(inside_a_grain(400, 500), 0.09, seed, stains=0.03).std() for seed in range(12)
    ]
    assert 0.01 < np.median(deviations) < 0.06


def test_scratches_are_faint_straight_lines() -> None:
    pale = 0
    for seed in range(40):
        added = scratches(np.random.default_rng(seed), 1, 300, 400)
        assert np.abs(added).max() < 0.14 * 1.2 + 1e-6
        touched = np.argwhere(added != 0).astype(float)
        if len(touched) < 30:
            continue  # it barely enters the frame
        narrow, wide = np.linalg.eigvalsh(np.cov(touched.T))
        assert np.sqrt(narrow) < 5
        assert np.sqrt(wide) > 2 * np.sqrt(narrow)
        assert len({*np.sign(added[added != 0])}) == 1
        pale += added.max() > 0
    assert 20 < pale < 40
    np.testing.assert_array_equal(scratches(np.random.default_rng(1), 0, 30, 40), 0)


BUSY: dict[str, Any] = {
    "dispersoids_per_um2": 3.0, "dispersoid_contrast": 0.45, "needles_per_1000_um2": 120.0,
    "grain_tone": 0.025, "boundary_tone": 0.14, "scratches": 14, "stains": 0.035,
}  # fmt: skip


def test_no_matrix_feature_is_labelled(monkeypatch: pytest.MonkeyPatch) -> None:
    none = specimen(mg2si=habit(0.0), fe=habit(0.0), **BUSY)
    frame = plain_frame(monkeypatch, 1, (480, 640), none, camera(), bar=True)
    assert frame.pixels().std() > 3
    assert not frame.labels.any()


def test_labels_are_where_particles_are_whatever_the_matrix_shows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def labels(alloy: Specimen, **lens: Any) -> NDArray[np.uint8]:
        return plain_frame(monkeypatch, 2, (240, 320), alloy, camera(**lens)).labels

    quiet = labels(specimen())
    assert {*np.unique(quiet)} == {0, 1, 2}
    np.testing.assert_array_equal(labels(specimen(**BUSY)), quiet)
    np.testing.assert_array_equal(labels(specimen(), blur=(3.0, 3.0, 3.0), noise=6.0), quiet)
