"""`benchmarks/engines.py` from end to end, on a network and frames too small to say anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import engines
from hptl_deploy.bench import bench, peak, synthetic_frames
from hptl_deploy.cli.bench import torch_rivals
from hptl_deploy.model import load_model
from hptl_deploy.sink import Silent


@pytest.mark.slow
def test_it_exports_times_and_prints_ratios_and_peaks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peak, "_SIDES", {"cpu": 64})
    model = engines.export(0.04, ["fp32", "int8"], "cpu", tmp_path)
    assert load_model(tmp_path / "model.int8.onnx").card.quantised_for == "cpu"
    frames = synthetic_frames(64, 96)
    before = torch.get_num_threads()
    try:
        result = bench(model, frames, "cpu", 1, Silent(), [torch_rivals])
    finally:
        torch.set_num_threads(before)
    names = ["onnxruntime-cpu fp32", "onnxruntime-cpu int8", "torch eager fp32",
             "torch channels_last fp32"]  # fmt: skip
    assert [row.traits.name for row in result.rows] == names
    np.save(tmp_path / "frame.npy", frames.pictures[0])
    held = engines.peak_of(model, names[1], tmp_path / "frame.npy")
    # Python and its libraries alone are more than the first, and the network is a small one.
    assert 50e6 < held < 2e9
    capsys.readouterr()
    engines.report(result)
    said = capsys.readouterr().out
    for other in (names[0], *names[2:]):
        assert f" x {other}\n" in said


def test_no_parameter_of_the_random_network_is_left_out_by_the_exporter() -> None:
    made = engines.random_segmenter(0.04)
    again = engines.random_segmenter(0.04)
    for name, tensor in made.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name])
    for module in made.network.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            assert bool((module.bias != 0).all())
