"""`hptl-deploy compare` from the data set to the table, stopped and gone on with."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hptl_deploy.datasets import load_data_set
from hptl_deploy.errors import (
    DataSetError,
    EnvironmentLacks,
    HptlError,
    RunError,
    UsageError,
)
from hptl_train.compare import ROWS, Comparison, Plan, compare
from hptl_train.recipe import Wishes
from hptl_train.recipe.recipe import recipes_folder
from support.labelled import write_data_set
from support.sinks import Recorder

QUICK = Wishes(
    channels="4,4,6,6,8", fc=12, iterations=2, batch=2, source_data="none", precision="fp32"
)
ROW_NAMES = ("otsu", "fcn8s", "hptl")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(tmp_path_factory.mktemp("data") / "drawn")


@pytest.fixture(scope="module")
def compared(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    out = tmp_path_factory.mktemp("compared") / "out"
    return compare(data, Plan(ROW_NAMES, 2, QUICK), out, "cpu", Recorder())


def test_every_row_of_the_paper_is_planned() -> None:
    entries = Plan(tuple(ROWS), 3, Wishes(width=0.25, budget=0.01)).entries()
    assert len(entries) == 9 * 3
    assert [entry.name for entry in entries[:3]] == ["otsu-seed0", "svm-seed0", "fcn32s-seed0"]
    assert {entry.recipe.seed for entry in entries[9:18]} == {1}
    assert list(ROWS.values()) == [
        "OTSU",
        "SVM",
        "FCN-32s",
        "FCN-16s",
        "FCN-8s",
        "DeepLab V3+",
        "HPTL-2H",
        "HPTL",
        "HPTL-R",
    ]


def test_an_expensive_row_may_have_fewer_seeds() -> None:
    entries = Plan(("fcn8s", "deeplabv3plus:1", "otsu"), 2, Wishes()).entries()
    assert [entry.name for entry in entries] == [
        "fcn8s-seed0",
        "deeplabv3plus-seed0",
        "otsu-seed0",
        "fcn8s-seed1",
        "otsu-seed1",
    ]


def test_the_folder_holds_what_it_says(compared: Comparison, data: Path) -> None:
    out = compared.out
    with (out / "table.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["method"] for row in rows] == ["OTSU", "FCN-8s", "HPTL"]
    assert [row["seeds"] for row in rows] == ["2", "2", "2"]
    assert all(float(row["seconds_per_image"]) > 0 for row in rows)
    assert rows[0]["l2"] == ""  # OTSU has no loss
    assert float(rows[1]["l2"]) > 0
    document = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert document["data"]["samples"]["test"] == 1
    assert re.fullmatch(r"cpu, \d+ threads", document["device"])
    assert {"torch", "scikit-learn", "kornia"} <= document["versions"].keys()
    assert (out / "table.md").read_text(encoding="utf-8").endswith("FCN-8s 2, HPTL 2.\n")
    assert Image.open(out / "panel.png").size[0] > 800
    (sample,) = load_data_set(data).split("test")
    with Image.open(out / "scores" / "hptl-seed1" / f"{sample.stem}.png") as picture:
        found = np.array(picture)
    # The stored map is what was scored.
    truth = load_data_set(data).read(sample)[1]
    stored: dict[str, Any] = document["scores"]["hptl"][1]["test"]
    assert stored["accuracy"] == pytest.approx(float((found == truth).mean()))


def test_going_on_does_nothing_twice(compared: Comparison, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(compared.out, out)
    shutil.rmtree(out / "scores" / "fcn8s-seed1")
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()}
    sink = Recorder()
    again = compare(data, Plan(ROW_NAMES, 2, QUICK), out, "cpu", sink)
    after = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()}
    assert after == before
    assert again.table.csv() == compared.table.csv()
    assert (out / "scores" / "fcn8s-seed1" / "scores.json").is_file()


def test_an_unfinished_run_is_finished(compared: Comparison, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(compared.out, out)
    path = out / "runs" / "hptl-seed0" / "run.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["state"] = "running"
    record["steps"] = record["steps"][:1]
    path.write_text(json.dumps(record), encoding="utf-8")
    again = compare(data, Plan(ROW_NAMES, 2, QUICK), out, "cpu", Recorder())
    finished = json.loads(path.read_text(encoding="utf-8"))
    assert (finished["state"], len(finished["steps"])) == ("finished", 3)
    assert again.document["scores"]["hptl"][0] == compared.document["scores"]["hptl"][0]


def test_another_comparison_is_not_overwritten(
    compared: Comparison, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError) as raised:
        compare(data, Plan(ROW_NAMES, 2, Wishes(iterations=3)), compared.out, "cpu", Recorder())
    assert str(raised.value).startswith(f"{compared.out}: holds a comparison with other options (")
    assert str(raised.value).endswith("Name another folder with --out")
    other = write_data_set(tmp_path / "other", seed=1)
    with pytest.raises(RunError, match="holds a comparison with other data"):
        compare(other, Plan(ROW_NAMES, 2, QUICK), compared.out, "cpu", Recorder())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("unsaved")
    with pytest.raises(RunError) as raised:
        compare(data, Plan(("otsu",), 1, Wishes()), tmp_path / "mine", "cpu", Recorder())
    assert str(raised.value) == (
        f"{tmp_path / 'mine'}: is not empty and no comparison. Name another with --out"
    )


def test_a_run_of_another_recipe_is_not_taken(
    compared: Comparison, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(compared.out, out)
    shutil.rmtree(out / "runs" / "fcn8s-seed0")
    shutil.copytree(out / "runs" / "hptl-seed0", out / "runs" / "fcn8s-seed0")
    with pytest.raises(RunError) as raised:
        compare(data, Plan(ROW_NAMES, 2, QUICK), out, "cpu", Recorder())
    assert str(raised.value) == (
        f"run {out / 'runs' / 'fcn8s-seed0'}: its recipe is not fcn8s with this comparison's "
        "options. Remove it, or name another folder with --out"
    )


def test_a_row_may_be_a_file_of_ones_own(data: Path, tmp_path: Path) -> None:
    text = (recipes_folder() / "otsu.toml").read_text(encoding="utf-8")
    assert "histogram_bins = 256" in text
    coarse = text.replace("histogram_bins = 256", "histogram_bins = 255")
    (tmp_path / "quicker.toml").write_text(coarse, encoding="utf-8")
    rows = ("otsu", str(tmp_path / "quicker.toml"))
    found = compare(data, Plan(rows, 1, Wishes()), tmp_path / "out", "cpu", Recorder())
    first, second = list(csv.DictReader(found.table.csv().splitlines()))
    assert (first["method"], second["method"]) == ("OTSU", "quicker")
    # Bins a 255th wider move a threshold by half a grey level at most.
    assert float(second["accuracy"]) == pytest.approx(float(first["accuracy"]), abs=0.05)
    assert (tmp_path / "out" / "runs" / "quicker-seed0").is_dir()


def test_several_processes_do_not_all_compare(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "some")
    with pytest.raises(UsageError) as raised:
        compare(data, Plan(("otsu",), 1, Wishes()), tmp_path / "out", "cpu", Recorder())
    assert str(raised.value) == (
        "compare runs in one process, found torchrun's. Train the rows with torchrun into "
        "OUT/runs, then compare without it"
    )
    assert not (tmp_path / "out").exists()


def test_one_training_under_two_names_is_refused() -> None:
    with pytest.raises(UsageError) as raised:
        Plan(("hptl-2h", "hptl"), 1, QUICK).entries()
    assert str(raised.value) == (
        "rows hptl-2h and hptl are the same training with these options. Leave one of them out "
        "with --rows"
    )


def test_what_is_wrong_with_a_later_row_is_found_before_the_first(
    data: Path, tmp_path: Path
) -> None:
    wishes = Wishes(vgg19_weights=str(tmp_path / "none.pth"))
    with pytest.raises(HptlError, match=r"none\.pth"):
        compare(data, Plan(("otsu", "hptl"), 1, wishes), tmp_path / "out", "cpu", Recorder())
    assert not (tmp_path / "out").exists()


def test_a_frame_too_large_for_one_piece_is_said_before_training(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 96 x 96 px or so at 440 bytes: what a machine with 1 MB free would say.
    monkeypatch.setattr("hptl_train.prepare.free_memory", lambda device: 2**20)
    with pytest.raises(EnvironmentLacks) as raised:
        compare(
            data, Plan(("otsu", "deeplabv3plus"), 1, Wishes()), tmp_path / "out", "cpu", Recorder()
        )
    assert re.fullmatch(
        r"recipe deeplabv3plus sees a micrograph of \d+ x \d+ px in one piece, which takes about "
        r"\d+ MiB at input scale 1; 1 MiB are free on cpu\. Leave it out, or give a smaller "
        r"--input-scale or --width",
        str(raised.value),
    )
    assert not (tmp_path / "out").exists()


def test_a_source_tree_behind_a_link_is_found_again(data: Path, tmp_path: Path) -> None:
    tree = tmp_path / "ILSVRC"
    for kind in ("a", "b"):
        for number in range(2):
            (tree / kind).mkdir(parents=True, exist_ok=True)
            picture = np.full((40, 40, 3), 40 * number, np.uint8)
            Image.fromarray(picture).save(tree / kind / f"{number}.png")
    (tmp_path / "imagenet").symlink_to(tree, target_is_directory=True)
    wishes = replace(QUICK, source_data=str(tmp_path / "imagenet"))
    plan = Plan(("hptl",), 1, wishes)
    first = compare(data, plan, tmp_path / "out", "cpu", Recorder())
    again = compare(data, plan, tmp_path / "out", "cpu", Recorder())
    assert again.table.csv() == first.table.csv()


def test_what_cannot_be_compared_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        Plan(("otsu", "otsu"), 1, Wishes()).entries()
    assert str(raised.value) == "--rows: otsu is named more than once"
    with pytest.raises(UsageError) as raised:
        Plan(("otsu", "mine/otsu.toml"), 1, Wishes()).entries()
    assert str(raised.value) == "--rows: otsu is named more than once"
    untested = write_data_set(tmp_path / "untested")
    (untested / "dataset.toml").write_text("[split]\ntrain = 0.9\nval = 0.1\n", encoding="utf-8")
    with pytest.raises(DataSetError) as failed:
        compare(untested, Plan(("otsu",), 1, Wishes()), tmp_path / "out", "cpu", Recorder())
    assert str(failed.value) == f"data set {untested}: its test split is empty"
    assert not (tmp_path / "out").exists()
