"""Crops, variants and the source domain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hptl_deploy.errors import DataSetError
from hptl_train.data import prefetched
from hptl_train.data.augment import Variant
from hptl_train.data.batches import generator
from hptl_train.data.crops import Crops, Frame
from hptl_train.data.source import SourceBatches, find_source, photographs
from hptl_train.recipe import AugmentationTable
from support.labelled import draw
from support.tiny import recipe

STILL = {"variants": 0, "brightness": 0.0, "contrast": 0.0, "white_balance": 0.0}


def labelled_by_colour(size: tuple[int, int], seed: int) -> Frame:
    """Pixels that say their own place and label, so that any mix-up shows."""
    _, labels = draw(size, np.random.default_rng(seed))
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.stack([rows, columns, labels], axis=-1).astype(np.uint8), labels


def test_labels_follow_their_pixels_through_crop_and_variant() -> None:
    plan = recipe(augmentation=STILL)
    crops = Crops([labelled_by_colour((90, 120), n) for n in range(3)], 3, 64, plan, plan.steps[1])
    corners = set()
    for iteration in range(20):
        batch = crops(iteration)
        assert batch.pictures.shape == (2, 64, 64, 3)
        assert np.array_equal(batch.pictures[..., 2], batch.labels)
        corners |= {tuple(p[0, 0, :2].astype(int) - p[0, -1, :2]) for p in batch.pictures}
    # Steps along the first row show which of the eight symmetries a crop went through.
    assert {(0, -63), (0, 63), (-63, 0), (63, 0)} <= corners


def test_a_batch_is_a_function_of_the_iteration() -> None:
    plan = recipe()
    frames = [draw((90, 120), np.random.default_rng(n)) for n in range(3)]
    one, other = (Crops(frames, 3, 64, plan, plan.steps[1]) for _ in range(2))
    one(4)  # what was drawn before does not matter
    assert np.array_equal(one(5).pictures, other(5).pictures)
    assert not np.array_equal(one(5).pictures, one(6).pictures)
    third_step = Crops(frames, 3, 64, plan, plan.steps[2])
    assert not np.array_equal(one(5).pictures, third_step(5).pictures)


def test_rare_phases_are_seen() -> None:
    """A phase of 4 pixels in 40 000: a uniform crop shows it in 1 of 40 cases."""
    labels = np.zeros((200, 200), np.uint8)
    labels[150:152, 20:22] = 1
    frame = np.zeros((200, 200, 3), np.uint8), labels
    shares = {}
    for rare_share in (0.0, 1.0):
        plan = recipe(crops={"size": 32, "rare_share": rare_share})
        crops = Crops([frame], 2, 32, plan, plan.steps[1])
        seen = [(crops(i).labels == 1).any(axis=(1, 2)).mean() for i in range(200)]
        shares[rare_share] = float(np.mean(seen))
    # Of 169 positions along each axis, 33 rows and (at the border) 22 columns show it.
    assert shares[0.0] == pytest.approx(33 / 169 * 22 / 169, abs=0.02)
    assert shares[1.0] > 0.45  # phases are drawn with equal chances: half of the crops


def test_small_frames_are_padded_with_ignored_pixels() -> None:
    plan = recipe(augmentation=STILL | {"flips": False, "quarter_turns": False})
    crops = Crops([draw((40, 200), np.random.default_rng(0))], 3, 64, plan, plan.steps[1])
    labels = crops(0).labels
    assert (labels[:, 40:] == 255).all()
    assert (labels[:, :40] < 255).all()


def test_absent_phases_and_empty_splits_are_said() -> None:
    plan = recipe()
    frame = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    assert Crops([frame], 3, 64, plan, plan.steps[1]).absent == [1, 2]
    nothing = frame[0], np.full((64, 64), 255, np.uint8)
    with pytest.raises(DataSetError, match="the training split has no labelled pixel"):
        Crops([nothing], 3, 64, plan, plan.steps[1])


def test_variants_change_tones_as_stated() -> None:
    table = AugmentationTable(
        variants=0,
        flips=False,
        quarter_turns=False,
        brightness=0.2,
        contrast=0.3,
        white_balance=0.1,
    )
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    pixels, labels = np.stack([grey] * 3, axis=-1), np.zeros((16, 16), np.uint8)
    rng = generator(1)
    toned, _ = Variant(table, generator(1))(pixels, labels)
    rng.integers(2), rng.integers(4)
    brightness, contrast = rng.uniform(-1, 1, 2) * (0.2, 0.3)
    gains = 1 + 0.1 * rng.uniform(-1, 1, 3)
    expected = ((grey[..., None] / 255 - 0.5) * (1 + contrast) + 0.5 + brightness) * gains * 255
    assert np.abs(toned - np.clip(expected, 0, 255)).max() <= 0.5 + 1e-9


def test_thirty_variants_are_thirty() -> None:
    plan = recipe(augmentation={"variants": 30}, crops={"size": 32})
    frame = np.full((32, 32, 3), 100, np.uint8), np.zeros((32, 32), np.uint8)
    crops = Crops([frame], 3, 32, plan, plan.steps[1])
    pictures = np.concatenate([crops(iteration).pictures for iteration in range(200)])
    # On a uniform frame only tone tells variants apart.
    assert len(np.unique(pictures[:, 0, 0], axis=0)) <= 30
    assert len(np.unique(pictures[:, 0, 0], axis=0)) > 20


def test_prefetched_batches_come_in_order_and_errors_arrive() -> None:
    plan = recipe()
    crops = Crops([draw((90, 120), np.random.default_rng(0))], 3, 64, plan, plan.steps[1])
    for number, batch in enumerate(prefetched(crops, 3, 7)):
        assert np.array_equal(batch.pictures, crops(3 + number).pictures)

    def broken(iteration: int) -> None:
        raise DataSetError(f"iteration {iteration}")

    with pytest.raises(DataSetError, match="iteration 3"):
        list(prefetched(broken, 3, 7))  # type: ignore[arg-type]


def test_photographs_are_a_source_domain() -> None:
    source = find_source("photographs")
    assert len(source.classes) == len(source.pictures) >= 15
    batch = SourceBatches(source, 4, seed=0, step_index=0)(2)
    assert batch.pictures.shape == (4, 224, 224, 3)
    assert batch.labels.shape == (4,)
    assert np.array_equal(batch.pictures, SourceBatches(source, 4, 0, 0)(2).pictures)
    assert [picture.ndim for picture in photographs(3)] == [3, 3, 3]


def test_a_class_per_folder_tree_is_a_source_domain(tmp_path: Path) -> None:
    colours = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}
    for name, colour in colours.items():
        (tmp_path / name / "deeper").mkdir(parents=True)
        for number in range(2):
            picture = Image.new("RGB", (60, 300), colour)
            picture.save(tmp_path / name / "deeper" / f"{number}.png")
    (tmp_path / "empty").mkdir()
    source = find_source(str(tmp_path))
    assert source.classes == ("blue", "green", "red")
    batch = SourceBatches(source, 16, seed=0, step_index=0)(0)
    truth = np.array(list(colours.values()))[batch.labels]
    assert np.array_equal(batch.pictures[:, 100, 100], truth)


def test_deep_source_pictures_keep_their_greys(tmp_path: Path) -> None:
    """16 bits are scaled to 8 by the rule for micrographs, not clipped to white."""
    ramp = np.linspace(0, 65535, 300 * 300).astype(np.uint16).reshape(300, 300)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(ramp).save(tmp_path / name / "ramp.png")
    pictures = SourceBatches(find_source(str(tmp_path)), 4, seed=0, step_index=0)(0).pictures
    assert 20 < pictures.mean() < 235
    assert len(np.unique(pictures)) > 100


def test_too_few_classes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "only").mkdir()
    Image.new("L", (50, 50)).save(tmp_path / "only" / "a.png")
    with pytest.raises(DataSetError, match="in at least two, found 1"):
        find_source(str(tmp_path))
    with pytest.raises(DataSetError, match="is not a folder"):
        find_source(str(tmp_path / "nowhere"))
