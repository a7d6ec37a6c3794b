from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from hptl_deploy.cli.main import run
from hptl_deploy.model import load_model
from hptl_export.files import write_model
from support.drawings import folder_of, rectangles, save
from support.threshold_model import write_threshold_model


@pytest.fixture
def models(tmp_path: Path) -> Path:
    write_threshold_model(tmp_path / "models")
    return tmp_path / "models"


def segment(source: Path, models: Path, *options: str) -> int:
    return run(["segment", str(source), "--models", str(models), "--device", "cpu", *options])


def test_the_summary_says_what_ran_and_what_came_of_it(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = rectangles(100, 200, grey=(0, 10, 0, 200), dark=(50, 100, 0, 100))
    save(tmp_path / "in" / "a.png", pixels)
    assert segment(tmp_path / "in", models) == 0
    said, noted = capsys.readouterr()
    lines = said.splitlines()
    assert re.fullmatch(
        r"speed: \d+\.\d\d pages/s, \d+\.\d\d Mpx/s; "
        "(reading|the engine|writing) was the slowest stage",
        lines.pop(1),
    )
    assert lines == [
        "micrographs: 1 done",
        "area fraction in %, 1 field",
        "  phase                  mean  s  95 % CI +-  %RA  fields for 10 %RA"
        "  model's IoU    its bias  one field +-",
        "  aluminium matrix     65.000  -           -    -                  -"
        "   not stated  not stated    not stated",
        "  Mg2Si                10.000  -           -    -                  -"
        "   not stated  not stated    not stated",
        "  Fe-containing phase  25.000  -           -    -                  -"
        "   not stated  not stated    not stated",
        "  one field gives no interval; two or more do",
        "  the model's card states no errors; evaluate on labelled micrographs tells them",
        "particles and their equivalent diameters, by number",
        "  phase                particles  touching border  others under 10 px  D10  D50  D90"
        "  unit  needle-shaped %  of particles",
        "  Mg2Si                        1                1                   0    -    -    -"
        "    px                -             0",
        "  Fe-containing phase          1                1                   0    -    -    -"
        "    px                -             0",
        f"results: {tmp_path / 'in-segmented'}",
        f"report: {tmp_path / 'in-segmented' / 'report.html'}",
    ]
    assert "model threshold (" in noted
    assert "on onnxruntime-cpu, device cpu, fp32" in noted
    assert "memory: " in noted


def test_json_is_one_document(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder_of(tmp_path / "in", 2)
    (source / "bad.tif").write_bytes(b"II*\0")
    assert segment(source, models, "--json") == 1
    said, noted = capsys.readouterr()
    document = json.loads(said)
    assert document["counts"] == {
        "done": 2, "skipped": 0, "failed": 1, "remaining": 0, "ignored": 0,
    }  # fmt: skip
    assert document["exit_code"] == 1
    assert [failure["file"] for failure in document["failures"]] == ["bad.tif"]
    assert [result["classes_file"] for result in document["results"]] == [
        "m00_classes.tif", "m01_classes.tif",
    ]  # fmt: skip
    assert set(document["mean_area_fractions"]) == {"al", "mg2si", "fe"}
    means = {line["phase"]: line["mean"] for line in document["statistics"]["fields"]}
    assert means == document["mean_area_fractions"]
    (note,) = document["statistics"]["notes"]
    assert "specks of under 10 px (1 of 2 uncut particles)" in note
    assert "bad.tif: " in noted


def test_bad_files_are_one_line_each_and_exit_1(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder_of(tmp_path / "µm größe 日本", 2)
    (source / "empty.png").write_bytes(b"")
    (source / "lie.tif").write_bytes((source / "m00.png").read_bytes())
    (source / "text.jpg").write_text("no picture")
    assert segment(source, models) == 1
    said, noted = capsys.readouterr()
    failed = [line for line in noted.splitlines() if line.startswith(("empty", "lie", "text"))]
    assert [line.split(": ")[0] for line in failed] == ["empty.png", "lie.tif", "text.jpg"]
    assert "Traceback" not in noted
    assert "micrographs: 2 done, 3 failed" in said


def test_errors_are_sentences_with_their_exit_code(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder_of(tmp_path / "in", 1)
    cases = [
        (["--tile", "30"], 2, "--tile 30: expected a positive multiple of the model's stride, 8"),
        (["--overlay", "gif"], 2, "--overlay gif: expected jpg, png or none"),
        (["--rescale", "yes"], 2, "--rescale yes: expected auto or off"),
        (["--out", str(source)], 2, "is the folder of the micrographs themselves"),
        (["--split", "val"], 2, "images/ and labels/), so it has no splits"),
        (["--precision", "int8"], 2, "model threshold: has no int8 file"),
        (["--model", "gone"], 2, "model gone: found neither a file or folder of that name"),
        (["--pixel-size", "-1"], 2, "--pixel-size"),
        (["--device", "tpu"], 2, "--device tpu: expected auto, cpu, cuda or cuda:N"),
    ]
    for options, code, sentence in cases:
        assert segment(source, models, *options) == code
        noted = capsys.readouterr().err
        assert sentence in noted
        assert "Traceback" not in noted
    assert not (tmp_path / "in-segmented").exists()


def test_a_precision_has_its_own_file(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder_of(tmp_path / "in", 1)
    folder = models / "threshold"
    other = folder / "model.fp16.onnx"
    shutil.copy(folder / "model.onnx", other)
    assert segment(source, models, "--precision", "fp16") == 2
    assert capsys.readouterr().err == (
        f"hptl-deploy: {other}: holds fp32, expected fp16 under that name. Export the model again\n"
    )
    card = replace(load_model(folder / "model.onnx").card, precision="fp16",
                   derived_from=load_model(folder / "model.onnx").sha256)  # fmt: skip
    write_model(onnx.load(folder / "model.onnx"), card, other)
    assert segment(source, models, "--precision", "fp16") == 0
    assert str(other) in capsys.readouterr().err


def test_a_data_set_is_segmented_without_its_labels(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder_of(tmp_path / "set" / "images", 3)
    for number in range(3):
        save(tmp_path / "set" / "labels" / f"m{number:02d}.png", rectangles(
            64, 96, grey=(0, 1, 0, 1), dark=(2, 3, 0, 1)) // 100)  # fmt: skip
    phases = "".join(
        f'[[phases]]\nname = "{name}"\nvalue = {value}\ncolour = [{value}, 0, 0]\n'
        for value, name in enumerate(("a", "b", "c"))
    )
    split = '[split]\ntrain = ["m00"]\nval = ["m01"]\ntest = ["m02"]\n'
    head = 'name = "three"\nimages = "images"\nlabels = "labels"\n'
    (tmp_path / "set" / "dataset.toml").write_text(head + phases + split, encoding="utf-8")
    assert segment(tmp_path / "set", models, "--split", "val", "--json") == 0
    said, noted = capsys.readouterr()
    assert [result["file"] for result in json.loads(said)["results"]] == ["images/m01.png"]
    assert "is a data set: segmenting 1 of its images (split val), not its labels" in noted
    assert segment(tmp_path / "set", models) == 0
    assert "micrographs: 2 done, 1 skipped" in capsys.readouterr().out


def test_a_data_set_without_description_is_one_too(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """images/ and labels/ alone: labels are not micrographs, and the assumed split is known."""
    data = tmp_path / "alloy"
    folder_of(data / "images", 10)
    shutil.copytree(data / "images", data / "labels")
    assert segment(data, models, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["counts"]["done"] == 10
    assert all(result["file"].startswith("images/") for result in document["results"])
    assert segment(data, models, "--split", "test", "--out", str(tmp_path / "test"), "--json") == 0
    said, noted = capsys.readouterr()
    assert json.loads(said)["counts"]["done"] == 1
    assert "a seeded 80/10/10 split" in noted


def test_killed_before_its_first_record_a_run_starts_again(tmp_path: Path, models: Path) -> None:
    source = folder_of(tmp_path / "in", 1)
    out = tmp_path / "in-segmented"
    out.mkdir()
    (out / "ledger.jsonl").touch()  # the first file a run makes
    assert segment(source, models) == 0
    assert (out / "fields.csv").exists()


def test_an_unknown_precision_is_refused(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder_of(tmp_path / "in", 1)
    assert segment(source, models, "--precision", "a/b") == 2
    assert "--precision a/b: expected fp32, fp16 or int8" in capsys.readouterr().err


def test_further_formats_are_asked_for_by_words(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder_of(tmp_path / "in", 1)
    assert segment(source, models, "--also", "labels, qupath", "--also", "rois") == 0
    names = {path.name for path in (tmp_path / "in-segmented").glob("*_particles.*")}
    assert {"m00_particles.tif", "m00_particles.geojson", "m00_particles.zip"} <= names
    capsys.readouterr()
    assert segment(source, models, "--also", "labels,fiji") == 2
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith(
            "--also fiji: expected one or more of labels, qupath, rois, ome-zarr, ome-zarr-0.4"
        )
    )


def test_what_is_left_out_is_said(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "in" / "a.png", rectangles(100, 200, (0, 10, 0, 200), (0, 0, 0, 0)))
    save(tmp_path / "in" / "b.png", rectangles(20, 200, (0, 10, 0, 200), (0, 0, 0, 0)))
    mask = np.zeros((100, 200), np.uint8)
    mask[:5, :7] = 1
    save(tmp_path / "mask.png", mask)
    given = ["--ignore", "10,20,30,40", "--ignore", "0,0,200,10", "--crop-bottom", "10"]
    assert segment(tmp_path / "in", models, *given) == 0
    said, _ = capsys.readouterr()
    assert (
        "left out: something in 2 of 2 fields, hatched in the overlays; what and where says "
        "left_out in fields.csv\n"
    ) in said
    assert "1 field not counted, because all of it is left out" in said
    with (tmp_path / "in-segmented" / "fields.csv").open(newline="") as handle:
        first, second = csv.DictReader(handle)
    assert first["left_out_px"] == str(10 * 200 + 30 * 40 + 10 * 200)
    assert first["left_out"] == (
        "bottom 10 rows; region 30 x 40 px at (10, 20); region 200 x 10 px at (0, 0)"
    )
    assert second["al_area_fraction"] == ""
    masked = [*given, "--ignore-mask", str(tmp_path / "mask.png"), "--json"]
    assert segment(tmp_path / "in", models, *masked) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["failures"][0]["reason"] == (
        "is 200 x 20 px, but the mask mask.png (--ignore-mask) is 200 x 100 px; they must be the "
        "same"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--scale-bar", "off"], "--scale-bar off: expected auto or keep"),
        (["--crop-bottom", "-1"], "--crop-bottom -1: expected 0 rows or more"),
        (["--ignore", "1,2,3"], "--ignore 1,2,3: expected four whole numbers x,y,w,h in px"),
        (["--ignore-mask", "nowhere.png"], "--ignore-mask nowhere.png: is not a file"),
    ],
)
def test_what_cannot_be_left_out(
    tmp_path: Path,
    models: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    save(tmp_path / "in" / "a.png", rectangles(100, 200, (0, 10, 0, 200), (0, 0, 0, 0)))
    assert segment(tmp_path / "in", models, *options) == 2
    assert said in capsys.readouterr().err
