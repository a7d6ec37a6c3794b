"""The memory of a published model, measured again."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx

from hptl_deploy.channel_blocks import channel_block
from hptl_deploy.model import load_model
from support.threshold_model import write_threshold_model


def remeasured(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hptl_export.remeasure", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_memory_alone_changes(tmp_path: Path) -> None:
    path = write_threshold_model(tmp_path)
    before, graph = load_model(path), onnx.load(path).graph
    ended = remeasured(path)
    assert ended.returncode == 0, ended.stderr
    after = load_model(path)
    found = after.card.bytes_per_pixel
    assert after.card.channel_block == channel_block()
    assert after.card == replace(before.card, bytes_per_pixel=found, channel_block=channel_block())
    assert onnx.load(path).graph == graph
    # Its input alone is 3 bytes, its answer 2; fp32 in three channels 12, a few times over.
    assert 5 < found < 200
    assert ended.stdout == (
        f"{path}: {found} bytes per pixel in blocks of {channel_block()} channels, "
        f"{before.card.bytes_per_pixel} in blocks of {before.card.channel_block} before; sha256 "
        f"{after.sha256}\n"
    )


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("no model")
    ended = remeasured(path)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"{path}: ")
    assert path.read_text() == "no model"
