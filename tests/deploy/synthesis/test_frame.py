"""Frames: the same again, labelled with the true shapes, and as the conditions say."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.filters import gaussian
from skimage.measure import label

from hptl_deploy.errors import UsageError
from hptl_deploy.synthesis import SyntheticFrame, make_frame
from hptl_deploy.synthesis.canvas import FE, MATRIX, MG2SI
from hptl_deploy.synthesis.conditions import Camera
from hptl_deploy.synthesis.frame import draw_conditions
from support.synthesis import camera, depth, habit, plain_frame, signed_distance, specimen

LEVELS = (1.0, 0.3, 0.6)
"""Of matrix, Mg2Si and Fe in green under `camera()`, whose matrix is at 160."""


def content(frame: SyntheticFrame) -> tuple[bytes, bytes]:
    return frame.jpeg, frame.labels.tobytes()


def test_the_same_seed_and_number_give_the_same_frame() -> None:
    first = make_frame(7, 3, 180, 240)
    np.random.default_rng().random(9)
    make_frame(7, 2, 90, 70)  # whatever was made before
    again = make_frame(7, 3, 180, 240)
    assert content(first) == content(again)
    assert (first.specimen, first.camera) == (again.specimen, again.camera)


def test_another_seed_or_number_gives_another_frame() -> None:
    frames = [make_frame(seed, number, 180, 240) for seed, number in ((7, 3), (7, 4), (8, 3))]
    assert len({frame.jpeg for frame in frames}) == 3
    assert len({frame.labels.tobytes() for frame in frames}) == 3
    assert len({frame.camera for frame in frames}) == 3


@pytest.mark.parametrize(("height", "width"), [(64, 64), (67, 131), (200, 64)])
def test_any_size(height: int, width: int) -> None:
    for number in range(6):
        frame = make_frame(2, number, height, width)
        assert frame.labels.shape == (height, width)
        assert frame.labels.dtype == np.uint8
        assert frame.labels.max() <= FE
        assert frame.pixels().shape == (height, width, 3)
        assert frame.pixels().dtype == np.uint8
        with Image.open(io.BytesIO(frame.jpeg)) as stored:
            assert (stored.format, stored.mode) == ("JPEG", "RGB")


@pytest.mark.parametrize(("height", "width"), [(63, 100), (100, 63), (16385, 64), (0, 64)])
def test_sizes_that_no_frame_has(height: int, width: int) -> None:
    with pytest.raises(UsageError) as caught:
        make_frame(1, 0, height, width)
    assert str(caught.value) == (
        f"a frame of {width} x {height} px: expected sides of 64 to 16384 px"
    )


@pytest.fixture(scope="module")
def plain() -> list[SyntheticFrame]:
    """Particles of every shape behind a lens of 1.6 px, nothing else."""
    with pytest.MonkeyPatch.context() as patch:
        return [
            plain_frame(patch, seed, (480, 640), specimen(fe=habit(0.03)), camera())
            for seed in range(5)
        ]


def transitions(
    frame: SyntheticFrame, phase: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """(signed distance to the phase's edge, level, where both can be judged), each [H, W].

    The level is 0 in the phase and 1 in the matrix. Judged are edges of parts thicker than the
    blur, far from the other phase.
    """
    inside = frame.labels == phase
    level = (frame.pixels()[..., 1] / 160 - LEVELS[phase]) / (1 - LEVELS[phase])
    thick = ndimage.distance_transform_edt(depth(inside) <= 4.5) < 12
    other = frame.labels == MG2SI + FE - phase
    alone = ndimage.distance_transform_edt(~other) > 12
    return signed_distance(inside), level, thick & alone


def crossing(distance: NDArray[np.float64], level: NDArray[np.float64]) -> float:
    """Where, on the mean over pixels, the level passes half-way."""
    bins = np.arange(-4, 5)
    parts = [(distance >= low) & (distance < low + 1) for low in bins]
    assert min(part.sum() for part in parts) > 20
    means = [level[part].mean() for part in parts]
    assert (np.diff(means) > 0).all()
    return float(np.interp(0.5, means, [distance[part].mean() for part in parts]))


@pytest.mark.parametrize("phase", [MG2SI, FE])
def test_labels_end_half_way_through_the_transition(
    plain: list[SyntheticFrame], phase: int
) -> None:
    """A label drawn after the blur at some threshold, or displaced, would end elsewhere."""
    parts = [transitions(frame, phase) for frame in plain]
    distance, level = (np.concatenate([p[k][p[2]] for p in parts]) for k in (0, 1))
    # The rims of particles curve outwards on the whole, which draws the crossing inwards.
    assert crossing(distance, level) == pytest.approx(-0.05, abs=0.2)
    along_the_edge = np.abs(distance) <= 0.5
    assert along_the_edge.sum() > 1000
    assert level[along_the_edge].mean() == pytest.approx(0.5, abs=0.06)
    # Seen from the four sides, so a shift by a pixel is found too.
    for axis in (0, 1):
        for sign in (-1, 1):
            facing = [
                sign * np.gradient(ndimage.gaussian_filter(d, 2), axis=axis) > 0.8
                for d, _, _ in parts
            ]
            d, v = (
                np.concatenate([p[k][p[2] & f] for p, f in zip(parts, facing, strict=True)])
                for k in (0, 1)
            )
            assert abs(crossing(d, v)) < 0.4


def test_the_picture_is_the_labels_behind_the_lens(plain: list[SyntheticFrame]) -> None:
    """Blurred by another library; what differs is the particles' own mottling and the JPEG."""
    for frame in plain:
        seen = frame.pixels()[..., 1].astype(float)
        rims = np.abs(signed_distance(frame.labels != MATRIX)) < 4

        def residual(labels: NDArray[np.uint8], seen: NDArray[np.float64] = seen,
                     rims: NDArray[np.bool_] = rims) -> float:  # fmt: skip
            drawn = 160 * gaussian(np.array(LEVELS)[labels], 1.6)
            return float(np.sqrt(((seen - drawn)[rims] ** 2).mean()))

        here = residual(frame.labels)
        assert here < 7
        for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
            assert residual(np.roll(frame.labels, shift, axis)) > 1.7 * here
        assert residual(ndimage.grey_dilation(frame.labels, size=3)) > 1.7 * here


def test_no_specks_are_labelled(plain: list[SyntheticFrame]) -> None:
    """What is labelled is 0.12 um^2 large at the least: 15 px of 0.09 um."""
    for frame in plain:
        for phase in (MG2SI, FE):
            sizes = np.bincount(label(frame.labels == phase, connectivity=1).ravel())[1:]
            assert sizes.min() >= 15


def sight(lens: Camera) -> float:
    """Pixels from an edge behind which a core shows its own level alone."""
    return 2.5 * float(np.hypot(max(lens.blur), lens.defocus)) + 2 * bool(lens.sharpening)


@pytest.fixture(scope="module")
def drawn() -> list[SyntheticFrame]:
    """Frames as anyone gets them."""
    return [make_frame(11, number, 480, 640) for number in range(24)]


def test_phases_have_the_levels_that_the_camera_says(drawn: list[SyntheticFrame]) -> None:
    """Mg2Si darker than Fe, Fe than the matrix; each near its drawn share of the matrix.

    The share is that in the cores of particles, of the level of the matrix round about, with
    the camera's curve undone. Every particle has its own shade (deviation 0.02).
    """
    errors, both = [], 0
    for frame in drawn[:14]:
        lens, green = frame.camera, frame.pixels()[..., 1].astype(float)
        matrix = depth(frame.labels == MATRIX) > sight(lens) + 2
        weight = ndimage.gaussian_filter(matrix.astype(float), 25)
        around = ndimage.gaussian_filter(np.where(matrix, green, 0), 25) / np.maximum(weight, 1e-9)
        shares = {}
        for phase, share in ((MG2SI, lens.mg2si[1]), (FE, lens.fe[1])):
            core = depth(frame.labels == phase) > sight(lens)
            if core.sum() < 40:
                continue  # lacking, or thin arms alone
            seen = float((green[core] / around[core]).mean())
            assert seen < 0.95
            shares[phase] = seen
            errors.append(seen ** (1 / lens.tone) - share)
        if len(shares) == 2:
            both += 1
            assert shares[MG2SI] < shares[FE] - 0.05
    assert both >= 8
    assert np.abs(errors).max() < 0.12
    assert np.median(np.abs(errors)) < 0.03
    assert abs(np.mean(errors)) < 0.03


def test_area_fractions_span_what_is_drawn_for(drawn: list[SyntheticFrame]) -> None:
    """0.3 to 3.5 % of each phase are asked for; small frames get none or one particle more."""
    found = np.array([[(f.labels == phase).mean() for phase in (MG2SI, FE)] for f in drawn])
    for fractions in found.T:
        present = fractions[fractions > 0]
        assert len(present) >= 14
        assert present.min() < 0.007
        assert present.max() > 0.017
        assert 0.003 < np.median(present) < 0.035
    assert (found > 0).all(axis=1).sum() >= 12
    assert (found == 0).any(axis=1).any()


def test_some_frames_lack_a_phase() -> None:
    """Where the conditions ask for none, none is there: 6 % of the frames."""
    lacking = [
        (number, conditions)
        for number in range(120)
        if 0 in ((conditions := draw_conditions(1, number)[1]).mg2si.area_fraction,
                 conditions.fe.area_fraction)
    ]  # fmt: skip
    assert 2 <= len(lacking) <= 16
    for number, conditions in lacking[:6]:
        frame = make_frame(1, number, 240, 320)
        assert frame.specimen == conditions
        if conditions.fe.area_fraction == 0:
            assert not (frame.labels == FE).any()
            assert (frame.labels == MG2SI).any()
        else:
            # What a block of Fe holds in its holes is all there may be.
            assert (frame.labels == FE).any()
            assert (frame.labels == MG2SI).mean() < 0.003


def test_what_the_scale_bar_covers_is_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a specimen so full that some particle lies below it."""
    full = specimen(mg2si=habit(0.2), fe=habit(0.2))
    without = plain_frame(monkeypatch, 4, (200, 240), full, camera())
    covered: list[NDArray[np.bool_]] = []

    def box(
        rng: np.random.Generator, pixels: NDArray[np.uint8], pixel_size_um: float
    ) -> NDArray[np.bool_]:
        assert pixel_size_um == 0.09
        covered.append(np.zeros(pixels.shape[:2], bool))
        covered[0][120:190, 100:230] = True
        return covered[0]

    with monkeypatch.context() as patch:
        patch.setattr("hptl_deploy.synthesis.frame.burn_in", box)
        with_bar = plain_frame(patch, 4, (200, 240), full, camera(), bar=True)
    (below,) = covered
    assert (without.labels[below] > 0).mean() > 0.1
    assert not with_bar.labels[below].any()
    np.testing.assert_array_equal(with_bar.labels[~below], without.labels[~below])
