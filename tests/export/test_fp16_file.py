"""The published fp16 file, its card, and a second export of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from hptl_deploy.engines import open_engine
from hptl_deploy.model import load_model
from hptl_export.frames import Frames
from hptl_export.precisions import Reference, publish_fp16
from support.exported import Exported
from support.sinks import Recorder


def test_half_precision_is_published_beside_fp32(exported4: Exported, tmp_path: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    path = shutil.copy(exported4.model.path, tmp_path / "model.onnx")
    model, frames = load_model(Path(path)), Frames([frame], None, "noise")
    recorder = Recorder()
    written = publish_fp16(exported4.segmenter, Reference.of(model, frames), recorder.note)
    assert written.path == tmp_path / "model.fp16.onnx"
    assert written.card == replace(
        model.card,
        precision="fp16",
        derived_from=model.sha256,
        checks=written.card.checks,
        bytes_per_pixel=written.card.bytes_per_pixel,
    )
    assert written.card.checks["layers in fp32"] == "none"
    assert written.card.checks["compared on"] == "noise"
    assert written.path.stat().st_size < 0.8 * model.path.stat().st_size
    with open_engine(written, "cpu") as half:
        with open_engine(model, "cpu") as full:
            there = full.infer(frame[None]).classes
        assert half.info.precision == "fp16"
        assert np.mean(half.infer(frame[None]).classes != there) < 0.002
    # Once more: the same graph, so the file and its hash stay.
    again = publish_fp16(exported4.segmenter, Reference.of(model, frames), recorder.note)
    assert again.sha256 == written.sha256
    assert "is this very model" in recorder.notes[-1]
