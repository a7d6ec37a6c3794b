"""From a run to a published model, and what is not published."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch
from safetensors.torch import load_file, save_file

from hptl_deploy.cli.main import run as run_command
from hptl_deploy.engines import open_engine
from hptl_deploy.errors import RunError, VerificationError
from hptl_deploy.model import load_model
from hptl_deploy.models_folder import find_model
from hptl_export.effort import operations_per_pixel
from hptl_export.frames import Frames, verification_frames
from hptl_export.half import beyond_half, layers_beyond_half
from hptl_export.memory import bytes_per_pixel, held_after
from hptl_export.precisions import Reference
from hptl_export.publish import publish, trained
from hptl_export.verify import verify
from hptl_train.recipe import Wishes, load_chain, recipes_folder
from hptl_train.run_folder import FINISHED, RunFolder, find_run
from support.exported import Exported
from support.sinks import Recorder
from support.tiny import segmenter


def copy_of(run: RunFolder, folder: Path) -> RunFolder:
    shutil.copytree(run.path, folder / "copy")
    return RunFolder(folder / "copy")


def test_the_newest_finished_run_becomes_a_model_that_explains_itself(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = str(run.path.parent)
    code = run_command(["export", "--runs", runs, "--models", str(tmp_path), "--json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    path = tmp_path / "drawn" / "model.onnx"
    document = json.loads(printed.out)
    assert document["model"] == str(path)
    assert document["checks"]["compared on"] == "crops of 1 validation micrographs of drawn"
    assert find_model(None, tmp_path) == path
    card = load_model(path).card
    assert (card.name, card.network, card.input_scale, card.stride, card.halo) == (
        "drawn", "fcn8s", 4, 8, 72,
    )  # fmt: skip
    assert [phase.key for phase in card.phases] == ["al", "mg2si", "fe"]
    assert [step.start for step in card.lineage] == ["random", "fcn32s", "fcn16s"]
    assert card.synthetic
    assert card.validation["pixels"] == 96 * 128
    assert card.checks["reach (derived and measured)"] == "68 px"
    # conv1_1's and conv1_2's outputs live together: 2 x 4 channels x 4 bytes x 16 (scale 4).
    assert 512 <= card.bytes_per_pixel < 5000
    assert not list(tmp_path.rglob("*part"))
    # Exported again, the file and so its hash, which results name, stay as they are.
    assert run_command(["export", "--runs", runs, "--models", str(tmp_path), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == document
    assert "is this very model, verified when it was exported" in printed.err


def test_what_verification_saw_is_handed_on(run: RunFolder, tmp_path: Path) -> None:
    published = publish(run, "mine", tmp_path, Recorder().note)
    model, reference = published.model, published.reference
    assert model == load_model(tmp_path / "mine" / "model.onnx")
    assert reference is not None
    assert reference.model == model
    # The same as a look of its own at the published file and at the network would give.
    anew = Reference.of(model, reference.frames)
    for handed, own in zip(reference.logits, anew.logits, strict=True):
        np.testing.assert_allclose(handed, own, atol=1e-5 * float(np.abs(own).max()))
    assert reference.magnitudes is not None
    pictures = reference.frames.pictures
    assert beyond_half(reference.magnitudes, 0) == layers_beyond_half(
        published.segmenter, pictures, 0
    )
    # The probe says what the file says.
    probe = model.card.probe
    assert probe is not None
    with open_engine(model, "cpu") as engine:
        assert probe.differing(engine.infer(probe.frame[None]).classes[0]) == 0
    # Verified by an earlier export: nothing was looked at.
    again = publish(run, "mine", tmp_path, Recorder().note)
    assert again.reference is None
    assert again.model == model


def test_a_run_of_before_synthetic_data_were_told_apart(run: RunFolder, tmp_path: Path) -> None:
    old = copy_of(run, tmp_path)
    record = old.read()
    assert record["data"].pop("synthetic") is True
    old.write(record)
    assert not trained(old, "x")[1].synthetic


@pytest.mark.slow
def test_the_memory_of_another_size_is_predicted(exported4: Exported) -> None:
    card = exported4.model.card
    work = operations_per_pixel(exported4.shown, card.stride)
    per_pixel = bytes_per_pixel(exported4.model, work)
    small, large = 768 // card.stride * card.stride, 1920 // card.stride * card.stride
    # In a process for each, which has held nothing else before.
    (after_large,), (after_small,) = (held_after(exported4.model, [n]) for n in (large, small))
    grown = after_large - after_small
    assert grown == pytest.approx(per_pixel * (large**2 - small**2), rel=0.2)


def test_weights_that_overflow_are_not_published(run: RunFolder, tmp_path: Path) -> None:
    broken = copy_of(run, tmp_path)
    weights = broken.weights(2, "fcn8s")
    tensors = load_file(weights)
    tensors["conv5_4.weight"] *= 1e38
    tensors["fc6.weight"] *= 1e38
    save_file(tensors, weights)
    with pytest.raises(VerificationError) as raised:
        publish(broken, "mine", tmp_path / "models", Recorder().note)
    assert "the exported graph's logits differ from torch's by nan of the largest" in str(
        raised.value
    )
    assert str(raised.value).endswith("Nothing was published")
    assert not (tmp_path / "models").exists()


def test_a_file_of_another_network_is_found_out(exported4: Exported) -> None:
    scale, stride = exported4.model.card.input_scale, exported4.model.card.stride
    other = segmenter(input_scale=scale, seed=99)
    frame = np.random.default_rng(0).integers(0, 256, (8 * stride, 8 * stride, 3), np.uint8)
    with pytest.raises(
        VerificationError,
        match=r"on noise, the exported graph's logits differ from torch's by [\d.]+ of the largest",
    ):
        verify(other, exported4.model, exported4.shown, Frames([frame], None, "noise"), 1e5)


def test_a_wrong_halo_is_found_out(exported4: Exported) -> None:
    from dataclasses import replace

    card = exported4.model.card
    wrong = replace(exported4.model, card=replace(card, halo=card.halo - card.stride))
    frame = np.zeros((4 * card.stride, 4 * card.stride, 3), np.uint8)
    with pytest.raises(VerificationError, match="cannot be trusted: fcn8s at input scale"):
        verify(exported4.segmenter, wrong, exported4.shown, Frames([frame], None, "nothing"), 1e5)


def test_without_its_data_set_photographs_are_compared(run: RunFolder, tmp_path: Path) -> None:
    moved = copy_of(run, tmp_path)
    record = moved.read()
    record["data"]["path"] = str(tmp_path / "gone")
    moved.write(record)
    frames = verification_frames(moved, 8, 4.7e6)  # 4 x 193 x 193 px are a look
    place = tmp_path / "gone"
    assert frames.what == f"crops of 4 photographs (the run's data set is not at {place})"
    assert [frame.shape for frame in frames.pictures] == [(192, 192, 3)] * 4
    assert frames.truths is None
    kept = verification_frames(run, 8, 4.7e6)
    assert kept.what == "crops of 1 validation micrographs of drawn"
    assert [frame.shape for frame in kept.pictures] == [(96, 128, 3)]
    assert kept.truths is not None
    assert [truth.shape for truth in kept.truths] == [(96, 128)]


def test_weights_of_another_size_are_refused(run: RunFolder, tmp_path: Path) -> None:
    broken = copy_of(run, tmp_path)
    weights = broken.weights(2, "fcn8s")
    tensors = load_file(weights)
    tensors["fc7.weight"] = torch.zeros(1)
    save_file(tensors, weights)
    with pytest.raises(RunError, match="its weights are of another network than the recipe's"):
        publish(broken, "mine", tmp_path / "models", Recorder().note)


def test_what_cannot_be_exported_is_one_sentence(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["export", "--runs", str(tmp_path)]) == 2
    assert f"found no finished run to export in {tmp_path}" in capsys.readouterr().err
    assert run_command(["export", str(run.path), "--name", "a/b", "--models", str(tmp_path)]) == 2
    assert "--name a/b: expected a plain name" in capsys.readouterr().err
    assert run_command(["export", "--calibrate", str(tmp_path)]) == 2
    assert "--calibrate: only --int8 has ranges to calibrate. Add --int8" in capsys.readouterr().err
    assert run_command(["export", "--int8", "--int8-for", "gpu"]) == 2
    assert "--int8-for gpu: expected cpu or tensorrt" in capsys.readouterr().err
    unfinished = copy_of(run, tmp_path)
    unfinished.write({**unfinished.read(), "state": "running"})
    with pytest.raises(
        RunError, match=r"is not finished\. Continue it: hptl-deploy train --resume"
    ):
        find_run(str(unfinished.path), tmp_path, state=FINISHED)


def test_a_network_that_looks_everywhere_is_not_exported(run: RunFolder, tmp_path: Path) -> None:
    other = copy_of(run, tmp_path)
    deeplab = Wishes(width=0.05).chain(load_chain("deeplabv3plus"))
    table = deeplab.model_dump(mode="json", exclude_none=True)
    other.recipe_file.write_text(tomli_w.dumps(table), encoding="utf-8")
    with pytest.raises(RunError) as raised:
        publish(other, "everywhere", tmp_path / "models", print)
    assert str(raised.value) == (
        "run copy: its network is deeplabv3plus, whose every pixel depends on the whole frame, so "
        "tiles would not equal the whole; FCN-32s, FCN-16s and FCN-8s can be exported"
    )
    assert not (tmp_path / "models").exists()
    shutil.copy(recipes_folder() / "otsu.toml", other.recipe_file)
    with pytest.raises(RunError) as raised:
        publish(other, "thresholds", tmp_path / "models", print)
    assert str(raised.value) == (
        "run copy: holds thresholds or a support vector machine (otsu), no network; FCN-32s, "
        "FCN-16s and FCN-8s can be exported"
    )
