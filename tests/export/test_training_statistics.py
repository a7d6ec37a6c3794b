"""Training statistics at export, and for models of before there were any."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from hptl_deploy.datasets import DataSet, load_data_set
from hptl_deploy.errors import DataSetError
from hptl_deploy.lineage import LineageStep
from hptl_deploy.measurement.scores import Confusion
from hptl_deploy.model import Model, load_model
from hptl_deploy.quality.features import FEATURES
from hptl_deploy.quality.judging import figures_of
from hptl_export.add_statistics import add_statistics
from hptl_export.files import without_logits, write_model
from hptl_export.training_statistics import is_trained_on, training_statistics
from support.exported import Exported
from support.labelled import draw, write_data_set
from support.mosaic_runs import whole
from support.sinks import Recorder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty drawn frames, 16 of them for training."""
    root = write_data_set(tmp_path_factory.mktemp("data") / "drawn", 20, (128, 160))
    (root / "dataset.toml").write_text("pixel_size_um = 0.1\n", encoding="utf-8")
    return root


def trained_on(exported: Exported, data_set: DataSet, folder: Path) -> Model:
    """The network's file, whose card says that it learned from `data_set`."""
    step = LineageStep("a", "fcn8s", "random", 0, 1, f"{data_set.name} {data_set.sha256}", {})
    card = replace(exported.model.card, lineage=(step,))
    folder.mkdir(exist_ok=True)
    return write_model(without_logits(exported.shown), card, folder / "model.onnx")


def test_statistics_of_a_training_set(exported4: Exported, data: Path, tmp_path: Path) -> None:
    model = trained_on(exported4, load_data_set(data), tmp_path)
    notes = Recorder()
    found = training_statistics(model, data, 1e4, notes.note)
    assert found is not None
    assert notes.notes == ["looking at 16 training and 2 validation micrographs"]
    assert (found.frames, found.held_out) == (16, 2)
    assert found.features == FEATURES
    assert found.pixel_sizes_um == (0.1, 0.1)
    greys = []
    for sample in load_data_set(data).split("train"):
        greys.append(np.log(np.asarray(Image.open(sample.image), float).mean() + 1))
    assert found.centre[0] == pytest.approx(np.mean(greys), rel=1e-4)
    # Lit evenly, nowhere clipped: limits are those of the figures, and small.
    assert found.limits["illumination_range"] < 0.05
    with_it = replace(model.card, training_statistics=found)
    assert with_it.from_json(with_it.to_json(), "m.onnx") == with_it
    # A further frame of the kind stays within, an inverted one does not.
    from hptl_deploy.engines import open_engine

    pixels, _ = draw((128, 160), np.random.default_rng(99))
    with open_engine(model, "cpu") as engine:
        unlike = [
            figures_of(one, *whole(engine, one), found).unlike_training
            for one in (pixels, 255 - pixels)
        ]
    assert unlike[0] is not None
    assert unlike[1] is not None
    assert unlike[0] < 1.3
    assert unlike[1] > 1.5


def test_data_that_have_changed_or_gone(exported4: Exported, data: Path, tmp_path: Path) -> None:
    model = trained_on(exported4, load_data_set(data), tmp_path)
    other = shutil.copytree(data, tmp_path / "other")
    image = next((other / "images").iterdir())
    Image.fromarray(255 - np.asarray(Image.open(image))).save(image)
    assert not is_trained_on(model, load_data_set(other))
    notes = Recorder()
    assert training_statistics(model, other, 1e4, notes.note) is None
    assert training_statistics(model, tmp_path / "gone", 1e4, notes.note) is None
    assert notes.notes == [
        f"{other} has changed since the training: no training statistics in the card",
        f"no training statistics in the card: data set {tmp_path / 'gone'}: is not a folder",
    ]
    few = write_data_set(tmp_path / "few", 10)
    model = trained_on(exported4, load_data_set(few), tmp_path / "few-model")
    assert training_statistics(model, few, 1e4, notes.note) is None
    assert notes.notes[-1] == (
        "few has 8 training micrographs, too few for training statistics in the card (12 are "
        "needed)"
    )


def test_added_to_a_model_of_before(exported4: Exported, data: Path, tmp_path: Path) -> None:
    data_set = load_data_set(data)
    before = trained_on(exported4, data_set, tmp_path)
    written = add_statistics(before.path, data, Recorder().note)
    assert written == load_model(before.path)
    assert written.card.training_statistics is not None
    assert replace(written.card, training_statistics=None) == before.card
    assert written.sha256 != before.sha256
    graphs = [onnx.load(written.path).graph, without_logits(exported4.shown).graph]
    assert graphs[0].SerializeToString() == graphs[1].SerializeToString()
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_data_made_again_must_score_alike(exported4: Exported, data: Path, tmp_path: Path) -> None:
    """Other bytes, the same pixels: what another version of a library writes."""
    data_set = load_data_set(data)
    again = shutil.copytree(data, tmp_path / "again")
    for path in (again / "images").iterdir():
        Image.open(path).save(path, compress_level=1)
    model = trained_on(exported4, data_set, tmp_path / "models")
    assert not is_trained_on(model, load_data_set(again))
    with pytest.raises(DataSetError, match="does not say how it scores"):
        add_statistics(model.path, again, Recorder().note)
    from hptl_deploy.engines import open_engine

    scores, off = Confusion(data_set.phases), []
    with open_engine(model, "cpu") as engine:
        for sample in data_set.split("val"):
            pixels, labels = data_set.read(sample)
            classes = whole(engine, pixels)[0]
            scores.add(labels, classes)
            classes = classes[labels != 255]
            off.append(
                [
                    abs((classes == i).mean() - (labels[labels != 255] == i).mean())
                    for i in range(len(data_set.phases))
                ]
            )
    validation = json.loads(json.dumps(scores.to_json()))
    card = replace(model.card, validation=validation)
    model = write_model(without_logits(exported4.shown), card, model.path)
    card = add_statistics(model.path, again, Recorder().note).card
    assert card.training_statistics is not None
    assert card.validation["micrographs"] == len(off) > 1
    found = [phase.pop("mean_absolute_area_error") for phase in card.validation["phases"]]
    assert found == pytest.approx(np.mean(off, axis=0).tolist(), abs=1e-12)
    assert {**card.validation, "micrographs": None} == {**validation, "micrographs": None}
    held = load_model(model.path)
    for sample in load_data_set(again).split("val"):
        Image.fromarray(255 - np.asarray(Image.open(sample.image))).save(sample.image)
    with pytest.raises(DataSetError, match=r"is not what .* was trained on \(its validation"):
        add_statistics(model.path, again, Recorder().note)
    assert load_model(model.path) == held
