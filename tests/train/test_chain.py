"""Whole chains through the command line: trained, killed, resumed, refused."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
import tomli_w
import torch
from PIL import Image
from safetensors.torch import load_file

from hptl_train.recipe import Recipe, Wishes
from hptl_train.record import unfound_warnings
from support import vgg19_files
from support.labelled import write_data_set
from support.tiny import recipe


def write_recipe(path: Path, chain: Recipe) -> Path:
    path.write_text(tomli_w.dumps(chain.model_dump(mode="json", exclude_none=True)))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(tmp_path_factory.mktemp("data") / "drawn")


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A checkpoint behind every iteration, so that a kill falls between any two of them.
    chain = recipe(iterations=12, checkpoints={"seconds": 0})
    return write_recipe(tmp_path_factory.mktemp("recipe") / "tiny.toml", chain)


def command(runs: Path, *words: object) -> list[str]:
    base = [sys.executable, "-m", "hptl_deploy.cli.main", "train", "--runs", str(runs)]
    return [*base, "--device", "cpu", *map(str, words)]


def train(runs: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(runs, *words), capture_output=True, text=True, encoding="utf-8", check=False
    )


@pytest.fixture(scope="module")
def unbroken(data: Path, recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("unbroken")
    done = train(runs, data, "--recipe", recipe_file, "--name", "run", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["state"] == "finished"
    assert "assuming the paper's phases" in done.stderr
    assert "source domain of step vgg19: photographs" in done.stderr
    return runs / "run"


def test_a_finished_run_explains_itself(unbroken: Path) -> None:
    record = json.loads((unbroken / "run.json").read_text(encoding="utf-8"))
    steps = record["steps"]
    assert [step["network"] for step in steps] == ["vgg19", "fcn32s", "fcn16s", "fcn8s"]
    assert [step["transferred"] > 0 for step in steps] == [False, True, True, True]
    assert record["data"]["samples"] == {"train": 8, "val": 1, "test": 1}
    assert steps[-1]["validation"]["pixels"] == 96 * 128
    assert (unbroken / "curves.png").read_bytes().startswith(b"\x89PNG")
    lines = [json.loads(line) for line in (unbroken / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines if line["step"] == "fcn8s"] == [8, 10, 12, 12]
    report = json.loads((unbroken / "2-fcn32s" / "transfer.json").read_text())
    assert report["group"] == "omega_t1"
    assert not list(unbroken.rglob("checkpoint*"))  # only final weights are left


class Cells(HTMLParser):
    """The texts of a page's table cells, row by row; and where anything would be fetched from."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.sources: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.rows[-1][-1] += data.strip()


def test_the_report_says_what_the_run_says(unbroken: Path) -> None:
    record = json.loads((unbroken / "run.json").read_text(encoding="utf-8"))
    page = (unbroken / "report.html").read_text(encoding="utf-8")
    cells = Cells()
    cells.feed(page)
    rows = {row[0]: row for row in cells.rows}
    for step in record["steps"][1:]:
        row = rows[step["name"]]
        assert row[1] == f"{step['start']}, {step['transfer']}"
        assert row[2:5] == [f"{step['transferred']:,}", "12", "12"]
        assert row[7] == f"{step['validation']['accuracy']:.4f}"
    assert "of 19 training pictures" in rows["vgg19"][7]
    last = record["steps"][-1]["validation"]["phases"]
    assert rows["Mg2Si"][2] == f"{100 * last[1]['area_fraction_true']:.2f} %"
    assert record["data"]["sha256"] in page
    assert record["versions"]["torch"] in page
    (picture,) = cells.sources  # nothing is fetched: the curves are inside
    assert picture.startswith("data:image/png;base64,")
    drawn = base64.b64decode(picture.partition(",")[2])
    assert drawn == (unbroken / "curves.png").read_bytes()


def test_the_chain_really_transfers(unbroken: Path) -> None:
    """Step 4 starts from step 3's weights: after 12 small steps they are still close."""
    third, fourth = (
        load_file(unbroken / name / "weights.safetensors") for name in ("3-fcn16s", "4-fcn8s")
    )
    for name in ("conv1_1.weight", "fc6.weight", "upscore2.weight"):
        moved = (fourth[name] - third[name]).abs().max()
        assert 0 < moved <= 12 * 1.1e-4  # Adam moves a weight by about its rate an iteration
    assert fourth["score_pool4.weight"].abs().max() <= 12 * 1.1e-4  # new, from zero


def test_the_recipe_as_run_runs_again(unbroken: Path, data: Path, tmp_path: Path) -> None:
    done = train(tmp_path, data, "--recipe", unbroken / "recipe.toml", "--name", "again")
    assert done.returncode == 0, done.stderr
    assert same_run(unbroken, tmp_path / "again")


def same_run(one: Path, other: Path) -> bool:
    """Whether losses and final weights are the same, bit by bit."""
    names = ("metrics.jsonl", "4-fcn8s/weights.safetensors", "1-vgg19/weights.safetensors")
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_killed_at_random_moments_it_ends_with_the_same_numbers(
    unbroken: Path, data: Path, recipe_file: Path, tmp_path: Path
) -> None:
    rng = random.Random(7)
    arguments: tuple[object, ...] = (data, "--recipe", recipe_file, "--name", "run")
    kills = 0
    for _ in range(4):
        process = subprocess.Popen(
            command(tmp_path, *arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        metrics = tmp_path / "run" / "metrics.jsonl"
        before = metrics.stat().st_size if metrics.exists() else 0
        # Let it get somewhere first, or the test would only ever kill imports.
        while process.poll() is None and (not metrics.exists() or metrics.stat().st_size <= before):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        kills += process.wait() != 0
        if (tmp_path / "run" / "run.json").exists():
            arguments = ("--resume", "--name", "run")
    assert kills >= 3
    done = train(tmp_path, "--resume")
    assert done.returncode == 0, done.stderr
    assert same_run(unbroken, tmp_path / "run")


def test_killed_and_resumed_it_keeps_the_same_best_weights(data: Path, tmp_path: Path) -> None:
    chain = recipe(
        iterations=16, checkpoints={"seconds": 0}, validation={"every": 2, "keep": "best"}
    )
    wishes = Wishes(source_data="none", seed=2)
    table = wishes.chain(chain).model_dump(mode="json", exclude_none=True)
    del table["steps"][1:]
    # It soon finds the matrix alone: after 8 iterations, and never better again.
    table["steps"][0]["optimiser"]["learning_rate"] = 0.003
    path = tmp_path / "best.toml"
    path.write_text(tomli_w.dumps(table))
    arguments: tuple[object, ...] = (data, "--recipe", path, "--name", "run")
    done = train(tmp_path / "unbroken", *arguments)
    assert done.returncode == 0, done.stderr
    unbroken, broken = tmp_path / "unbroken" / "run", tmp_path / "broken" / "run"
    for lines in (2, 5):
        process = subprocess.Popen(
            command(tmp_path / "broken", *arguments),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        metrics = broken / "metrics.jsonl"
        while not metrics.exists() or metrics.read_bytes().count(b"\n") < lines:
            assert process.poll() is None
            time.sleep(0.002)
        process.kill()
        process.wait()
        arguments = ("--resume", "--name", "run")
    done = train(tmp_path / "broken", "--resume")
    assert done.returncode == 0, done.stderr
    (step,), (again,) = (
        json.loads((run / "run.json").read_text(encoding="utf-8"))["steps"]
        for run in (unbroken, broken)
    )
    assert step["kept_iteration"] == again["kept_iteration"] < 16
    assert step["validation"] == again["validation"]
    names = ("last.safetensors", "weights.safetensors")
    for run in (unbroken, broken):
        assert tuple(sorted(f.name for f in (run / "1-fcn32s").iterdir())) == names
    kept, last = (load_file(broken / "1-fcn32s" / name) for name in reversed(names))
    assert not torch.equal(kept["fc6.weight"], last["fc6.weight"])
    for name in names:
        assert (unbroken / "1-fcn32s" / name).read_bytes() == (
            broken / "1-fcn32s" / name
        ).read_bytes()


def test_killed_between_the_end_of_a_step_and_its_pictures_nothing_is_missing(
    unbroken: Path, data: Path, tmp_path: Path
) -> None:
    """As a kill behind the last step's entry in run.json leaves it."""
    shutil.copytree(unbroken, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    record["state"] = "running"
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    (tmp_path / "run" / "curves.png").unlink()
    (tmp_path / "run" / "4-fcn8s" / "checkpoint-0000011.safetensors").write_bytes(b"old")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "run.json").write_text('{"schema": 1}')
    done = train(tmp_path, "--resume")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "curves.png").exists()
    assert not list((tmp_path / "run").rglob("checkpoint*"))
    assert same_run(unbroken, tmp_path / "run")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to whole consoles")
def test_ctrl_c_saves_the_work_and_says_how_to_go_on(
    unbroken: Path, data: Path, recipe_file: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        command(tmp_path, data, "--recipe", recipe_file, "--name", "run"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list((tmp_path / "run").glob("*/checkpoint.json")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, screen = process.communicate()
    assert process.returncode == 130, screen
    assert "the work done is saved. Go on with: hptl-deploy train --resume" in screen
    assert "Traceback" not in screen
    assert train(tmp_path, "--resume").returncode == 0
    assert same_run(unbroken, tmp_path / "run")


def test_changed_data_cannot_be_resumed_on(recipe_file: Path, tmp_path: Path) -> None:
    folder = write_data_set(tmp_path / "drawn", count=5)
    source = tmp_path / "source"
    for name in ("a", "b"):
        (source / name).mkdir(parents=True)
        shutil.copy(folder / "images" / "frame00.png", source / name)
    process = subprocess.Popen(
        command(
            tmp_path / "runs", folder, "--recipe", recipe_file, "--name", "run",
            "--source-data", source,
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not (tmp_path / "runs" / "run" / "metrics.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    shutil.copy(folder / "images" / "frame01.png", source / "b")
    grown = train(tmp_path / "runs", "--resume")
    assert grown.returncode == 2
    assert f"source domain {source}: has changed since the run was started" in grown.stderr
    (source / "b" / "frame01.png").unlink()
    moved = folder.rename(tmp_path / "moved")
    gone = train(tmp_path / "runs", "--resume")
    assert gone.returncode == 2
    assert "Name its new place: hptl-deploy train NEWPLACE --resume" in gone.stderr
    folder = moved
    label = folder / "labels" / "frame00.png"
    label.write_bytes((folder / "labels" / "frame01.png").read_bytes())
    done = train(tmp_path / "runs", folder, "--resume")
    assert done.returncode == 2
    assert f"data set {folder}: has changed since the run was started on it" in done.stderr
    options = train(tmp_path / "runs", "--resume", "--width", "0.5", "--recipe", "hptl")
    assert options.returncode == 2
    assert "--recipe, --width cannot change it" in options.stderr


def test_a_network_that_finds_nothing_is_said() -> None:
    assert unfound_warnings({"steps": [{"validation": None}]}) == []
    phases = [
        {"key": "a", "area_fraction_true": 0.1, "area_fraction_predicted": 0.0},
        {"key": "b", "area_fraction_true": 0.0, "area_fraction_predicted": 0.0},
        {"key": "c", "area_fraction_true": 0.2, "area_fraction_predicted": 0.1},
    ]
    assert unfound_warnings({"steps": [{"validation": {"phases": phases}}]}) == [
        "the final network finds no a in the validation micrographs, which show it; train longer "
        "before trusting its numbers"
    ]


def test_what_cannot_be_trained_is_one_sentence(tmp_path: Path, data: Path) -> None:
    nothing = train(tmp_path, tmp_path / "nowhere")
    assert nothing.returncode == 2
    assert nothing.stderr == f"hptl-deploy: data set {tmp_path / 'nowhere'}: is not a folder\n"
    resumed = train(tmp_path, "--resume")
    assert resumed.returncode == 2
    assert f"found no unfinished run to resume in {tmp_path}" in resumed.stderr
    typo = train(tmp_path, data, "--source-data", tmp_path / "nosuch")
    assert typo.returncode == 2
    assert typo.stderr == f"hptl-deploy: source domain {tmp_path / 'nosuch'}: is not a folder\n"
    assert not list(tmp_path.iterdir())  # nothing that a later --resume could stumble over
    card = train(tmp_path, data, "--device", "cuda:99")
    assert card.returncode == 3
    assert "--device cuda:99: torch" in card.stderr


def test_published_weights_start_the_chain_and_stay_with_the_run(
    tmp_path: Path, data: Path
) -> None:
    sizes = vgg19_files.SIZES
    file = vgg19_files.saved(tmp_path / "vgg19.safetensors", vgg19_files.omega_t1())
    table = recipe(iterations=1).model_dump(mode="json", exclude_none=True)
    table["network"] |= {"channels": list(sizes.channels), "fc": sizes.fc}
    path = tmp_path / "tiny.toml"
    path.write_text(tomli_w.dumps(table))
    words = (data, "--recipe", path, "--vgg19-weights", file, "--name", "run")
    done = train(tmp_path / "runs", *words)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "run"
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert [step["start"] for step in record["steps"]] == ["vgg19.safetensors", "fcn32s", "fcn16s"]
    assert record["sources"]["fcn32s"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    # One iteration of Adam moves a weight by about its rate: the features are the file's.
    trained = load_file(run / "1-fcn32s" / "weights.safetensors")["conv2_1.weight"]
    published = load_file(file)["features.5.weight"]
    assert 0 < (trained - published).abs().max() <= 1.1e-4
    # The run keeps what it took: it is resumed without the file.
    file.unlink()
    record |= {"state": "running", "steps": []}
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    again = train(tmp_path / "runs", "--resume", "--name", "run")
    assert again.returncode == 0, again.stderr
    same = load_file(run / "1-fcn32s" / "weights.safetensors")["conv2_1.weight"]
    assert bool((same == trained).all())


def test_validation_frames_without_a_label_have_no_scores(tmp_path: Path) -> None:
    data = write_data_set(tmp_path / "drawn", count=3)
    names = ["matrix", "disks", "bars"]
    phases = [
        f'[[phases]]\nname = "{name}"\nvalue = {value}\ncolour = [{99 * value}, 0, 0]\n'
        for value, name in enumerate(names)
    ]
    split = '[split]\ntrain = ["frame00", "frame01"]\nval = ["frame02"]\ntest = []\n'
    (data / "dataset.toml").write_text("".join(phases) + split, encoding="utf-8")
    Image.new("L", (128, 96), 255).save(data / "labels" / "frame02.png")
    chain = recipe(iterations=4, validation={"every": 2, "keep": "best"})
    words = ("--recipe", write_recipe(tmp_path / "tiny.toml", chain), "--source-data", "none")
    done = train(tmp_path / "runs", data, *words, "--name", "run")
    assert done.returncode == 0, done.stderr
    assert "validation loss -, accuracy -, mean IoU -" in done.stderr
    for step in ("fcn32s", "fcn16s", "fcn8s"):
        assert done.stderr.count(f"step {step}: there is no labelled validation frame") == 1
    run = tmp_path / "runs" / "run"
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert record["steps"][0]["validation"]["loss"] is None
    assert list(record["steps"][0]["losses"]) == ["train"]
    cells = Cells()
    cells.feed((run / "report.html").read_text(encoding="utf-8"))
    assert next(row for row in cells.rows if row[0] == "fcn8s")[6:9] == ["-", "-", "-"]
    assert (run / "curves.png").exists()


@pytest.mark.parametrize(("table", "key"), [("network", "fc"), ("crops", "size")])
def test_a_lack_of_memory_is_one_sentence(tmp_path: Path, data: Path, table: str, key: str) -> None:
    """Where the network is built, and where its memory is tried: more than can be addressed."""
    document = recipe().model_dump(mode="json", exclude_none=True)
    document[table][key] = 1 << (40 if key == "fc" else 28)
    path = tmp_path / "huge.toml"
    path.write_text(tomli_w.dumps(document))
    done = train(tmp_path / "runs", data, "--recipe", path, "--source-data", "none")
    assert done.returncode == 3, done.stderr
    assert done.stderr.endswith(
        "step fcn32s: the device has too little memory for batches of 2. Start a new run with a "
        "smaller --batch or --width\n"
    )


def test_a_loss_that_explodes_is_said(tmp_path: Path, data: Path) -> None:
    chain = (
        Wishes(source_data="none")
        .chain(recipe(iterations=20))
        .model_dump(mode="json", exclude_none=True)
    )
    chain["steps"][0]["optimiser"]["learning_rate"] = 1e12
    path = tmp_path / "hot.toml"
    path.write_text(tomli_w.dumps(chain))
    done = train(tmp_path, data, "--recipe", path)
    assert done.returncode == 2
    assert "step fcn32s: the loss is no number any more after iteration" in done.stderr
    assert "no source domain: step fcn32s starts from random weights" in done.stderr
