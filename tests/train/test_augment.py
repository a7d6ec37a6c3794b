"""Crops with every amount: what they were without, their geometry, and what is drawn for them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import astuple, replace

import numpy as np
import pytest
from scipy import ndimage, stats

from hptl_train.data.augment import Photometry, Variant, is_photometric, resized
from hptl_train.data.batches import generator
from hptl_train.data.crops import Crops, Frame
from hptl_train.recipe import AugmentationTable, load_chain
from support.labelled import draw
from support.tiny import recipe

STILL = {
    "variants": 0,
    "flips": False,
    "quarter_turns": False,
    "brightness": 0.0,
    "contrast": 0.0,
    "white_balance": 0.0,
}
EVERYTHING = {
    "variants": 0,
    "scale": 0.5,
    "illumination": 0.3,
    "exposure": 0.4,
    "blur": 2.0,
    "noise": 0.05,
    "jpeg": 40,
}


def arithmetic_frame(height: int, width: int, number: int) -> Frame:
    """Made of integers alone, so that it is the same everywhere."""
    rows, columns = np.mgrid[:height, :width]
    channels = [rows * 7 + columns * 3, rows * columns, (rows - columns) ** 2 + number * 50]
    labels = ((rows // 9 + columns // 13 + number) % 3).astype(np.uint8)
    labels[:5] = 255
    return (np.stack(channels, axis=-1) % 256).astype(np.uint8), labels


def crops_of(frames: list[Frame], **tables: Mapping[str, object]) -> Crops:
    plan = recipe(12, **tables)
    return Crops(frames, 3, 64, plan, plan.steps[1])


@pytest.mark.parametrize(
    ("augmentation", "rare_share", "digest"),
    [
        ("hptl", 0.5, "73ee379a699bf654ec200ad683f3ed73c7b36b13a34a643640408b0775efba70"),
        (
            "aluminium-demo",
            0.6,
            "6a26e999bccf86c2e2628f6a6fdfd4e918f7eead8de5e13714a3362ed9f90084",
        ),
    ],
)
def test_recipes_without_the_new_amounts_draw_what_they_drew(
    augmentation: str, rare_share: float, digest: str
) -> None:
    """The digests are of the program before it had scale, light, noise and the like."""
    frames = [arithmetic_frame(90, 120, 0), arithmetic_frame(70, 64, 1)]
    frames.append(arithmetic_frame(50, 200, 2))
    table = load_chain(augmentation).augmentation
    crops = crops_of(
        frames, augmentation=table.model_dump(), crops={"size": 64, "rare_share": rare_share}
    )
    found = hashlib.sha256()
    for iteration in (0, 1, 7, 11_999):
        batch = crops(iteration)
        assert batch.photometry is None
        found.update(batch.pictures.tobytes() + batch.labels.astype("<i8").tobytes())
    assert found.hexdigest() == digest


def test_labels_follow_their_pixels_through_scale_flips_and_turns() -> None:
    rows, columns = np.mgrid[:150, :180]
    labels = ((rows // 23 + columns // 31) % 3).astype(np.uint8)
    labels[40:80, 60:90] = 255
    frame = np.repeat(labels[..., None], 3, axis=2), labels
    moving = {"scale": 0.5, "flips": True, "quarter_turns": True}
    crops = crops_of([frame], augmentation=STILL | moving)
    batch = crops(0, range(60))
    seen, compared = set(), 0
    for pixels, labels in zip(batch.pictures, batch.labels, strict=True):
        seen |= set(np.unique(labels).tolist())
        # Cubics reach 2 px of the window, 3 of the crop where it is enlarged by 1.5; and
        # the nearest pixel lies up to half a pixel off.
        uniform = ndimage.minimum_filter(labels, 9) == ndimage.maximum_filter(labels, 9)
        compared += int(uniform.sum())
        assert np.array_equal(pixels[uniform], np.repeat(labels[uniform, None], 3, axis=1))
    assert seen == {0, 1, 2, 255}
    assert compared > 0.3 * batch.labels.size


@pytest.mark.parametrize("window", [45, 64, 96])
def test_resized_pixels_and_labels_keep_their_places(window: int) -> None:
    """On a ramp that is its own label; half a pixel's shift would be a mean of 0.3 or more."""
    ramp = np.broadcast_to(np.arange(window, dtype=np.uint8) * 2, (window, window))
    pixels, labels = resized(np.repeat(ramp[..., None], 3, axis=2), ramp.copy(), 64)
    assert pixels.shape == (64, 64, 3)
    for turned in (pixels[:, 4:-4, 1], labels[:, 4:-4]):
        centres = (np.arange(64) + 0.5) * window / 64 - 0.5
        off = turned.astype(float) - 2 * centres[4:-4]
        assert abs(off.mean()) < 0.1
        assert abs(off).max() <= 1.5 * 2


def test_shrinking_does_not_alias() -> None:
    """Stripes of a pixel, twice as fine as the crop can show, become grey."""
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    pixels, _ = resized(stripes, stripes[..., 0], 64)
    assert np.abs(pixels[4:-4, 4:-4] - 127.5).max() < 6


def test_scale_is_log_uniform() -> None:
    zooms = np.log([variant.zoom for variant in variants(scale=0.5)])
    ends = np.log(1.5)
    assert stats.kstest(zooms, stats.uniform(-ends, 2 * ends).cdf).pvalue > 0.01


def test_scale_zooms_the_picture_both_ways() -> None:
    rows, columns = np.mgrid[:250, :250]
    ramp = np.stack([rows, columns, rows], axis=-1).astype(np.uint8), rows.astype(np.uint8) % 3
    crops = crops_of([ramp], augmentation=STILL | {"scale": 0.5})
    pictures = crops(0, range(300)).pictures.astype(float)
    steps = (pictures[:, 56, 32, 0] - pictures[:, 8, 32, 0]) / 48
    across = (pictures[:, 32, 56, 1] - pictures[:, 32, 8, 1]) / 48
    assert np.abs(steps - across).max() <= 2.01 / 48
    assert 1 / 1.5 - 0.03 <= steps.min() < 0.7
    assert 1.43 < steps.max() <= 1.5 + 0.03
    assert abs(np.log(steps).mean()) < 0.05


def test_a_window_is_clipped_to_what_the_frame_has() -> None:
    rows, columns = np.mgrid[:70, :90]
    frame = np.stack([rows, columns, rows], axis=-1).astype(np.uint8), (rows % 3).astype(np.uint8)
    crops = crops_of([frame], augmentation=STILL | {"scale": 1.0})
    pictures = crops(0, range(40)).pictures.astype(float)
    steps = (pictures[:, 56, 32, 0] - pictures[:, 8, 32, 0]) / 48
    assert steps.max() == pytest.approx(70 / 64, abs=1.01 / 48)
    assert (np.abs(steps - 70 / 64) < 1.01 / 48).sum() > 10


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_a_drawn_pixel_stays_in_its_crop_at_any_scale(scale: float) -> None:
    """The only labelled place, 3 px wide so that a scale of 2 cannot step over it."""
    labels = np.full((300, 300), 255, np.uint8)
    labels[150:153, 190:193] = 1
    frame = np.zeros((300, 300, 3), np.uint8), labels
    crops = crops_of(
        [frame],
        augmentation=STILL | {"scale": scale},
        crops={"size": 64, "rare_share": 1.0},
    )
    drawn = crops(0, range(200)).labels
    assert (drawn == 1).any(axis=(1, 2)).all()
    assert set(np.unique(drawn)) == {1, 255}
    found = np.array([np.argwhere(one == 1).mean(axis=0) for one in drawn])
    for axis in range(2):  # and it may be anywhere in it
        assert stats.kstest(found[:, axis], stats.uniform(-0.5, 64).cdf).pvalue > 0.001


def test_a_batch_shared_out_is_the_batch() -> None:
    frames = [draw((150, 180), np.random.default_rng(n)) for n in range(2)]
    crops, other = (crops_of(frames, augmentation=EVERYTHING) for _ in range(2))
    whole = crops(5, range(8))
    assert whole.photometry is not None
    for first in (1, 0):  # whichever process asks first
        share = other(5, range(first, 8, 2))
        assert share.photometry == whole.photometry[first::2]
        assert np.array_equal(share.pictures, whole.pictures[first::2])
        assert np.array_equal(share.labels, whole.labels[first::2])
    assert np.array_equal(crops(5).pictures, whole.pictures[:2])


def test_fixed_variants_keep_scale_and_photometry_but_not_the_noise_field() -> None:
    rows, columns = np.mgrid[:150, :150]
    ramp = np.stack([rows, columns, rows], axis=-1).astype(np.uint8), (rows % 3).astype(np.uint8)
    crops = crops_of([ramp], augmentation=STILL | EVERYTHING | {"variants": 30})
    batch = crops(0, range(200))
    assert batch.photometry is not None
    kinds = {astuple(replace(one, noise_seed=0)) for one in batch.photometry}
    assert 20 < len(kinds) <= 30
    assert len({one.noise_seed for one in batch.photometry}) == 200
    pictures = batch.pictures.astype(float)
    steps = (pictures[:, 56, 32, 0] - pictures[:, 8, 32, 0]) / 48
    for kind in kinds:
        same = [
            n for n, p in enumerate(batch.photometry) if astuple(replace(p, noise_seed=0)) == kind
        ]
        assert np.ptp(steps[same]) <= 2.01 / 48


def variants(count: int = 1500, **amounts: float) -> list[Variant]:
    table = AugmentationTable.model_validate(STILL | amounts)
    return [Variant(table, generator(3, number)) for number in range(count)]


def drawn(count: int, **amounts: float) -> list[Photometry]:
    return [variant.photometry for variant in variants(count, **amounts)]


def test_amounts_are_uniform_up_to_the_tables() -> None:
    photometry = drawn(1500, **EVERYTHING)
    ends = {
        "fall_off": (0, 0.15),
        "blur": (0, 2.0),
        "noise": (0, 0.05),
        "grain": (0, 0.8),
        "colour": (0, 1),
    }
    for name, (low, high) in ends.items():
        values = [getattr(one, name) for one in photometry]
        assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 0.01, name
    for name in ("gain", "gamma"):
        stops = np.log2([getattr(one, name) for one in photometry])
        assert stats.kstest(stops, stats.uniform(-0.4, 0.8).cdf).pvalue > 0.01, name
    distances = [np.hypot(*one.centre) for one in photometry]
    assert stats.kstest(distances, stats.uniform(0, 4).cdf).pvalue > 0.01
    # A plane's least and greatest values lie in opposite corners.
    spreads = [abs(one.tilt[0]) + abs(one.tilt[1]) for one in photometry]
    assert stats.kstest(spreads, stats.uniform(0, 0.15).cdf).pvalue > 0.01
    places = np.array([one.grid for one in photometry])
    assert places.min() == 0
    assert places.max() == 15
    stored = [one.quality for one in photometry if one.quality < 100]
    assert 0.45 < len(stored) / len(photometry) < 0.55
    assert (min(stored), max(stored)) == (40, 95)


def test_each_amount_is_off_by_itself() -> None:
    nothing = {
        "fall_off": 0.0,
        "tilt": (0.0, 0.0),
        "gain": 1.0,
        "gamma": 1.0,
        "blur": 0.0,
        "noise": 0.0,
        "quality": 100,
    }
    belongs = {
        "illumination": {"fall_off", "tilt"},
        "exposure": {"gain", "gamma"},
        "blur": {"blur"},
        "noise": {"noise"},
        "jpeg": {"quality"},
    }
    assert not is_photometric(AugmentationTable.model_validate(STILL | {"scale": 0.5}))
    for amount, names in belongs.items():
        table = AugmentationTable.model_validate(STILL | {amount: EVERYTHING[amount]})
        assert is_photometric(table)
        photometry = drawn(20, **{amount: EVERYTHING[amount]})
        changed = {
            name
            for name, off in nothing.items()
            if any(getattr(p, name) != off for p in photometry)
        }
        assert changed == names
