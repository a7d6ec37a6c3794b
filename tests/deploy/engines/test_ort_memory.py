"""What ONNX Runtime takes on the CPU is what the model's card says, frame after frame."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hptl_deploy.bundled import BUNDLED, bundled_models_folder
from hptl_deploy.channel_blocks import channel_block
from hptl_deploy.model import ModelCard, load_model

MODELS = bundled_models_folder()
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.skipif(MODELS is None, reason="a copy without the bundled model"),
]

CODE = """
import re, sys
from pathlib import Path
import numpy as np
from hptl_deploy.engines import open_engine
from hptl_deploy.channel_blocks import channel_block
from hptl_deploy.model import ModelCard, load_model

def peak():
    text = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", text).group(1))

with open_engine(load_model(Path(sys.argv[1])), "cpu") as engine:
    random = np.random.default_rng(0)
    for size in sys.argv[2:]:
        rows, columns = map(int, size.split("x"))
        frame = random.integers(0, 256, (1, rows, columns, 3), np.uint8)
        before = peak()
        engine.infer(frame)
        print(before, peak())
"""


def peaks(*sizes: str) -> list[tuple[int, int]]:
    """Of a process of its own, before and behind each frame."""
    assert MODELS is not None
    path = MODELS / BUNDLED / "model.onnx"
    ended = subprocess.run(
        [sys.executable, "-c", CODE, str(path), *sizes],
        capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    return [(int(one), int(two)) for one, two in map(str.split, ended.stdout.splitlines())]


def card() -> ModelCard:
    assert MODELS is not None
    return load_model(MODELS / BUNDLED / "model.onnx").card


def planned(rows: int, columns: int) -> float:
    return rows * columns * card().bytes_per_pixel_here()


def test_two_frames_take_what_the_card_says_and_the_next_no_more() -> None:
    (before, _), (_, second), *_, (_, last) = peaks("640x960", "640x960", "960x640", "320x960")
    assert second - before < 1.1 * planned(640, 960)
    # Elsewhere the plan is what its layers take at most, or were found to take with wider blocks.
    if card().channel_block == channel_block():
        assert second - before > 0.8 * planned(640, 960)
    assert last - second < 0.03 * planned(640, 960)


def test_smaller_frames_before_a_larger_one_do_not_add_up() -> None:
    (before, _), *_, (_, last) = peaks("160x160", "320x320", "480x640", "640x960")
    assert last - before < 1.15 * planned(640, 960)
