"""Light, lens, exposure, noise and JPEG, each against scipy, Pillow or its formula."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from hptl_train.data import prefetched
from hptl_train.data.augment import Photometry
from hptl_train.data.crops import Crops
from hptl_train.data.photometric import Photometric, applied
from hptl_train.data.source import photographs
from hptl_train.recipe import AugmentationTable
from support.labelled import draw
from support.tiny import recipe

NOTHING = Photometry(
    fall_off=0.0,
    centre=(0.0, 0.0),
    tilt=(0.0, 0.0),
    gain=1.0,
    gamma=1.0,
    blur=0.0,
    noise=0.0,
    grain=0.0,
    colour=1.0,
    quality=100,
    grid=(0, 0),
)
AMOUNTS = {"illumination": 0.5, "exposure": 0.5, "blur": 2.5, "noise": 0.1, "jpeg": 20}
Pictures = NDArray[np.uint8]


def photometric(**amounts: float) -> Photometric:
    tones = {"brightness": 0.0, "contrast": 0.0, "white_balance": 0.0}
    still: dict[str, Any] = {"variants": 0, "flips": False, "quarter_turns": False}
    return Photometric(AugmentationTable.model_validate(still | tones | amounts))


def taken(pictures: Pictures, *changes: dict[str, Any], **amounts: float) -> Pictures:
    """`pictures` [N, S, S, 3] with `changes` to each, by a table of `amounts`."""
    photometry = [replace(NOTHING, **change) for change in changes]
    result = photometric(**(amounts or AMOUNTS))(torch.from_numpy(pictures), photometry)
    assert result.dtype == torch.uint8
    assert result.is_contiguous()
    return np.asarray(result.numpy())


def photograph(side: int = 96) -> Pictures:
    return np.ascontiguousarray(photographs(1)[0][60 : 60 + side, 160 : 160 + side])


def uniform(level: int, count: int = 1, side: int = 96) -> Pictures:
    return np.full((count, side, side, 3), level, np.uint8)


def test_amounts_of_nothing_change_nothing() -> None:
    pictures = np.stack([photograph(), photograph()[::-1]])
    assert np.array_equal(taken(pictures, {}, {}), pictures)


def test_blur_is_scipys_gaussian() -> None:
    """Within a grey level: the kernel ends at 3 of the table's deviations, scipy's at 6."""
    sigmas = (0.4, 1.0, 2.5)
    found = taken(np.stack([photograph()] * 3), *({"blur": sigma} for sigma in sigmas), blur=2.5)
    for sigma, picture in zip(sigmas, found, strict=True):
        expected = ndimage.gaussian_filter(
            photograph().astype(float), (sigma, sigma, 0), mode="mirror", truncate=6
        )
        assert np.abs(picture - expected).max() <= 1.0
        assert abs((picture - expected).mean()) < 0.02


def test_light_follows_its_formula_pixel_by_pixel() -> None:
    side, lost, centre, tilt = 33, 0.4, (-0.3, 1.7), (0.1, -0.15)
    change = {"fall_off": lost, "centre": centre, "tilt": tilt}
    found = taken(uniform(200, side=side), change, illumination=1.0)[0]
    places = [(i + 0.5) / side - 0.5 for i in range(side)]
    squares = [[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 for x in places] for y in places]
    near, far = min(map(min, squares)), max(map(max, squares))
    for i, y in enumerate(places):
        for j, x in enumerate(places):
            bowl = 1 - lost * (squares[i][j] - near) / (far - near)
            expected = 200 * bowl * (1 + tilt[0] * y + tilt[1] * x)
            assert np.abs(found[i, j] - expected).max() <= 0.51


def test_fall_off_is_the_share_lost_across_the_crop() -> None:
    changes = [{"fall_off": 0.4, "centre": centre} for centre in ((0.0, 0.0), (3.0, -2.0))]
    middle, outside = taken(uniform(200, 2), *changes, illumination=1.0)[..., 0]
    for picture in (middle, outside):
        assert (picture.max(), picture.min()) == (200, 120)
    assert middle[48, 48] == 200
    assert middle[0, 0] == middle[-1, -1] == 120
    # Far from the centre it is nearly a plane: darkest where the crop is farthest from it.
    assert outside[0, -1] == 120 or outside[0, 0] == 120
    assert outside[-1, 0] == 200


def test_exposure_is_a_gain_and_then_a_power() -> None:
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 256, 3))
    changes = [{"gain": 1.4, "gamma": 0.8}, {"gain": 0.7, "gamma": 1.3}]
    found = taken(np.stack([ramp] * 2), *changes, exposure=0.5)
    for picture, change in zip(found, changes, strict=True):
        for level in range(256):
            exposed = min(level / 255 * change["gain"], 1.0)
            expected = 255 * math.pow(exposed, change["gamma"])
            assert np.abs(picture[level] - expected).max() <= 0.501


@pytest.mark.parametrize("grain", [0.0, 0.8])
@pytest.mark.parametrize("colour", [0.0, 0.6, 1.0])
def test_noise_deviates_and_correlates_as_drawn(grain: float, colour: float) -> None:
    drawn = {"noise": 0.03, "grain": grain, "colour": colour}
    changes = [drawn | {"noise_seed": seed} for seed in range(6)]
    noise = taken(uniform(128, 6), *changes, noise=0.1).astype(float) - 128
    assert abs(noise.mean()) < 0.15
    # Rounding adds the variance of a uniform distribution one level wide.
    expected = math.sqrt((0.03 * 255) ** 2 + 1 / 12)
    assert noise.std() == pytest.approx(expected, rel=0.02)
    assert noise[:, [0, -1]].std() == pytest.approx(expected, rel=0.06)  # borders as well
    channels = np.corrcoef(noise.reshape(-1, 3).T)
    assert channels[0, 1] == pytest.approx(1 - colour, abs=0.03)
    assert channels[1, 2] == pytest.approx(1 - colour, abs=0.03)
    white = np.random.default_rng(0).normal(size=(400, 400))
    reference = ndimage.gaussian_filter(white, grain, radius=2) if grain else white
    for step in (1, 2):
        neighbours = np.corrcoef(noise[:, step:].ravel(), noise[:, :-step].ravel())[0, 1]
        alike = np.corrcoef(reference[step:].ravel(), reference[:-step].ravel())[0, 1]
        assert neighbours == pytest.approx(alike, abs=0.03)


def test_noise_is_of_its_seed() -> None:
    changes = [{"noise": 0.03, "noise_seed": seed} for seed in (2**63 - 1, 7, 7)]
    first, second, third = taken(uniform(128, 3), *changes)
    assert np.array_equal(second, third)
    assert not np.array_equal(first, second)


def test_a_saturated_camera_still_reads_its_noise() -> None:
    """Noise comes behind the clipping, so that half of it is seen below white."""
    change = {"gain": 4.0, "noise": 0.03, "noise_seed": 1}
    white = taken(uniform(200), change, exposure=2.0, noise=0.03)
    assert (white < 255).mean() == pytest.approx(0.5, abs=0.05)


def signal_to_noise(picture: Pictures, reference: Pictures) -> float:
    """Peak signal-to-noise ratio, dB."""
    square = np.mean((picture.astype(float) - reference) ** 2)
    return float(10 * np.log10(255**2 / square))


def encoded(picture: Pictures, quality: int) -> Pictures:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(stream))


@pytest.mark.parametrize("quality", [40, 75, 95])
@pytest.mark.parametrize("grid", [(0, 0), (5, 11)])
def test_jpeg_is_pillows(quality: int, grid: tuple[int, int]) -> None:
    """Above 40 dB, and 6 dB nearer to Pillow's picture than Pillow's is to the original.

    The two differ in how they interpolate colour, and the codec rounds smoothly.
    """
    picture, (y, x) = photograph(), grid
    found, untouched = taken(
        np.stack([picture] * 2), {"quality": quality, "grid": grid}, {}, jpeg=20
    )
    assert np.array_equal(untouched, picture)
    laid = np.pad(picture, ((y, 15 - y), (x, 15 - x), (0, 0)), mode="edge")
    expected = encoded(laid, quality)[y : y + 96, x : x + 96]
    alike = signal_to_noise(found, expected)
    assert alike > 40
    assert alike > signal_to_noise(expected, picture) + 6
    if grid != (0, 0):
        assert alike > signal_to_noise(found, encoded(picture, quality)) + 3


def all_of_it() -> Crops:
    plan = recipe(augmentation={"variants": 0, "scale": 0.3} | AMOUNTS)
    frames = [draw((90, 120), np.random.default_rng(number)) for number in range(2)]
    return Crops(frames, 3, 64, plan, plan.steps[1])


def test_a_crop_does_not_depend_on_its_company() -> None:
    crops, run = all_of_it(), photometric(**AMOUNTS)
    whole = crops(3, range(6))
    assert whole.photometry is not None
    together = run(torch.from_numpy(whole.pictures), whole.photometry)
    assert not torch.equal(together, torch.from_numpy(whole.pictures))
    for first in range(2):
        share = crops(3, range(first, 6, 2))
        assert share.photometry is not None
        alone = run(torch.from_numpy(share.pictures), share.photometry)
        assert torch.equal(together[first::2], alone)


def test_applied_batches_are_finished_in_any_number_of_threads() -> None:
    crops, run = all_of_it(), photometric(**AMOUNTS)
    finished = list(prefetched(applied(crops, run), 0, 4, workers=2))
    for iteration in (3, 0, 2, 1):
        raw = crops(iteration)
        assert raw.photometry is not None
        expected = run(torch.from_numpy(raw.pictures), raw.photometry)
        assert finished[iteration].photometry is None
        assert np.array_equal(finished[iteration].pictures, expected.numpy())
        assert np.array_equal(finished[iteration].labels, raw.labels)


def test_batches_with_nothing_to_be_done_stay_as_they_are() -> None:
    plan = recipe()
    crops = Crops([draw((90, 120), np.random.default_rng(0))], 3, 64, plan, plan.steps[1])
    found = applied(crops, Photometric(plan.augmentation))(2)
    assert np.array_equal(found.pictures, crops(2).pictures)


@pytest.mark.gpu
def test_a_card_takes_the_same_photographs() -> None:
    """All but the noise, whose numbers are the device's own; JPEG may round another way."""
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA card")
    quiet = AMOUNTS | {"noise": 0.0}
    crops, run = all_of_it(), photometric(**quiet)
    batch = crops(0, range(6))
    assert batch.photometry is not None
    pictures = torch.from_numpy(batch.pictures)
    on_card = run(pictures.cuda(), batch.photometry)
    assert on_card.is_cuda
    off = on_card.cpu().int() - run(pictures, batch.photometry).int()
    assert float(off.abs().float().mean()) < 0.2
    noisy = photometric(noise=0.1)
    changes = [replace(NOTHING, noise=0.03, noise_seed=5)] * 2
    first, second = noisy(torch.from_numpy(uniform(128, 2)).cuda(), changes).cpu()
    assert torch.equal(first, second)
    assert float(first.float().std()) == pytest.approx(0.03 * 255, rel=0.02)
