"""Whole chains through the command line: trained, and what a run says of itself."""

from __future__ import annotations

import base64
import hashlib
import json
from html.parser import HTMLParser
from pathlib import Path

import tomli_w
from PIL import Image
from safetensors.torch import load_file

from hptl_train.record import unfound_warnings
from support import vgg19_files
from support.chains import same_run, train, train_alone, write_recipe
from support.labelled import write_data_set
from support.tiny import recipe


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
    done = train_alone(tmp_path, data, "--recipe", unbroken / "recipe.toml", "--name", "again")
    assert done.returncode == 0, done.stderr
    assert same_run(unbroken, tmp_path / "again")


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
