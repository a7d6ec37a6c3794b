"""The source domain: what is trained on, what is held out, and step 1's scores on it."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import log_loss, top_k_accuracy_score
from torch import Tensor, nn

from hptl_deploy.errors import DataSetError
from hptl_train.data import source_split
from hptl_train.data.source import SourceBatches, centre_crop, find_source, read_picture
from hptl_train.data.source_split import drawn_split
from hptl_train.source_validation import source_scores

CPU = torch.device("cpu")


def plant(root: Path, classes: dict[str, int]) -> Path:
    """A tree of `classes`, each with so many pictures, no two alike."""
    for place, (name, count) in enumerate(classes.items()):
        (root / name).mkdir(parents=True)
        for number in range(count):
            rows, columns = np.mgrid[:12, :16]
            pixels = np.stack([rows * 20 + number, columns * 15, rows * 0 + place], axis=-1)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number:03}.png")
    return root


class Guess(nn.Module):
    """Logits [N, K] that only the picture decides, as different as random ones."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Parameter(torch.randn(256, classes))
        self.modes: list[bool] = []

    def forward(self, pictures: Tensor) -> Tensor:
        self.modes.append(self.training)
        assert pictures.shape[1:] == (224, 224, 3)
        return self.table[pictures[:, 112, 112].long().sum(1) * 7 % 256]


def as_before(
    pictures: list[tuple[Path, int]], seed: int, iteration: int, count: int
) -> np.ndarray:
    """The crops that a batch has always held, drawn step by step."""
    crops = []
    for place in range(count):
        rng = np.random.default_rng([seed, 21, 0, iteration, place])
        path, _ = pictures[rng.integers(len(pictures))]
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        side = round(rng.uniform(0.5, 1) * min(picture.size))
        left, top = (int(rng.integers(length - side + 1)) for length in picture.size)
        crop = picture.resize(
            (224, 224), Image.Resampling.BILINEAR, (left, top, left + side, top + side)
        )
        crops.append(np.asarray(crop)[:, :: -1 if rng.integers(2) else 1])
    return np.stack(crops)


def hashed_as_before(root: Path, pictures: list[tuple[Path, int]]) -> str:
    lines = [f"{p.relative_to(root).as_posix()}/{k}/{p.stat().st_size}\n" for p, k in pictures]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_photographs_are_drawn_as_before() -> None:
    source = find_source("photographs")
    folder = Path(str(files("skimage.data")))
    assert source.held_out == ()
    assert [index for _, index in source.pictures] == list(range(len(source.pictures)))
    assert source.sha256 == hashed_as_before(folder, list(source.pictures))
    batches = SourceBatches(source, 4, seed=0, step_index=0)
    if len(source.pictures) == 19:
        # Drawn before any picture was held out.
        assert batches(0).labels.tolist() == [2, 18, 1, 3]
        assert batches(1).labels.tolist() == [1, 15, 17, 17]
    for iteration in (0, 1):
        expected = as_before(list(source.pictures), 0, iteration, 4)
        assert np.array_equal(batches(iteration).pictures, expected)


def test_small_trees_are_trained_on_whole_and_as_before(tmp_path: Path) -> None:
    root = plant(tmp_path, {"a": 4, "b": 3, "c": 1})
    source = find_source(str(root))
    every = [
        (path, index)
        for index, name in enumerate("abc")
        for path in sorted((root / name).iterdir())
    ]
    assert list(source.pictures) == every
    assert source.held_out == ()
    assert source.sha256 == hashed_as_before(root, every)
    batches = SourceBatches(source, 6, seed=3, step_index=0)
    assert np.array_equal(batches(5).pictures, as_before(every, 3, 5, 6))
    assert np.array_equal(batches(5, range(1, 6, 2)).pictures, batches(5).pictures[1::2])


def test_a_share_is_held_out_disjoint_and_complete(tmp_path: Path) -> None:
    root = plant(tmp_path, {"a": 4, "b": 5, "c": 30, "d": 61})
    source = find_source(str(root))
    held = [path.parent.name for path, _ in source.held_out]
    assert {name: held.count(name) for name in "abcd"} == {"a": 0, "b": 1, "c": 2, "d": 3}
    trained, kept = ({path for path, _ in part} for part in (source.pictures, source.held_out))
    assert not trained & kept
    assert trained | kept == set(root.rglob("*.png"))
    for path, index in (*source.pictures, *source.held_out):
        assert source.classes[index] == path.parent.name
    # Runs on the tree find it unchanged, whatever is held out.
    every = [(path, "abcd".index(path.parent.name)) for path in sorted(trained | kept)]
    assert source.sha256 == hashed_as_before(root, every)
    assert find_source(str(root)) == source
    # Drawn, not the first or last by name.
    assert [path.name for path, _ in source.held_out if path.parent.name == "d"] not in (
        ["000.png", "001.png", "002.png"],
        ["058.png", "059.png", "060.png"],
    )


def test_large_trees_hold_out_at_most_ten_thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [Path(f"{number}.jpg") for number in range(400)]
    imagenet = {f"n{place:04}": files for place in range(1000)} | {"rare": files[:5]}
    train, held_out = drawn_split(imagenet)
    # 20 of each are wanted, 20 001 in all: 9 of each and the rare class's one fit into 10 000.
    assert {len(paths) for paths in held_out.values()} == {9, 1}
    assert sum(map(len, held_out.values())) == 9001
    for name in ("n0000", "n0999", "rare"):
        assert sorted(train[name] + held_out[name]) == sorted(imagenet[name])
    assert held_out["n0000"] != held_out["n0001"]
    monkeypatch.setattr(source_split, "_MOST", 30)
    assert sum(map(len, drawn_split(imagenet)[1].values())) == 30
    assert max(map(len, drawn_split(imagenet)[1].values())) == 1


def test_train_and_val_are_taken_as_they_are(tmp_path: Path) -> None:
    root = plant(tmp_path / "train", {"cat": 7, "dog": 6, "emu": 1}).parent
    plant(root / "val", {"cat": 1, "emu": 2})
    plant(root / "test", {"unsorted": 2})
    source = find_source(str(root))
    assert source.classes == ("cat", "dog", "emu")
    assert len(source.pictures) == 14
    assert all(path.is_relative_to(root / "train") for path, _ in source.pictures)
    assert [(p.relative_to(root).as_posix(), index) for p, index in source.held_out] == [
        ("val/cat/000.png", 0),
        ("val/emu/000.png", 2),
        ("val/emu/001.png", 2),
    ]
    before = source.sha256
    (root / "val" / "cat" / "000.png").unlink()
    assert find_source(str(root)).sha256 != before


def test_classes_may_be_called_train_and_val(tmp_path: Path) -> None:
    vehicles = plant(tmp_path / "vehicles", {"train": 2, "val": 2})
    assert find_source(str(vehicles)).classes == ("train", "val")
    three = plant(tmp_path / "three", {"bus": 1, "train/fast": 2, "val/old": 2})
    assert find_source(str(three)).classes == ("bus", "train", "val")


def test_a_val_that_does_not_go_with_train_is_said(tmp_path: Path) -> None:
    root = plant(tmp_path / "train", {"cat": 2, "dog": 2}).parent
    (root / "val").mkdir()
    with pytest.raises(DataSetError) as raised:
        find_source(str(root))
    assert str(raised.value) == (
        f"source domain {root}: val holds no pictures; expected a folder per class"
    )
    plant(root / "val", {"emu": 1, "gnu": 1, "cat": 1})
    with pytest.raises(DataSetError) as raised:
        find_source(str(root))
    assert str(raised.value) == (
        f"source domain {root}: val holds classes that train does not: emu, gnu. Name the folders "
        "of val as those of train, or remove them"
    )
    (root / "val" / "emu" / "000.png").rename(root / "val" / "ILSVRC2012_val_1.png")
    with pytest.raises(DataSetError) as raised:
        find_source(str(root))
    assert str(raised.value) == (
        f"source domain {root}: val holds pictures outside of class folders, such as "
        "ILSVRC2012_val_1.png; expected a folder per class as in train"
    )
    one = plant(tmp_path / "one" / "train", {"cat": 2}).parent
    plant(one / "val", {"cat": 2})
    with pytest.raises(DataSetError, match=r"one/train: expected a folder per class .* found 1"):
        find_source(str(one))


def test_the_centre_is_scored() -> None:
    """Against the two steps of the protocol, on sizes where the first is exact."""
    noise = np.random.default_rng(0).integers(0, 256, (512, 700, 3), np.uint8)
    half = Image.fromarray(noise).resize((350, 256), Image.Resampling.BILINEAR)
    assert np.array_equal(centre_crop(noise), np.asarray(half)[16:240, 63:287])
    tall = noise[:, :256].copy()
    assert np.array_equal(centre_crop(tall), tall[144:368, 16:240])
    assert centre_crop(noise[:3, :40].copy()).shape == (224, 224, 3)


@pytest.mark.parametrize("batch", [4, 16])
def test_scores_are_those_of_scikit_learn(tmp_path: Path, batch: int) -> None:
    root = plant(tmp_path / "train", {f"c{place}": 2 for place in range(8)}).parent
    plant(root / "val", {f"c{place}": 5 for place in range(8)})
    source = find_source(str(root))
    guess = Guess(8)
    found = source_scores(guess, source, CPU, batch)
    crops = [centre_crop(np.asarray(Image.open(path))) for path, _ in source.held_out]
    truth = [index for _, index in source.held_out]
    with torch.inference_mode():
        logits = guess(torch.from_numpy(np.stack(crops))).double()
    classes = np.arange(8)
    expected = [top_k_accuracy_score(truth, logits, k=k, labels=classes) for k in (1, 5)]
    assert [found["top1"], found["top5"]] == pytest.approx(expected)
    assert 0 < expected[0] < expected[1] < 1
    shares = torch.softmax(logits, 1).numpy()
    assert found["loss"] == pytest.approx(log_loss(truth, shares, labels=classes), rel=1e-5)
    assert found["pictures"] == 40
    assert found["of"] == "held-out pictures"


def test_scores_leave_the_module_as_it_was(tmp_path: Path) -> None:
    source = find_source(str(plant(tmp_path, {"a": 5, "b": 20})))
    guess = Guess(2).train()
    found = source_scores(guess, source, CPU)
    assert found["top5"] is None  # of two classes, any guess is among the first five
    assert found["pictures"] == 2
    assert guess.modes == [False]
    assert guess.training
    assert guess.table.grad is None


class OneOfTwo:
    """A process of two, as far as scoring sees: its share, and what it would add up."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.own: list[float] = []

    def share(self, count: int) -> range:
        return range(self.rank, count, 2)

    def sums(self, values: list[float]) -> list[float]:
        self.own = values
        return values


def test_processes_share_the_pictures_out(tmp_path: Path) -> None:
    source = find_source(str(plant(tmp_path, {f"c{place}": 5 for place in range(7)})))
    whole = source_scores(Guess(7), source, CPU)
    team = [OneOfTwo(0), OneOfTwo(1)]
    for process in team:
        source_scores(Guess(7), source, CPU, team=process)  # type: ignore[arg-type]
    loss, top1, top5, count = np.sum([process.own for process in team], axis=0)
    assert count == whole["pictures"] == 7
    assert [loss / 7, top1 / 7, top5 / 7] == pytest.approx(
        [whole["loss"], whole["top1"], whole["top5"]]
    )


def test_photographs_are_scored_on_themselves() -> None:
    source = find_source("photographs")
    found = source_scores(Guess(len(source.classes)), source, CPU)
    assert found["of"] == "training pictures"
    assert found["pictures"] == len(source.pictures)


def test_damaged_pictures_are_named_when_they_are_drawn(tmp_path: Path) -> None:
    root = plant(tmp_path / "train", {"a": 1, "b": 1}).parent
    plant(root / "val", {"a": 1})
    broken = root / "val" / "a" / "000.png"
    broken.write_bytes(broken.read_bytes()[:60])
    source = find_source(str(root))
    with pytest.raises(DataSetError) as raised:
        source_scores(Guess(2), source, CPU)
    text = str(raised.value)
    assert text.startswith(f"source domain picture {broken}: is damaged or of a kind that cannot")
    assert text.endswith("; copy or export it again")


def test_a_picture_is_read_as_what_it_is(tmp_path: Path) -> None:
    # ImageNet's n02105855_2933.JPEG is a PNG.
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "misnamed.JPEG", format="PNG")
    assert np.array_equal(read_picture(tmp_path / "misnamed.JPEG"), pixels)
