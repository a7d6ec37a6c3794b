from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from hptl_deploy.bundled import BUNDLED
from hptl_deploy.cli.main import run
from support.drawings import blobs, save
from support.threshold_model import write_threshold_model

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small micrograph in a folder of its own; the current folder is another one."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return save(tmp_path / "in" / "alloy 7.png", blobs(40, 56, seed=2))


def features(image: Path, *options: str, model: str = BUNDLED) -> int:
    return run(["features", model, str(image), *options])


def test_the_figure_of_the_bundled_model(image: Path, capsys: Capture) -> None:
    content = image.read_bytes()
    assert features(image) == 0
    said, noted = capsys.readouterr()
    lines = said.splitlines()
    assert lines[0] == "columns 0 to 55, rows 0 to 39"
    assert lines[1].split("  ")[1] == "layer"
    names = ["conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4"]
    cells = [line.split() for line in lines[2:7]]
    assert [cell[:3] for cell in cells] == [
        [name, channels, pitch]
        for name, channels, pitch in zip(
            names, ["8", "24", "64", "64", "64"], ["0.5", "1", "2", "4", "8"], strict=True
        )
    ]
    assert lines[-1] == "look at: alloy 7_features.png"
    for line in lines[7:-1]:
        assert re.fullmatch(
            r"conv\d_\d: (1 of \d+ maps answers|\d+ of \d+ maps answer) nowhere in this part", line
        )
    assert re.search(r"^model aluminium-demo \([0-9a-f]{12}, .*model\.onnx\)$", noted, re.MULTILINE)
    assert "model aluminium-demo learned from synthetic micrographs alone" in noted
    assert [path.name for path in Path().iterdir()] == ["alloy 7_features.png"]
    assert list(image.parent.iterdir()) == [image]
    assert image.read_bytes() == content
    with Image.open("alloy 7_features.png") as figure:
        assert figure.format == "PNG"
        assert figure.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        drawn = np.asarray(figure)
    # Five rows that differ, by their first maps, beside the channel's number.
    x = drawn.shape[1] - 24 - 8 * 264 + 8
    strip = drawn[:, x + 200 : x + 256]
    runs, _ = ndimage.label(~(strip == 255).all(axis=(1, 2)))
    bands = [strip[run] for (run,) in ndimage.find_objects(runs) if run.stop - run.start > 100]
    assert [len(band) for band in bands] == 5 * [183]  # 256 x 40 / 56
    assert len({band.tobytes() for band in bands}) == 5


def test_the_document(image: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "figure.png"
    options = ["--out", str(out), "--layers", "conv3_1, conv1_1", "--maps", "3", "--json"]
    assert features(image, *options) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["file"] == str(out)
    assert document["micrograph"] == str(image)
    assert document["model"]["name"] == BUNDLED
    assert document["part"] == {"x": 0, "y": 0, "width": 56, "height": 40}
    assert [layer["layer"] for layer in document["layers"]] == ["conv3_1", "conv1_1"]
    for layer, channels, pitch in zip(document["layers"], (64, 8), (2, 0.5), strict=True):
        assert layer["channels"] == channels
        assert layer["pixels_per_map_pixel"] == pitch
        assert len(set(layer["shown"])) == 3
        assert not set(layer["shown"]) & set(layer["dead"])
        assert max(layer["shown"] + layer["dead"]) < channels
        assert layer["mean"] > 0
        assert layer["standard_deviation"] > 0
    with Image.open(out) as figure:
        figure.load()
        assert 4 * 256 < figure.width < 5 * 256 + 400


def test_it_says_the_same_again(image: Path, capsys: Capture) -> None:
    documents, files = [], []
    for _ in range(2):
        assert features(image, "--json", "--layers", "conv2_2") == 0
        documents.append(capsys.readouterr().out)
        files.append(Path("alloy 7_features.png").read_bytes())
    assert documents[0] == documents[1]
    assert files[0] == files[1]


def test_the_part_round_a_place(tmp_path: Path, image: Path, capsys: Capture) -> None:
    wide = save(tmp_path / "wide.png", blobs(24, 1200, seed=2))
    assert features(wide, "--at", "900, 3", "--layers", "conv1_1", "--maps", "1", "--json") == 0
    part = json.loads(capsys.readouterr().out)["part"]
    assert part == {"x": 640, "y": 0, "width": 512, "height": 24}  # 900 - 256, on the grid of 16


def test_the_first_page_and_what_it_is_called(tmp_path: Path, image: Path, capsys: Capture) -> None:
    pages = tmp_path / "stack µ.tif"
    tifffile.imwrite(pages, np.stack([blobs(20, 24, seed) for seed in (1, 2)]))
    assert features(pages, "--layers", "conv1_2") == 0
    said, noted = capsys.readouterr()
    assert f"{pages}: the first of 2 pages is shown" in noted.splitlines()
    assert said.splitlines()[-1] == "look at: stack µ_features.png"
    assert Path("stack µ_features.png").is_file()


SENTENCES = {
    ("--layers", "conv1_2,conv7"): "--layers: the model has no layer 'conv7'. It has conv1_1, "
    "conv1_2, conv2_1, conv2_2, conv3_1, conv3_2, conv3_3, conv3_4, conv4_1, conv4_2, conv4_3, "
    "conv4_4, conv5_1, conv5_2, conv5_3, conv5_4",
    ("--at", "56,3"): "--at 56,3: lies outside the micrograph of 56 x 40 px; expected X from 0 to "
    "55 and Y from 0 to 39",
    ("--at", "middle"): "--at middle: expected X,Y in px, such as 640,480",
    ("--maps", "0"): "--maps 0: expected 1 to 32 maps per layer",
    ("--maps", "33"): "--maps 33: expected 1 to 32 maps per layer",
    ("--out", "gone/x.png"): "--out gone/x.png: there is no folder gone",
    ("--out", "x.jpg"): "--out x.jpg: expected a name that ends in .png",
}


@pytest.mark.parametrize("options", SENTENCES)
def test_what_cannot_be_meant(image: Path, options: tuple[str, str], capsys: Capture) -> None:
    assert features(image, *options) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"hptl-deploy: {SENTENCES[options]}".replace("gone/x", str(Path("gone/x")))
    assert list(Path().iterdir()) == []


def test_the_micrograph_stays_as_it_is(image: Path, capsys: Capture) -> None:
    content = image.read_bytes()
    other_way = image.parent / ".." / "in" / image.name
    assert features(image, "--out", str(other_way)) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"hptl-deploy: --out {other_way}: is the micrograph itself, which must stay as it is. "
        "Choose another name"
    )
    assert image.read_bytes() == content
    folder = image.parent / "x.png"
    folder.mkdir()
    assert features(image, "--out", str(folder)) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"hptl-deploy: --out {folder}: is a folder; expected the name of a file"
    )


def test_what_is_no_micrograph(tmp_path: Path, image: Path, capsys: Capture) -> None:
    assert features(tmp_path / "gone.tif") == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"hptl-deploy: {tmp_path / 'gone.tif'}: does not exist (any more)"
    )
    text = tmp_path / "notes.txt"
    text.write_text("no picture")
    assert features(text, "--json") == 2
    said = json.loads(capsys.readouterr().out)["error"]
    assert said.startswith(f"{text}: ends in .txt, which is no micrograph format known here. ")
    assert list(Path().iterdir()) == []


def test_a_model_that_is_none_of_this_program(tmp_path: Path, image: Path, capsys: Capture) -> None:
    path = write_threshold_model(tmp_path / "models", name="mine")
    assert features(image, "--models", str(tmp_path / "models"), model="mine") == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"hptl-deploy: {path}: holds no convolution that is called conv1_1 ... conv5_4 and "
        "followed by a Relu; expected an FCN that `hptl-deploy export` wrote"
    )
    assert features(image, "--models", str(tmp_path / "models"), model="yours") == 2
    assert capsys.readouterr().err.startswith("hptl-deploy: model yours: found neither a file")
