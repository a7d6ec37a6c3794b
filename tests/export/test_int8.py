"""8-bit models: what is in the graph, what is published, and what is not. The bundled model's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from hptl_deploy.bundled import BUNDLED, bundled_models_folder
from hptl_deploy.engines import open_engine
from hptl_deploy.engines.flavour import TENSORRT_RTX, load_flavour, new_logger
from hptl_deploy.errors import InputError, MicrographError, ModelError, VerificationError
from hptl_deploy.model import Model, load_model
from hptl_deploy.synthesis import make_frame
from hptl_export import precisions
from hptl_export.drafting import remove_other_precisions
from hptl_export.engine.graph import graph_for_tensorrt
from hptl_export.engine.network import parse
from hptl_export.files import with_logits, without_logits, write_model
from hptl_export.frames import Frames, calibration_frames
from hptl_export.precisions import Reference, publish_int8
from hptl_export.quantise import HEADROOM, quantisable, quantise
from hptl_export.thresholds import INT8, Limits
from support.engine_models import small_model
from support.sinks import Recorder

NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def bundled(folder: Path) -> Model:
    models = bundled_models_folder()
    assert models is not None
    path = folder / "model.onnx"
    shutil.copy(models / BUNDLED / "model.onnx", path)
    return load_model(path)


def drawn(seed: int, count: int) -> Frames:
    made = [make_frame(seed=seed, number=n, height=256, width=256) for n in range(count)]
    # Without labels: a rare phase has too few pixels here for its IoU to mean anything.
    return Frames([one.pixels() for one in made], None, "drawn frames")


Arrays = dict[str, np.ndarray[Any, Any]]


def steps(proto: onnx.ModelProto) -> tuple[Arrays, dict[str, tuple[Any, Any]]]:
    """(initialisers, (scale, zero point) of every tensor that becomes 8 bits)."""
    arrays = {entry.name: numpy_helper.to_array(entry) for entry in proto.graph.initializer}
    return arrays, {
        node.input[0]: (arrays[node.input[1]], arrays[node.input[2]])
        for node in proto.graph.node
        if node.op_type == "QuantizeLinear"
    }


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    return with_logits(onnx.load(bundled(tmp_path_factory.mktemp("bundled")).path))


@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
def test_each_target_gets_the_form_it_runs(shown: onnx.ModelProto, target: str) -> None:
    proto = quantise(shown, [NOISE], target, kept=1)
    arrays, activations = steps(proto)
    kind = np.uint8 if target == "cpu" else np.int8
    assert {str(zero.dtype) for _, zero in activations.values()} == {np.dtype(kind).name}
    assert {int(zero) for _, zero in activations.values()} == {0}
    weights = [
        node
        for node in proto.graph.node
        if node.op_type == "DequantizeLinear" and arrays.get(node.input[0], NOISE).ndim == 4
    ]
    # Sixteen of the trunk and fc6, fc7, without the first: a scale for every channel.
    assert len(weights) == len(quantisable(shown.graph)) - 1 == 17
    for node in weights:
        values, scales = arrays[node.input[0]], arrays[node.input[1]]
        assert values.dtype == np.int8
        assert scales.shape == (values.shape[0],)
        assert not arrays[node.input[2]].any()
    assert ("Relu" in {node.op_type for node in proto.graph.node[-60:]}) == (target == "tensorrt")
    # TensorRT refuses biases that are integers.
    biases = [name for name in arrays if name.endswith(".bias_quantized")]
    assert len(biases) == (17 if target == "cpu" else 0)
    border = [
        (value.name, value.type.tensor_type.elem_type)
        for value in (*proto.graph.input, *proto.graph.output)
    ]
    assert border[:3] == [
        (name, TensorProto.UINT8) for name in ("micrograph", "classes", "confidence")
    ]
    assert not any(entry.external_data for entry in proto.graph.initializer)
    # Normalisation, enlargement, scores and their sums stay in fp32, and so does the first.
    floats = {name for name, array in arrays.items() if array.ndim == 4 and array.dtype == "f4"}
    assert {name.removeprefix("segmenter.").removeprefix("network.") for name in floats} == {
        *("normalise.mean", "normalise.std", "enlarge.kernel", "conv1_1.weight"),
        *("score_fr.weight", "score_pool4.weight", "score_pool3.weight"),
        *("upscore2.weight", "upscore_pool4.weight", "upscore8.weight"),
    }


@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
def test_tensorrt_takes_the_form_made_for_it_alone(
    shown: onnx.ModelProto, tmp_path: Path, target: str
) -> None:
    pytest.importorskip("tensorrt_rtx")
    flavour = load_flavour(TENSORRT_RTX)
    fp32 = bundled(tmp_path)
    proto = without_logits(quantise(shown, [NOISE], target, kept=1))
    path = tmp_path / "model.int8.onnx"
    write_model(proto, replace(fp32.card, precision="int8"), path)
    logger, messages = new_logger(flavour)
    builder = flavour.trt.Builder(logger)
    graph = graph_for_tensorrt(load_model(path))
    if target == "tensorrt":
        assert parse(flavour, builder, logger, messages, graph, path).num_layers > 100
    else:
        with pytest.raises(ModelError, match="input has type Int32"):
            parse(flavour, builder, logger, messages, graph, path)


def test_ranges_hold_every_picture_and_a_quarter_more(shown: onnx.ModelProto) -> None:
    proto = quantise(shown, [np.zeros_like(NOISE), np.full_like(NOISE, 255)], "cpu")
    arrays, activations = steps(proto)
    (picture,) = (name for name, (_, zero) in activations.items() if int(zero) > 0)
    scale, zero = activations[picture]
    # Black and white, normalised by the card's own mean and deviation, channel by channel.
    mean, std = (arrays[f"segmenter.normalise.{name}"].ravel() for name in ("mean", "std"))
    low, high = ((0 - mean) / std).min(), ((1 - mean) / std).max()
    assert scale * 255 == pytest.approx(HEADROOM * (high - low), rel=1e-3)
    assert -scale * int(zero) == pytest.approx(HEADROOM * low, abs=float(scale))


def test_a_model_without_activations_is_refused(tmp_path: Path) -> None:
    proto = onnx.load(str(small_model(tmp_path).path))
    assert len(quantisable(proto.graph)) == 1
    with pytest.raises(ModelError, match="has no convolution followed by a ReLU"):
        quantise(proto, [NOISE], "cpu", kept=1)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Model:
    model = bundled(tmp_path_factory.mktemp("published"))
    return publish_int8(Reference.of(model, drawn(1, 2)), drawn(2, 6), "cpu", Recorder().note)


def test_the_bundled_model_in_8_bits(published: Model) -> None:
    card = published.card
    assert published.path.name == "model.int8.onnx"
    assert card.precision == "int8"
    assert card.quantised_for == "cpu"
    assert card.checks["calibrated on"] == card.checks["compared on"] == "drawn frames"
    unlabelled = "not measured, the frames have no labels"
    assert card.checks["change of IoU against fp32"] == unlabelled
    assert published.path.stat().st_size < 0.4 * 5_217_780  # a quarter, the scores and the card
    probe = card.probe
    assert probe is not None
    assert (probe.height, probe.width) == (64, 64)
    assert len(set(probe.classes.ravel())) > 1
    frame = drawn(3, 1).pictures[0][None]
    with (
        open_engine(published, "cpu") as engine,
        open_engine(load_model(published.path.with_name("model.onnx")), "cpu") as f,
    ):
        assert engine.info.precision == "int8"
        differing = np.mean(engine.infer(frame).classes != f.infer(frame).classes)
    assert 0 < differing < 0.01


def test_a_precision_beyond_its_limits_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precisions, "INT8", Limits(1e-6, 0.0, INT8.iou, INT8.area))
    monkeypatch.setattr(precisions, "KEPT", (1,))
    recorder = Recorder()
    with pytest.raises(VerificationError) as raised:
        publish_int8(
            Reference.of(bundled(tmp_path), drawn(1, 1)), drawn(2, 1), "cpu", recorder.note
        )
    text = str(raised.value)
    assert text.startswith(
        f"{BUNDLED} in int8 for cpu, compared with fp32 on drawn frames: its logits differ by "
    )
    assert "ppm of the pixels take another class (at most 0)" in text
    assert text.endswith("This precision was not published")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert any(note.startswith("not within the limits: ") for note in recorder.notes)


def test_precisions_of_the_model_before_do_not_stay(tmp_path: Path) -> None:
    for name in ("model.onnx", "model.fp16.onnx", "model.int8.onnx", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    recorder = Recorder()
    remove_other_precisions(tmp_path / "model.onnx", recorder.note)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "notes.txt"]
    assert recorder.notes == [
        f"{tmp_path / name} belongs to the model that was here before; it is deleted"
        for name in ("model.fp16.onnx", "model.int8.onnx")
    ]


def test_calibration_reads_what_segment_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    card = replace(bundled(tmp_path).card, input_scale=2, stride=16)
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(40):
        Image.fromarray(np.full((70, 300), number, np.uint8)).save(folder / f"{number:02d}.png")
    frames = calibration_frames(folder, card)
    assert frames.what == "crops of 16 micrographs of frames"
    monkeypatch.chdir(folder)
    assert calibration_frames(Path(), card).what == frames.what
    assert {picture.shape for picture in frames.pictures} == {(64, 256, 3)}
    assert [int(picture[0, 0, 0]) for picture in frames.pictures[:4]] == [0, 2, 5, 7]
    (folder / "00.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(MicrographError) as raised:
        calibration_frames(folder, card)
    assert str(raised.value).startswith(f"{folder / '00.png'}: ")
    small = tmp_path / "small"
    small.mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(small / "a.png")
    with pytest.raises(InputError) as none:
        calibration_frames(small, card)
    assert str(none.value) == (
        f"{small}: holds no micrograph of at least 16 x 16 px to calibrate with"
    )


def test_quantising_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import hptl_export.precisions, hptl_export.quantise, hptl_export.probing\n"
        "import hptl_export.frames, onnxruntime.quantization"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
