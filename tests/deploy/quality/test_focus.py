"""The blur of edges, against edges whose blur is known and the lens of synthetic frames."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from hptl_deploy.quality.judging import focus_of
from hptl_deploy.quality.sample import BLOCK, MOST, blocks_of
from support.drawings import blobs
from support.edges import edges
from support.synthesis import camera, plain_frame, specimen


@pytest.mark.parametrize("blur", [0.5, 0.8, 1.5, 2.5, 4.0])
def test_the_blur_of_straight_edges(blur: float) -> None:
    assert focus_of(edges(blur)) == pytest.approx(blur, rel=0.03, abs=0.05)


@pytest.mark.parametrize(("low", "high"), [(20, 40), (140, 160), (30, 230), (190, 250)], ids=str)
def test_neither_contrast_nor_brightness_matters(low: float, high: float) -> None:
    assert focus_of(edges(2.0, low=low, high=high)) == pytest.approx(2.0, rel=0.03)


@pytest.mark.parametrize("noise", [1.0, 3.0, 6.0])
def test_noise_is_no_sharpness(noise: float) -> None:
    for blur in (1.5, 4.0):
        assert focus_of(edges(blur, noise=noise)) == pytest.approx(blur, rel=0.07)


def test_a_field_without_edges_has_no_focus() -> None:
    rng = np.random.default_rng(0)
    for noise in (0.0, 2.0, 6.0):
        flat = rng.normal(140, noise, (960, 1280, 3)).clip(0, 255).astype(np.uint8)
        assert focus_of(flat) is None
    assert focus_of(edges(1.0, size=(12, 20))) is None


def test_lines_finer_than_the_blur_are_sharp() -> None:
    lines = np.full((480, 640, 3), 150, np.uint8)
    lines[:, ::37] = 60
    assert focus_of(lines) == 0


def test_a_field_that_is_full_of_structure() -> None:
    """No plain ground that would tell its noise; blurred further, it comes out as more blurred."""
    structure = np.repeat(blobs(480, 640, seed=1)[..., None], 3, axis=2)
    blurred = ndimage.gaussian_filter(structure, (3, 3, 0))
    sharp, soft = focus_of(structure), focus_of(blurred)
    assert sharp is not None
    assert soft is not None
    assert soft > sharp + 0.5


def test_what_is_left_out_is_not_looked_at() -> None:
    blurred = edges(4.0)
    classes = np.zeros((480, 640), np.uint8)
    classes[400:460] = 255
    blurred[400:460, ::6] = 255  # sharper than any lens
    assert focus_of(blurred, classes) == pytest.approx(4.0, rel=0.08)
    assert focus_of(blurred, np.full_like(classes, 255)) is None


@pytest.mark.parametrize("blur", [1.6, 3.2])
def test_the_lens_of_a_synthetic_frame(monkeypatch: pytest.MonkeyPatch, blur: float) -> None:
    """Small, rough and curved particles, noise and the camera's curve: within 30 %."""
    lens = camera(blur=(blur, blur, blur), noise=3.0, tone=0.9)
    pixels = plain_frame(monkeypatch, 3, (480, 640), specimen(), lens).pixels()
    assert focus_of(pixels) == pytest.approx(blur, rel=0.3)


@pytest.mark.parametrize(
    "size", [(1, 1), (100, 9000), (255, 511), (480, 640), (960, 1280), (1920, 2560), (9000, 9000)]
)
def test_blocks_lie_inside_and_apart(size: tuple[int, int]) -> None:
    seen = np.zeros(size, np.uint8)
    blocks = blocks_of(*size)
    for block in blocks:
        assert seen[block].size
        seen[block] += 1
    assert seen.max() == 1
    assert len(blocks) <= MOST
    assert seen.sum() <= 2 * MOST * BLOCK**2
    if size[0] * size[1] <= MOST * BLOCK**2:
        assert seen.all() or min(size) < BLOCK
    # Each quarter of a large frame has its share.
    if min(size) > 2 * BLOCK:
        top, left = seen[: size[0] // 2], seen[:, : size[1] // 2]
        assert 0.4 < top.sum() / seen.sum() < 0.6
        assert 0.4 < left.sum() / seen.sum() < 0.6
