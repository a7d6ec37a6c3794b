from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hptl_deploy.datasets import load_data_set
from hptl_deploy.errors import DataSetError
from hptl_deploy.phases import Phase
from support import real_data
from support.data_sets import COLOURS, PHASES, indices, write_data_set

SPLIT = '[split]\ntrain = ["a"]\nval = ["b"]\ntest = ["c"]\n'


def problems(root: Path, *, verify: bool = False) -> list[str]:
    with pytest.raises(DataSetError) as caught:
        load_data_set(root, verify=verify)
    lines = str(caught.value).splitlines()
    count = f"{len(lines) - 1} problems" if len(lines) > 2 else "a problem"
    assert lines[0] == f"data set {root}: {count}"
    return [line.removeprefix("  - ") for line in lines[1:]]


def test_a_description_is_read(tmp_path: Path) -> None:
    text = (
        'name = "my alloy"\npixel_size_um = 0.5\nlicence = "CC0-1.0"\nignore = 9\n'
        "ignore_colour = [1, 2, 3]\n" + PHASES + SPLIT
    )
    data_set = load_data_set(write_data_set(tmp_path, "abcd", description=text), verify=True)
    assert (data_set.name, data_set.pixel_size_um, data_set.licence) == ("my alloy", 0.5, "CC0-1.0")
    assert data_set.phases == tuple(
        Phase(name, name, colour)
        for name, colour in zip(("matrix", "film", "needle"), COLOURS, strict=True)
    )
    assert (data_set.code.values, data_set.code.ignore) == ((0, 1, 2), 9)
    assert data_set.code.ignore_colour == (1, 2, 3)
    assert {s.stem: s.split for s in data_set.samples} == {"a": "train", "b": "val", "c": "test"}
    assert [s.stem for s in data_set.split("val")] == ["b"]
    assert len(data_set.split("all")) == 3
    assert data_set.notes == ("1 of 4 micrographs are in no split and stay unused",)
    pixels, labels = data_set.read(data_set.samples[0])
    assert np.array_equal(labels, indices())
    assert np.array_equal(pixels, np.stack([indices() * 80] * 3, axis=-1))
    with pytest.raises(DataSetError, match=r"^split best: expected train, val, test or all$"):
        data_set.split("best")


def test_keys_come_from_names_and_folders_from_the_description(tmp_path: Path) -> None:
    write_data_set(tmp_path, "a")
    (tmp_path / "images").rename(tmp_path / "pictures")
    (tmp_path / "dataset.toml").write_text(
        '\ufeffimages = "pictures"\n'  # as Windows' editor begins a file
        '[[phases]]\nname = "Widmanstätten (fine)"\ncolour = [0, 0, 0]\n'
        '[[phases]]\nname = "Mg2Si"\ncolour = [1, 0, 0]\n'
        '[[phases]]\nname = "c"\nkey = "third_1"\ncolour = [2, 0, 0]\n',
        encoding="utf-8",
    )
    data_set = load_data_set(tmp_path)
    assert [phase.key for phase in data_set.phases] == ["widmanstatten_fine", "mg2si", "third_1"]
    assert data_set.name == tmp_path.name
    assert data_set.notes == (
        f"{tmp_path / 'dataset.toml'} has no [split]: assuming a seeded 80/10/10 split",
    )


def test_without_a_description_the_papers_phases_are_assumed_and_said(tmp_path: Path) -> None:
    root = write_data_set(tmp_path, [f"s{n:02d}" for n in range(20)])
    data_set = load_data_set(root, verify=True)
    assert data_set.notes == (
        f"{root} has no dataset.toml: assuming the paper's phases (0 aluminium matrix, "
        "1 Mg2Si, 2 Fe-containing phase) and a seeded 80/10/10 split",
    )
    assert [phase.key for phase in data_set.phases] == ["al", "mg2si", "fe"]
    assert [len(data_set.split(name)) for name in ("train", "val", "test")] == [16, 2, 2]


def test_a_description_without_phases_says_what_is_assumed(tmp_path: Path) -> None:
    data_set = load_data_set(write_data_set(tmp_path, "abc", description=SPLIT))
    assert data_set.notes == (
        f"{tmp_path / 'dataset.toml'} lists no [[phases]]: assuming the paper's "
        "(0 aluminium matrix, 1 Mg2Si, 2 Fe-containing phase)",
    )


def test_all_problems_of_the_files_are_one_report(tmp_path: Path) -> None:
    root = write_data_set(tmp_path, "abcdef", description='nam = "x"\n' + PHASES)
    (root / "labels" / "a.png").unlink()
    (root / "images" / "b.png").unlink()
    Image.fromarray(indices(9, 12)).save(root / "labels" / "c.png")
    wrong = np.array(COLOURS, np.uint8)[indices()]
    wrong[0, :5] = (1, 2, 3)
    Image.fromarray(wrong).save(root / "labels" / "d.png")
    (root / "images" / "e.png").write_bytes(b"no picture")
    found = problems(root, verify=True)
    assert found[0] == (
        "dataset.toml: unknown keys nam; expected ignore, ignore_colour, images, labels, "
        "licence, name, origin, phases, pixel_size_um, split, synthetic"
    )
    assert found[1:5] == [
        "image a.png has no label",
        "label b.png has no image",
        "c: the micrograph is 12 x 8 px, its label 12 x 9 px",
        "d.png: unknown colours (1, 2, 3) (5 px); expected matrix (0, 0, 0), "
        "film (255, 0, 0), needle (0, 0, 255)",
    ]
    assert found[5].startswith("e.png: ")
    assert len(found) == 6


def test_all_problems_of_the_description_are_one_report(tmp_path: Path) -> None:
    text = (
        "pixel_size_um = -1\nsynthetic = 1\nignore = 255\nignore_colour = [0, 0]\n"
        '[[phases]]\nname = "a"\nvalue = -3\ncolour = [0, 0, 0]\n'
        '[[phases]]\nname = "a"\nvalue = 255\ncolour = "red"\n'
        '[split]\ntrain = ["a", "b", "gone"]\nval = ["b.png"]\ntest = true\nseed = "x"\nbest = 1\n'
    )
    assert problems(write_data_set(tmp_path, "abc", description=text)) == [
        "[[phases]] 1 a: value must be an integer 0 to 65535, found -3",
        "[[phases]] 2 a: expected a colour as three integers 0 to 255, found 'red'",
        "ignore_colour: expected a colour as three integers 0 to 255, found [0, 0]",
        "[[phases]]: keys must differ, found a, a",
        "[[phases]]: colours must differ, found (0, 0, 0), (0, 0, 0)",
        "a has the value 255, which means `ignore` (255 unless stated); "
        "give `ignore` another number",
        "[split] train: names gone, which is not among the images",
        "b is in both train and val",
        "[split] test: expected a list file, a list of names or a share",
        "[split] best: expected train, val or test",
        "[split] seed: expected an integer, found 'x'",
        "pixel_size_um must be a positive number of micrometres, found -1",
        "synthetic must be true or false, found 1",
    ]


@pytest.mark.parametrize(("line", "stated"), [("", False), ("false", False), ("true", True)])
def test_whether_the_images_are_synthetic(tmp_path: Path, line: str, stated: bool) -> None:
    text = f"synthetic = {line}\n" if line else ""
    root = write_data_set(tmp_path, "abc", description=text + PHASES + SPLIT)
    assert load_data_set(root).synthetic is stated


def test_two_files_of_one_stem(tmp_path: Path) -> None:
    root = write_data_set(tmp_path, "a", description=PHASES)
    Image.fromarray(indices()).save(root / "labels" / "a.tif")
    assert problems(root) == ["labels: a.png and a.tif share a stem"]


def test_what_is_no_data_set_at_all(tmp_path: Path) -> None:
    def sentence(root: Path) -> str:
        with pytest.raises(DataSetError) as caught:
            load_data_set(root)
        return str(caught.value)

    assert sentence(tmp_path / "gone") == f"data set {tmp_path / 'gone'}: is not a folder"
    assert sentence(tmp_path) == (
        f"data set {tmp_path}: found neither dataset.toml nor the folders images and labels. "
        "Name the folder that holds them"
    )
    (tmp_path / "dataset.toml").write_text("a = = 1")
    assert sentence(tmp_path).startswith(f"{tmp_path / 'dataset.toml'}: is not readable TOML (")
    (tmp_path / "dataset.toml").write_text("phases = 3")
    assert sentence(tmp_path) == "dataset.toml: expected 2 to 250 [[phases]]"
    (tmp_path / "dataset.toml").write_text(PHASES)
    assert problems(tmp_path) == [
        f"the folder of images, {tmp_path / 'images'}, is missing",
        f"the folder of labels, {tmp_path / 'labels'}, is missing",
    ]
    write_data_set(tmp_path, [])
    assert problems(tmp_path) == ["no labelled micrograph found"]


def test_the_hash_sees_everything_training_sees(tmp_path: Path) -> None:
    root = write_data_set(tmp_path, "abc", description=PHASES + SPLIT)
    first = load_data_set(root).sha256
    assert load_data_set(root).sha256 == first
    (root / "dataset.toml").write_text(PHASES + SPLIT.replace('val = ["b"]', 'test = ["b"]', 1)
                                       .replace('test = ["c"]', 'val = ["c"]'))  # fmt: skip
    swapped = load_data_set(root).sha256
    assert swapped != first
    Image.fromarray(indices(8, 12, 2)).save(root / "labels" / "a.png")
    assert load_data_set(root).sha256 != swapped


def test_the_real_data_set() -> None:
    data_set = load_data_set(real_data.uhcs(), verify=True)
    assert [len(data_set.split(name)) for name in ("train", "val", "test")] == [16, 4, 4]
    assert [phase.name for phase in data_set.phases] == [
        "matrix", "network carbide", "spheroidite", "Widmanstaetten",
    ]  # fmt: skip
    counts = np.zeros(256, np.int64)
    for sample in data_set.samples:
        labels = data_set.read(sample)[1]
        assert labels.shape == (484, 645)
        counts += np.bincount(labels.ravel(), minlength=256)
    # As the data's own description has it: 74, 13, 10 and 2.7 %.
    assert counts[:4] / counts.sum() == pytest.approx([0.74, 0.13, 0.10, 0.027], abs=0.006)
