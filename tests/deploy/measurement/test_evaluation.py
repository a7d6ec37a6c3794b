from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from hptl_deploy.cli.main import run
from hptl_deploy.engines import open_engine
from hptl_deploy.errors import DataSetError, HptlError, ResultsError
from hptl_deploy.left_out.given import LeaveOut
from hptl_deploy.measurement.evaluation import evaluate
from hptl_deploy.model import load_model
from hptl_deploy.segmentation import SegmentOptions, segment
from support.drawings import rectangles, save
from support.threshold_model import write_threshold_model

SPLIT = '[split]\ntrain = ["c"]\nval = ["b"]\ntest = ["a"]\n'
AREA = 100 * 200


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """a, b, c of 200 x 100: grey rectangles of 100, 200, 300 px, dark ones of 1000 px.

    The truth calls the grey ones class 1 as the threshold model does, but has twice as
    much of class 2, and one ignored row at the bottom.
    """
    root = tmp_path / "set"
    for number, stem in enumerate("abc", 1):
        save(root / "images" / f"{stem}.png", rectangles(
            100, 200, grey=(0, 10, 0, 10 * number), dark=(50, 60, 0, 100)))  # fmt: skip
        truth = np.zeros((100, 200), np.uint8)
        truth[0:10, 0 : 10 * number] = 1
        truth[50:60] = 2
        truth[99] = 255
        save(root / "labels" / f"{stem}.png", truth)
    (root / "dataset.toml").write_text('name = "drawn"\n' + SPLIT)
    return root


@pytest.fixture
def results(data: Path, tmp_path: Path) -> Path:
    """What `segment` makes of them."""
    path = write_threshold_model(tmp_path / "models")
    with open_engine(load_model(path), "cpu") as engine:
        return segment(SegmentOptions(data / "images", out=tmp_path / "out"), engine).out


def test_scores_in_closed_form(data: Path, results: Path) -> None:
    found = evaluate(results, data, "all")
    counted = AREA - 200
    right = 3 * counted - 3 * 1000  # half of every class 2 rectangle is missed
    assert found.pooled.pixels == 3 * counted
    assert found.pooled.accuracy == pytest.approx(right / (3 * counted))
    grey = 100 + 200 + 300
    matrix = 3 * counted - 3 * 2000 - grey
    assert found.pooled.matrix.tolist() == [[matrix, 0, 0], [0, grey, 0], [3000, 0, 3000]]
    assert found.pooled.iou == pytest.approx((matrix / (matrix + 3000), 1, 0.5))
    error = 1000 / counted
    assert found.mean_absolute_area_error == pytest.approx((error, 0, error))
    assert sorted(found.frames) == ["a", "b", "c"]
    assert (found.missing, found.failed) == ([], {})
    entry = found.to_json()["phases"][2]
    assert entry["area_fraction_error"] == pytest.approx(-error)
    assert entry["mean_absolute_area_error"] == pytest.approx(error)


@pytest.mark.parametrize(("split", "stem"), [(None, "a"), ("val", "b"), ("train", "c")])
def test_the_split_that_is_scored_is_said(
    data: Path, results: Path, capsys: pytest.CaptureFixture[str], split: str | None, stem: str
) -> None:
    assert list(evaluate(results, data, split).frames) == [stem]
    options = ["--split", split] if split else []
    assert run(["evaluate", str(results), str(data), *options]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"drawn, split {split or 'test'}: 1 micrographs, 19800 labelled pixels"
    assert said[1].startswith("accuracy 0.9495, mean IoU ")  # 1 - 1000 / 19800


def test_a_plain_folder_of_class_maps_gives_the_same(
    data: Path, results: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for stem, name in (("a", "a.png"), ("b", "b_classes.tif"), ("c", "c.bmp")):
        classes = tifffile.imread(results / f"{stem}_classes.tif")
        if name.endswith(".tif"):
            tifffile.imwrite(plain / name, classes)
        else:
            Image.fromarray(classes).save(plain / name)
    expected = evaluate(results, data, "all")
    assert evaluate(plain, data, "all").to_json() == expected.to_json()
    by_folder = evaluate(plain, data / "labels")
    assert by_folder.what == f"labels of {data / 'labels'}"
    assert np.array_equal(by_folder.pooled.matrix, expected.pooled.matrix)
    assert [phase.key for phase in by_folder.pooled.phases] == ["class_0", "class_1", "class_2"]
    named = evaluate(results, data / "labels").to_json()
    assert [entry["key"] for entry in named["phases"]] == ["al", "mg2si", "fe"]


def test_a_missing_and_a_wrong_class_map_are_named(
    data: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = tmp_path / "plain"
    save(plain / "b.png", np.zeros((100, 100), np.uint8))
    save(plain / "c.png", np.zeros((100, 200), np.uint8))
    reason = "the class map is 100 x 100 px, its label 200 x 100 px"
    for truth, options in ((data, ["--split", "all"]), (data / "labels", [])):
        assert run(["evaluate", str(plain), str(truth), "--json", *options]) == 1
        said, noted = capsys.readouterr()
        document = json.loads(said)
        assert (document["missing"], document["failed"]) == (["a"], {"b": reason})
        assert list(document["frames"]) == ["c"]
        assert f"a: has no class map in the results\nb: {reason}\n" in noted


def test_a_damaged_class_map_does_not_stop_the_others(data: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    save(plain / "a.png", np.zeros((100, 200), np.uint8))
    (plain / "b.png").write_bytes(b"no picture")
    for truth, split in ((data, "all"), (data / "labels", None)):
        found = evaluate(plain, truth, split)
        assert list(found.frames) == ["a"]
        assert found.failed["b"].startswith("b.png: the label file cannot be decoded (")


def sentence(call: tuple[Path, Path, str | None], kind: type[HptlError]) -> str:
    with pytest.raises(kind) as caught:
        evaluate(*call)
    return str(caught.value)


def test_other_phases_are_refused(data: Path, results: Path) -> None:
    phases = "".join(
        f'[[phases]]\nname = "{name}"\ncolour = [{index}, 0, 0]\n'
        for index, name in enumerate(("al", "fe", "mg2si"))
    )
    (data / "dataset.toml").write_text(phases + SPLIT)
    assert sentence((results, data, None), ResultsError) == (
        f"results {results} hold the phases al, mg2si, fe, {data} the phases al, fe, mg2si; "
        "they must be the same in the same order. Segment with a model that was trained on "
        "this data set's phases"
    )


def test_what_cannot_be_scored_at_all(data: Path, results: Path, tmp_path: Path) -> None:
    gone, empty = tmp_path / "gone", tmp_path / "empty"
    empty.mkdir()
    assert sentence((gone, data, None), ResultsError) == f"results {gone}: is not a folder"
    assert sentence((results, gone, None), DataSetError) == f"{gone}: is not a folder"
    assert sentence((empty, data, None), ResultsError) == (
        "drawn, split test: none of its 1 micrographs has a class map in the results "
        "(looked for a_classes.tif and the like). Segment them, or name with --split what was "
        "segmented"
    )
    assert sentence((results, empty, None), DataSetError) == (
        f"labels of {empty}: holds nothing to score"
    )
    assert sentence((results, data / "labels", "val"), DataSetError) == (
        f"--split val: {data / 'labels'} is a folder of labels, not a data set"
    )
    assert sentence((results, data, "best"), DataSetError) == (
        "split best: expected train, val, test or all"
    )


def test_left_out_pixels_are_not_scored_and_counted(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_threshold_model(tmp_path / "models")
    given = LeaveOut(crop_bottom=45)  # half of the class 2 rectangles, and the ignored row
    with open_engine(load_model(path), "cpu") as engine:
        options = SegmentOptions(data / "images", out=tmp_path / "out", leave_out=given)
        results = segment(options, engine).out
    found = evaluate(results, data, "all")
    assert found.left_out == 3 * 44 * 200
    assert found.pooled.pixels == 3 * 55 * 200
    assert found.to_json()["left_out_pixels"] == 3 * 44 * 200
    assert found.pooled.matrix[2].sum() == 3 * 5 * 200
    assert run(["evaluate", str(results), str(data), "--split", "all"]) == 0
    assert "not scored: 26400 labelled pixels that the class maps leave out" in (
        capsys.readouterr().out
    )


def test_maps_without_a_pixel_that_counts_are_no_score(data: Path, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    Image.fromarray(np.full((100, 200), 255, np.uint8)).save(maps / "a.png")
    said = sentence((maps, data, None), ResultsError)
    assert "drawn, split test: nothing can be scored" in said
    assert "(19800 labelled pixels are left out)" in said
