from __future__ import annotations

import numpy as np
import pytest

from hptl_deploy.synthesis.conditions import Camera, Specimen, draw_camera, draw_specimen

DRAWS = 1500


@pytest.fixture(scope="module")
def cameras() -> list[Camera]:
    rng = np.random.default_rng(1)
    return [draw_camera(rng) for _ in range(DRAWS)]


@pytest.fixture(scope="module")
def specimens() -> list[Specimen]:
    rng = np.random.default_rng(2)
    return [draw_specimen(rng) for _ in range(DRAWS)]


def check_fills(values: list[float], low: float, high: float) -> None:
    """Within low to high, and near both: within a twentieth of the range."""
    slack = (high - low) / 20
    assert low <= min(values) < low + slack
    assert high - slack < max(values) <= high


def test_cameras_fill_the_ranges_that_are_promised(cameras: list[Camera]) -> None:
    check_fills([c.pixel_size_um for c in cameras], 0.06, 0.14)
    check_fills([c.matrix[1] for c in cameras], 90, 195)
    check_fills([c.mg2si[1] for c in cameras], 0.18, 0.46)
    check_fills([c.fe[1] for c in cameras], 0.53, 0.74)
    check_fills([c.fe[1] - c.mg2si[1] for c in cameras], 0.15, 0.56)


def test_mg2si_is_the_darker_phase_in_grey_too(cameras: list[Camera]) -> None:
    """Tints may close a part of the gap, never all of it."""
    apart = [sum(c.fe) / 3 - sum(c.mg2si) / 3 for c in cameras]
    assert min(apart) > 0.09


def test_mg2si_is_no_brighter_than_fe_in_any_channel_that_tells_them_apart(
    cameras: list[Camera],
) -> None:
    """Green and red always, blue nearly: its tint is wide, and ends where Fe begins."""
    for c in cameras:
        assert c.mg2si[0] < c.fe[0]
        assert c.mg2si[1] < c.fe[1]
        assert c.mg2si[2] <= c.fe[1] < c.fe[2] * 1.05


def test_levels_leave_room_above(cameras: list[Camera]) -> None:
    """The matrix stays below white, or its noise would be cut off."""
    assert max(max(c.matrix) for c in cameras) <= 215


def test_a_monochrome_camera_has_no_tint(cameras: list[Camera]) -> None:
    grey = [c for c in cameras if c.monochrome]
    assert len(grey) / DRAWS == pytest.approx(0.08, abs=0.03)
    for c in grey:
        assert len({*c.matrix}) == len({*c.mg2si}) == len({*c.fe}) == 1
    assert all(len({*c.mg2si}) > 1 for c in cameras if not c.monochrome)


def test_some_specimens_lack_a_phase_none_both(specimens: list[Specimen]) -> None:
    amounts = np.array([(s.mg2si.area_fraction, s.fe.area_fraction) for s in specimens])
    lacking = amounts == 0
    assert lacking.any(axis=1).mean() == pytest.approx(0.06, abs=0.025)
    assert lacking.any(axis=0).all()
    assert not lacking.all(axis=1).any()
    check_fills(amounts[~lacking].tolist(), 0.003, 0.035)


def test_shares_of_shapes_add_up(specimens: list[Specimen]) -> None:
    shares = np.array([h.shares for s in specimens for h in (s.mg2si, s.fe)])
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert shares.min() == 0
    assert (shares == 1).any(axis=1).mean() > 0.1  # one shape alone
    assert (shares > 0).all(axis=1).mean() > 0.1  # all three


def test_some_specimens_have_no_dispersoids(specimens: list[Specimen]) -> None:
    per_area = np.array([s.dispersoids_per_um2 for s in specimens])
    assert (per_area == 0).mean() == pytest.approx(0.08, abs=0.03)
    check_fills(per_area[per_area > 0].tolist(), 0.35, 3.0)
